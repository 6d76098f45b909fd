"""Adapter modules, their versions, and which records they hold."""

# ruff: noqa: S608 - only constants are formatted into the SQL; what users say is a parameter
from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from memkit.errors import (
    InvalidInputError,
    ModuleNotFoundInMemoryError,
    RecordNotFoundError,
)
from memkit.ledger.engine.cached import Cache
from memkit.ledger.engine.dialect import THEN_JOIN, gathered, in_list, list_parameter
from memkit.ledger.engine.sqlite import Database, Row
from memkit.ledger.modules.module_versions import Member, ModuleFile, VersionTable
from memkit.ledger.records.record_rows import COLUMNS, record_of
from memkit.ledger.records.where import EXPIRED, LIVE, select_sql
from memkit.types import Metadata, Module, Record, Scope
from memkit.types.scope import contains, parse_scope_key, scope_key, visible_keys
from memkit.types.validate import check_text

_ACTIVE = "modules.active = v.version"
# Weights know all that they were trained on: once any of it has expired, nothing is answered
# from them, until `sweep` has had them trained anew.
_EXPIRED = (
    f"(SELECT members.module FROM records JOIN members ON members.record = records.id "
    "JOIN modules AS serving ON serving.name = members.module "
    f"AND serving.active = members.version WHERE {EXPIRED})"
)
_IN_SERVICE = f"{_ACTIVE} AND v.file IS NOT NULL AND v.module NOT IN {_EXPIRED}"
# A placement counts only while the record says what was trained.
_PLACED = "records.number = placements.record AND records.content_hash = placements.content_hash"
_VALID = f"{_PLACED} AND placements.module NOT IN {_EXPIRED}"


Drop = Callable[[str, int | None], None]  # a module's name, and a version or None for all


class ModuleTable:
    """Modules with their versions; a record is placed in one module at most.

    A version never changes: what it was trained on, how, and which records it recalled. One
    version of a module is active, and its records are placed in the module. Both change in one
    transaction, so a reader sees the old version with its records, or the new one with its own.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._versions = VersionTable(database)
        self._cache = Cache(database)

    # -- writing ---------------------------------------------------------------------------

    def commit(
        self,
        name: str,
        scope: Scope,
        manifest: Metadata,
        *,
        file: str,
        digest: str,
        size: int,
        members: Sequence[Record],
        held: Mapping[str, float],
    ) -> Module:
        """Make trained weights the active version of a module, in one transaction.

        It becomes the next version, and takes over what it holds from other modules. Weights
        that the module has already, trained on the same records and holding the same ones, make
        no new version: the one that is there gets the new file and becomes active.

        Of older versions, the one that was active and the newest others are kept; the files of
        the rest are queued for destruction.

        Args:
            name: A new name from `next_name`, or that of the module that was retrained.
            scope: Who may be answered from it.
            manifest: How it was made; JSON values.
            file: Path of the weights, relative to the memory's directory; new to the ledger.
            digest: Checksum of the weights.
            size: Their length in bytes.
            members: All records that it was trained on, in order and as they were then.
            held: Record id to verified recall, for those of ``members`` that it holds.

        Raises:
            RecordNotFoundError: If a member was deleted meanwhile: the weights contain what
                should be forgotten.
            InvalidInputError: If ``held`` is not part of ``members``, a member's scope is
                narrower than the module's, or the file is in use or queued for destruction.
        """
        check_text("name", name)
        trained = {m.id: Member(m.id, m.content_hash, held.get(m.id)) for m in members}
        with self._database.transaction():
            self._check_members(members, held, scope)
            self._versions.check_file(file)
            before = self._active_version(name)
            version = self._versions.find(name, digest, [*trained.values()], manifest)
            if version is not None:
                self._versions.move(name, version, file)
                self._activate(name, version)
            else:
                where = ModuleFile(file, digest, size)
                version = self._versions.add(name, scope, manifest, where, [*trained.values()])
                self._activate(name, version, take_over=True)
            self._versions.retire(name, before)
            return self.get(name)

    def activate(self, name: str, version: int) -> Module:
        """Make a kept version of a module the active one, in one transaction.

        The module gives up what its other version held, and takes back those records of the
        older version that no other module holds.

        Raises:
            ModuleNotFoundInMemoryError: If there is no such module, or it has no such version.
        """
        with self._database.transaction():
            kept = self._versions.kept(name)
            if not kept:
                raise _unknown(name)
            if version not in kept:
                raise ModuleNotFoundInMemoryError(
                    f"module {name!r} has no version {version!r}",
                    f"These are kept: {', '.join(map(str, kept))}.",
                )
            self._activate(name, version)
            return self.get(name)

    def drop(self, name: str, version: int | None = None) -> None:
        """Delete a module, or a version of it; its files are queued for destruction.

        Args:
            name: The module.
            version: Which version; None, or the active one, for the module as a whole.

        Raises:
            ModuleNotFoundInMemoryError: If there is no such module or version.
        """
        with self._database.transaction():
            if version is not None and version != self._active_version(name):
                gone = self._versions.delete("module = ? AND version = ?", name, version)
            else:
                gone = self._versions.delete("module = ?", name)
                self._database.execute("DELETE FROM placements WHERE module = ?", name)
                self._database.execute("UPDATE modules SET active = NULL WHERE name = ?", name)
            if not gone:
                raise _unknown(name)

    def discard_weights(self, path: str) -> None:
        """Note that the weights in a file cannot be used; the file is queued for destruction.

        A module whose active version loses its weights is out of service: nothing is answered
        from it until it was trained again. Of any other version nothing is left.

        Args:
            path: Of a version.

        Raises:
            ModuleNotFoundInMemoryError: If no version has its weights there any more.
        """
        with self._database.transaction():
            module = self.in_file(path)
            if not module.active:
                self.drop(module.name, module.version)
                return
            self._versions.move(module.name, module.version, None)
            self._database.execute(
                "UPDATE placements SET content_hash = '' WHERE module = ?", module.name
            )

    def repoint(self, path: str, to: str) -> bool:
        """Note that weights lie elsewhere now; returns whether a version had them there."""
        with self._database.transaction():
            return self._versions.repoint(path, to)

    def next_name(self) -> str:
        """Make a name that was never used: "m0001", then "m0002" and so on."""
        number = self._database.value(
            "UPDATE meta SET value = value + 1 WHERE name = 'last_module' RETURNING value"
        )
        return f"m{int(number):04}"

    # -- reading ---------------------------------------------------------------------------

    def active(
        self, *, visible_to: Scope | None = None, within: Scope | None = None
    ) -> list[Module]:
        """List the modules in service, in the order of their names; read once per change.

        Args:
            visible_to: Only what a query of this scope may be answered from; None for all.
            within: Only those of this scope and narrower ones; None for all.
        """
        visible = None if visible_to is None else set(visible_keys(visible_to))
        return [
            module
            for module in self._in_service()
            if (visible is None or scope_key(module.scope) in visible)
            and (within is None or contains(module.scope, within))
        ]

    def without_weights(self) -> list[Module]:
        """List the modules that are out of service because their weights were lost."""
        return self._modules(f"{_ACTIVE} AND v.file IS NULL")

    def get(self, name: str) -> Module:
        """Give a module as its active version is.

        Raises:
            ModuleNotFoundInMemoryError: If there is none of this name in service.
        """
        modules = [module for module in self._in_service() if module.name == name]
        if not modules:
            raise _unknown(name)
        return modules[0]

    def file(self, name: str, version: int | None = None) -> ModuleFile:
        """Tell where the weights of a module are.

        Args:
            name: The module.
            version: None for the active one.

        Raises:
            ModuleNotFoundInMemoryError: If there is none of this name with weights.
        """
        files = self._cache.get("files", self._versions.by_version)
        if version is None:
            version = self._active_version(name)
        if (name, version) not in files:
            raise _unknown(name)
        return files[name, version]

    def files(self, name: str | None = None) -> list[ModuleFile]:
        """Tell where the weights of all versions are, of one module or of all."""
        return self._versions.files("module = coalesce(?, module)", name)

    def files_of_deleted(self) -> list[str]:
        """List the files of weights that were trained on a record which is not there any more."""
        return self._database.column(
            "SELECT DISTINCT file FROM module_versions JOIN members USING (module, version) "
            "WHERE file IS NOT NULL AND record NOT IN (SELECT id FROM records)"
        )

    def in_file(self, path: str) -> Module:
        """Give the version whose weights are in a file, active or not.

        Raises:
            ModuleNotFoundInMemoryError: If it is gone.
        """
        modules = self._modules("v.file = ?", path)
        if not modules:
            raise ModuleNotFoundInMemoryError(
                f"no module has its weights in {path!r} any more", "Route the query again."
            )
        return modules[0]

    def placements(self, record_ids: Sequence[str]) -> dict[str, str]:
        """Map those of the records that are held as they are now to the module that does."""
        return self._placed(_VALID, record_ids)

    def former_placements(self, record_ids: Sequence[str]) -> dict[str, str]:
        """Map records that were held, but are not as they are now, to the module that did.

        Either the record says something else since, or the module has lost its weights.
        """
        placed = "records.number = placements.record AND NOT records.content_hash ="
        return self._placed(f"{placed} placements.content_hash AND {LIVE}", record_ids)

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
            condition += " AND NOT EXISTS (SELECT 1 FROM turns WHERE record = records.number)"
        rows = self._database.rows(
            f"SELECT {COLUMNS} FROM records WHERE {condition} "
            f"AND NOT EXISTS (SELECT 1 FROM placements WHERE {_VALID}) ORDER BY records.number",
            *parameters,
        )
        return [record_of(row) for row in rows]

    def holding(self, record_ids: Sequence[str]) -> list[Module]:
        """List the versions, active or not, whose weights contain any text of these records."""
        return self._modules(
            "(v.module, v.version) IN (SELECT module, version FROM members "
            f"WHERE {in_list('record')})",
            list_parameter("record_ids", record_ids),
        )

    def members(self, name: str) -> list[str]:
        """List the ids of all records that a module's active version was trained on, in order.

        Missed records are listed, and deleted ones: the weights contain them.
        """
        return self._database.column(
            "SELECT record FROM members JOIN modules ON name = module AND active = version "
            "WHERE name = ? ORDER BY position",
            name,
        )

    def last_version(self, name: str) -> int:
        """Number of the newest version that a module has ever had; 0 if it had none."""
        version = self._database.value("SELECT versions FROM modules WHERE name = ?", name)
        return int(version or 0)

    # -- how -------------------------------------------------------------------------------

    def _in_service(self) -> list[Module]:
        return self._cache.get("active", lambda: self._modules(_IN_SERVICE), expires=True)

    def _modules(self, condition: str, *parameters: object) -> list[Module]:
        rows = self._database.rows(
            f"SELECT v.module, v.version, v.scope, v.manifest, v.created_at, {_ACTIVE}, "
            f"(SELECT {gathered('records.number', 'records.id')} "
            f"FROM placements {THEN_JOIN} records ON {_PLACED} "
            f"WHERE placements.module = v.module AND {_ACTIVE}), "
            f"(SELECT {gathered('version')} FROM module_versions AS others "
            "WHERE others.module = v.module AND others.file IS NOT NULL) "
            "FROM module_versions AS v JOIN modules ON modules.name = v.module "
            f"WHERE {condition} ORDER BY v.module, v.version",
            *parameters,
        )
        return [_module(row) for row in rows]

    def _placed(self, condition: str, record_ids: Sequence[str]) -> dict[str, str]:
        rows = self._database.rows(
            f"SELECT records.id, placements.module FROM records JOIN placements ON {condition} "
            f"WHERE {in_list('records.id')}",
            list_parameter("record_ids", record_ids),
        )
        return dict(rows)

    def _active_version(self, name: str) -> int | None:
        return self._cache.get("versions", self._versions.active).get(name)

    def _check_members(self, members: Sequence[Record], held: Iterable[str], scope: Scope) -> None:
        ids = [record.id for record in members]
        strangers = sorted(set(held) - set(ids))
        if strangers:
            raise InvalidInputError(f"`held` must be part of `members`, got also {strangers[:3]}")
        here = self._database.column(
            f"SELECT id FROM records WHERE {LIVE} AND {in_list('id')}",
            list_parameter("members", ids),
        )
        gone = sorted(set(ids) - set(here))
        if gone:
            raise RecordNotFoundError(
                f"record {gone[0]!r} was deleted while the module was trained on it",
                "Destroy the file and train again.",
            )
        for record in members:
            if not contains(scope, record.scope):
                raise InvalidInputError(
                    f"`scope` {dict(scope)!r} of the module would show record {record.id!r} of "
                    f"scope {dict(record.scope)!r} to others",
                    "Train records of one scope together.",
                )

    def _activate(self, name: str, version: int, *, take_over: bool = False) -> None:
        """Move the pointer and, with it, the records. A version without weights goes."""
        self._database.execute("UPDATE modules SET active = ? WHERE name = ?", version, name)
        self._database.execute("DELETE FROM placements WHERE module = ?", name)
        # What is trained by now in another wording is placed, too, unless another module holds
        # it: it leads `former_placements` to the module that is to be trained again.
        self._database.execute(
            "INSERT INTO placements SELECT records.number, members.module, members.content_hash "
            "FROM members JOIN records ON records.id = members.record "
            "WHERE members.module = ? AND members.version = ? AND recall IS NOT NULL "
            "ON CONFLICT (record) DO UPDATE "
            "SET module = excluded.module, content_hash = excluded.content_hash "
            "WHERE excluded.content_hash = "
            "(SELECT content_hash FROM records WHERE number = excluded.record) "
            "AND (? OR placements.content_hash <> excluded.content_hash)",
            name,
            version,
            take_over,
        )
        self._database.execute(
            "DELETE FROM failed_attempts WHERE (record, content_hash) IN "
            "(SELECT record, content_hash FROM placements WHERE module = ?)",
            name,
        )
        self._versions.delete("module = ? AND version <> ? AND file IS NULL", name, version)

    def drop_trained_on(self, ids: Sequence[str], drop: Drop) -> list[Module]:
        """Drop every version whose weights contain any text of these records.

        A module goes as a whole if its active version is among them; those modules are returned.
        """
        modules = [module for module in self.holding(ids) if module.active]
        for module in modules:
            drop(module.name, None)
        for version in self.holding(ids):  # of modules that stay
            drop(version.name, version.version)
        return modules


def _module(row: Row) -> Module:
    name, version, scope, manifest, created_at, active, records, versions = row
    return Module(
        name=name,
        version=version,
        scope=parse_scope_key(scope),
        records=tuple(id for _, id in sorted(json.loads(records))),
        manifest=json.loads(manifest),
        created_at=datetime.fromtimestamp(created_at, UTC),
        versions=tuple(sorted(number for (number,) in json.loads(versions))),
        active=bool(active),
    )


def _unknown(name: str) -> ModuleNotFoundInMemoryError:
    return ModuleNotFoundInMemoryError(
        f"no module has the name {name!r}", "List the modules to see their names."
    )
