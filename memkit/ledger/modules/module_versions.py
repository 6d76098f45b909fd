"""Versions of modules: rows that never change, except for where their weights are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from memkit.errors import InvalidInputError
from memkit.ledger.engine.checksums import CHECKED, checked_columns, stamp, verify, with_checksum
from memkit.ledger.engine.database import Database
from memkit.ledger.stored_paths import StoredPath
from memkit.types import Metadata, Scope
from memkit.types.scope import scope_key
from memkit.types.validate import shown

_Pointers = dict[str, tuple[int, int | None]]
_Files = dict[tuple[str, int | None], "ModuleFile"]

KEPT_VERSIONS = 3  # of a module, the active one included: enough to compare and to go back


@dataclass(frozen=True)
class ModuleFile:
    """Where the weights of a module version are, with their checksum and their size in bytes."""

    path: str  # relative to the memory's directory, with forward slashes
    digest: str
    size: int


@dataclass(frozen=True)
class Member:
    """A record, by id, that a version was trained on."""

    record: str
    content_hash: str  # of what it said then
    recall: float | None  # None if the version does not hold it


class VersionTable:
    """Module versions with what they were trained on. `ModuleTable` says which are active."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, name: str, scope: Scope, manifest: Metadata, file: ModuleFile, members: list[Member]
    ) -> int:
        """Add the next version of a module; returns its number."""
        version = int(
            self._database.value(
                "INSERT INTO modules (name, versions) VALUES (?, 1) ON CONFLICT (name) "
                "DO UPDATE SET versions = modules.versions + 1 RETURNING versions",
                name,
            )
        )
        stamp(self._database, "modules", "name = ?", name)
        stored = with_checksum(
            "module_versions",
            *(name, version, scope_key(scope)),
            json.dumps(manifest, ensure_ascii=False, default=dict),
            *(file.digest, file.size, self._database.now()),
        )
        columns = ", ".join((*CHECKED["module_versions"].columns, "checksum", "file"))
        self._database.execute(
            f"INSERT INTO module_versions ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(*stored, file.path),
        )
        self._database.execute_many(
            "INSERT INTO members (module, version, record, position, content_hash, recall, "
            "checksum) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                with_checksum(
                    "members",
                    *(name, version, member.record, position, member.content_hash),
                    None if member.recall is None else float(member.recall),  # as it is read
                )
                for position, member in enumerate(members)
            ],
        )
        return version

    def find(
        self, name: str, digest: str, members: Sequence[Member], manifest: Metadata
    ) -> int | None:
        """Give the version of these very weights that holds the same of the same records.

        Weights that were verified behind another prompt format are another version.
        """
        wanted = [(m.record, m.content_hash, m.recall is not None) for m in members]
        for version, stored in self._database.rows(
            "SELECT version, manifest FROM module_versions WHERE module = ? AND digest = ?",
            *(name, digest),
        ):
            if json.loads(stored).get("prompt_format") != manifest.get("prompt_format"):
                continue
            if self.members(name, version) == wanted:
                return int(version)
        return None

    def members(self, name: str, version: int) -> list[tuple[str, str, bool]]:
        """List what a version was trained on, in order: ids, what was said, whether it holds it.

        Raises:
            CorruptFileError: If it is not as it was written.
        """
        rows = self._database.rows(
            f"SELECT {checked_columns('members')} FROM members WHERE module = ? ORDER BY position",
            name,  # all versions, so that a row with the number of another one is noticed
        )
        for row in rows:
            verify("members", row)
        return [(row[2], row[4], row[5] is not None) for row in rows if row[1] == version]

    def check_members(self) -> bool:
        """Check what all versions were trained on; a row that was changed would hide a record.

        Raises:
            CorruptFileError: If it is not as it was written.
        """
        for row in self._database.rows(f"SELECT {checked_columns('members')} FROM members"):
            verify("members", row)
        return True

    def pointers(self) -> dict[str, tuple[int, int | None]]:
        """Tell of all modules how many versions each has had, and which is active.

        Raises:
            CorruptFileError: If one is not as it was written.
        """
        pointers, _ = self._stored()
        return pointers

    def with_weights(self, name: str) -> list[int]:
        """List the versions of a module that have weights, oldest first."""
        return [version for owner, version in self.files() if owner == name and version]

    def files(self) -> dict[tuple[str, int | None], ModuleFile]:
        """Tell where all weights are, by module and version; None stands for the active one."""
        _, files = self._stored()
        return files

    def _stored(self) -> tuple[_Pointers, _Files]:
        return self._database.cache.get("modules", self._read)

    def _read(self) -> tuple[_Pointers, _Files]:
        rows = self._database.rows(
            f"SELECT {checked_columns('modules')}, version, file, digest, size FROM modules "
            "LEFT JOIN module_versions ON module = name ORDER BY name, version"
        )
        pointers: _Pointers = {}
        files: _Files = {}
        for *module, version, path, digest, size in rows:
            name, versions, active, _ = module
            if name not in pointers:
                verify("modules", module)
                pointers[name] = versions, active
            if path is not None:
                files[name, version] = ModuleFile(path, digest, size)
                if version == active:
                    files[name, None] = files[name, version]
        return pointers, files

    def move(self, name: str, version: int, path: str | None) -> None:
        """Give a version another file, or none; the one that it had is queued for destruction."""
        self._queue("module = ? AND version = ?", name, version)
        sql = "UPDATE module_versions SET file = ? WHERE module = ? AND version = ?"
        self._database.execute(sql, path, name, version)

    def repoint(self, path: str, to: str) -> bool:
        """Note that a file was moved; returns whether a version had it."""
        sql = "UPDATE module_versions SET file = ? WHERE file = ?"
        return bool(self._database.execute(sql, to, path))

    def retire(self, name: str, before: int | None) -> None:
        """Delete the versions that are too many: not the newest, nor the one active before it."""
        self.delete(
            "module = ? AND version IN (SELECT version FROM (SELECT version, row_number() OVER "
            "(ORDER BY CASE version WHEN ? THEN 0 ELSE 1 END, version DESC) AS place "
            "FROM module_versions WHERE module = ?) AS ranked WHERE place > ?)",
            *(name, before, name, KEPT_VERSIONS),
        )

    def delete(self, which: str, *parameters: object) -> bool:
        """Delete versions, if there are any; their files are queued for destruction."""
        self._queue(which, *parameters)
        sql = f"DELETE FROM module_versions WHERE {which}"
        return bool(self._database.execute(sql, *parameters))

    def check_scope(self, name: str, scope: Scope) -> None:
        """Check that all versions of a module are for the same readers.

        Raises:
            InvalidInputError: If one is of another scope.
        """
        sql = "SELECT scope FROM module_versions WHERE module = ? AND scope <> ? LIMIT 1"
        if other := self._database.value(sql, name, scope_key(scope)):
            raise InvalidInputError(
                f"`scope` of module {name!r} must be that of its other versions, {other}, "
                f"got {shown(dict(scope))}",
                "Give it a new name.",
            )

    def check_file(self, path: str) -> None:
        """Check that a path may become the file of a version.

        Raises:
            UnsafePathError: If it is none of a file of the memory.
            InvalidInputError: If it is in use or queued.
        """
        StoredPath.parse(path)
        taken = self._database.value(
            "SELECT 1 FROM module_versions WHERE file = ? "
            "UNION ALL SELECT 1 FROM erasures WHERE path = ?",
            *(path, path),
        )
        if taken:
            raise InvalidInputError(
                f"`file` {path!r} belongs to a module already or is queued for destruction",
                "Write every version to a new file.",
            )

    def _queue(self, which: str, *parameters: object) -> None:
        self._database.execute(
            "INSERT INTO erasures SELECT file FROM module_versions "
            f"WHERE file IS NOT NULL AND {which} ON CONFLICT DO NOTHING",
            *parameters,
        )
