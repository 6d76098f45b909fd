"""Adapter modules, and which records they hold."""

# ruff: noqa: S608 - only constants are formatted into the SQL; what users say is a parameter
from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from memkit.errors import InvalidInputError, ModuleNotFoundInMemoryError, RecordNotFoundError
from memkit.ledger.database import Database, Row, json_list
from memkit.ledger.erasures import check_relative
from memkit.ledger.records import COLUMNS, record_of
from memkit.ledger.selection import select_sql, visible_sql
from memkit.scope import canonical, contains, parse
from memkit.types import Metadata, Module, Record, Scope
from memkit.validate import check_text

_COLUMNS = "modules.name, modules.version, modules.scope, modules.manifest, modules.created_at"
# A placement counts only while the record has the version that was trained.
_VALID = "records.rowid = placements.record AND records.version = placements.version"


@dataclass(frozen=True)
class ModuleFile:
    """Where the weights of a module are.

    Attributes:
        path: Relative to the memory's directory, with forward slashes.
        digest: Checksum of the file.
        size: Its length in bytes.
    """

    path: str
    digest: str
    size: int


class ModuleTable:
    """The active version of every module; a record is placed in one module at most."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def commit(
        self,
        name: str,
        scope: Scope,
        manifest: Metadata,
        *,
        file: str,
        digest: str,
        size: int,
        members: Sequence[str],
        held: Mapping[str, tuple[int, float]],
    ) -> Module:
        """Make a trained adapter the active version of a module, in one transaction.

        The version it replaces goes; its file is queued for destruction.

        Args:
            name: A new name from `next_name`, or that of the module that was retrained.
            scope: Who may be answered from it.
            manifest: How it was made; JSON values.
            file: Path of the weights, relative to the memory's directory; new to the ledger.
            digest: Checksum of the file.
            size: Its length in bytes.
            members: Ids of all records that it was trained on, held or missed.
            held: Record id to record version and verified recall, for those of ``members``
                that it holds.

        Raises:
            RecordNotFoundError: If a member was deleted meanwhile: the weights contain what
                should be forgotten.
            InvalidInputError: If ``held`` is not part of ``members``, a member's scope is
                narrower than the module's, or the file is in use or queued for destruction.
        """
        check_text("name", name)
        check_relative("file", file)
        key = canonical(scope)
        with self._database.transaction():
            self._check_members(members, held, scope)
            self._check_file(file)
            self._remove(name)
            version = self._next_version(name)
            self._database.execute(
                "INSERT INTO modules VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                name,
                version,
                key,
                json.dumps(manifest, ensure_ascii=False, default=dict),
                file,
                digest,
                size,
                time.time(),
            )
            self._place(name, members, held)
            return self.get(name)

    def next_name(self) -> str:
        """Make a name that was never used: "m0001", then "m0002" and so on."""
        number = self._database.value(
            "UPDATE meta SET value = value + 1 WHERE name = 'last_module' RETURNING value"
        )
        return f"m{int(number):04}"

    def active(self, *, visible_to: Scope | None = None) -> list[Module]:
        """List the modules in the order of their names.

        Args:
            visible_to: Only what a query of this scope may be answered from; None for all.
        """
        condition, parameters = (
            ("1", []) if visible_to is None else visible_sql("modules.scope", visible_to)
        )
        return self._modules(condition, *parameters)

    def get(self, name: str) -> Module:
        """Give a module.

        Raises:
            ModuleNotFoundInMemoryError: If there is none of this name.
        """
        modules = self._modules("modules.name = ?", name)
        if not modules:
            raise _unknown(name)
        return modules[0]

    def file(self, name: str) -> ModuleFile:
        """Tell where the weights of a module are.

        Raises:
            ModuleNotFoundInMemoryError: If there is none of this name.
        """
        row = self._database.row("SELECT file, digest, size FROM modules WHERE name = ?", name)
        if row is None:
            raise _unknown(name)
        return ModuleFile(*row)

    def in_file(self, path: str) -> Module:
        """Give the module whose weights are in a file.

        Raises:
            ModuleNotFoundInMemoryError: If it was dropped, or trained into another file since.
        """
        modules = self._modules("modules.file = ?", path)
        if not modules:
            raise ModuleNotFoundInMemoryError(
                f"no module has its weights in {path!r} any more", "Route the query again."
            )
        return modules[0]

    def placements(self, record_ids: Sequence[str]) -> dict[str, str]:
        """Map those of the records that are held as they are now to the module that does."""
        rows = self._database.rows(
            f"SELECT records.id, placements.module FROM records JOIN placements ON {_VALID} "
            "WHERE records.id IN (SELECT value FROM json_each(?))",
            json_list("record_ids", record_ids),
        )
        return dict(rows)

    def unplaced(
        self, *, within: Scope | None, where: Metadata | None, include_turns: bool
    ) -> list[Record]:
        """List the records that no module holds as they are now, in the order they were added.

        Args:
            within: Only this scope and narrower ones; None for all.
            where: Metadata filter; None for all.
            include_turns: Whether to list records that keep turns of a conversation, too.
        """
        condition, parameters = select_sql(within=within, where=where)
        if not include_turns:
            condition += " AND NOT EXISTS (SELECT 1 FROM turns WHERE record = records.rowid)"
        rows = self._database.rows(
            f"SELECT {COLUMNS} FROM records WHERE {condition} "
            f"AND NOT EXISTS (SELECT 1 FROM placements WHERE {_VALID}) ORDER BY records.rowid",
            *parameters,
        )
        return [record_of(row) for row in rows]

    def holding(self, record_ids: Sequence[str]) -> list[Module]:
        """List the modules whose weights contain any version of these records."""
        return self._modules(
            "modules.name IN (SELECT module FROM members "
            "WHERE record IN (SELECT value FROM json_each(?)))",
            json_list("record_ids", record_ids),
        )

    def members(self, name: str) -> list[str]:
        """List the ids of all records that a module was trained on, held or missed.

        Deleted records are still listed: the weights contain them until the module is
        retrained or dropped.
        """
        return self._database.column(
            "SELECT record FROM members WHERE module = ? ORDER BY record", name
        )

    def drop(self, name: str) -> None:
        """Delete a module; its file is queued for destruction in the same transaction.

        Raises:
            ModuleNotFoundInMemoryError: If there is none of this name.
        """
        with self._database.transaction():
            if not self._remove(name):
                raise _unknown(name)

    def generation(self) -> int:
        """Give a number that grows with every change of modules or placements."""
        return int(self._database.value("SELECT value FROM meta WHERE name = 'generation'"))

    def _modules(self, condition: str, *parameters: object) -> list[Module]:
        rows = self._database.rows(
            f"SELECT {_COLUMNS}, (SELECT json_group_array(json_array(records.rowid, records.id)) "
            f"FROM placements CROSS JOIN records ON {_VALID} "
            "WHERE placements.module = modules.name) "
            f"FROM modules WHERE {condition} ORDER BY modules.name",
            *parameters,
        )
        return [_module(row) for row in rows]

    def _check_members(self, members: Iterable[str], held: Mapping[str, Any], scope: Scope) -> None:
        strangers = sorted(set(held) - set(members))
        if strangers:
            raise InvalidInputError(f"`held` must be part of `members`, got also {strangers[:3]}")
        scopes: dict[str, str] = dict(
            self._database.rows(
                "SELECT id, scope FROM records WHERE id IN (SELECT value FROM json_each(?))",
                json_list("members", members),
            )
        )
        for id in members:
            if id not in scopes:
                raise RecordNotFoundError(
                    f"record {id!r} was deleted while the module was trained on it",
                    "Destroy the file and train again.",
                )
            if not contains(scope, parse(scopes[id])):
                raise InvalidInputError(
                    f"`scope` {dict(scope)!r} of the module would show record {id!r} of scope "
                    f"{scopes[id]} to others",
                    "Train records of one scope together.",
                )

    def _check_file(self, file: str) -> None:
        taken = self._database.value(
            "SELECT 1 FROM modules WHERE file = ?1 "
            "UNION ALL SELECT 1 FROM erasures WHERE path = ?1",
            file,
        )
        if taken:
            raise InvalidInputError(
                f"`file` {file!r} belongs to a module already or is queued for destruction",
                "Write every version to a new file.",
            )

    def _remove(self, name: str) -> bool:
        self._database.execute(
            "INSERT INTO erasures SELECT file FROM modules WHERE name = ? ON CONFLICT DO NOTHING",
            name,
        )
        return bool(self._database.execute("DELETE FROM modules WHERE name = ?", name))

    def _next_version(self, name: str) -> int:
        return int(
            self._database.value(
                "INSERT INTO module_names VALUES (?, 1) "
                "ON CONFLICT (name) DO UPDATE SET versions = versions + 1 RETURNING versions",
                name,
            )
        )

    def _place(
        self, name: str, members: Iterable[str], held: Mapping[str, tuple[int, float]]
    ) -> None:
        self._database.execute_many(
            "INSERT INTO members VALUES (?, ?)", [(name, id) for id in dict.fromkeys(members)]
        )
        self._database.execute_many(
            "INSERT INTO placements SELECT rowid, ?, ?, ? FROM records WHERE id = ? "
            "ON CONFLICT (record) DO UPDATE SET module = excluded.module, "
            "version = excluded.version, recall = excluded.recall",
            [(name, version, recall, id) for id, (version, recall) in held.items()],
        )


def _module(row: Row) -> Module:
    name, version, scope, manifest, created_at, records = row
    return Module(
        name=name,
        version=version,
        scope=parse(scope),
        records=tuple(id for _, id in sorted(json.loads(records))),
        manifest=json.loads(manifest),
        created_at=datetime.fromtimestamp(created_at, UTC),
    )


def _unknown(name: str) -> ModuleNotFoundInMemoryError:
    return ModuleNotFoundInMemoryError(
        f"no module has the name {name!r}", "List the modules to see their names."
    )
