"""Looking at modules: which are in service, what they hold, and where their weights are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from memkit.errors import ModuleNotFoundInMemoryError
from memkit.ledger.engine.checksums import checked_columns, verify
from memkit.ledger.engine.database import Database, Row
from memkit.ledger.engine.dialect import THEN_JOIN, gathered, in_list, list_parameter
from memkit.ledger.engine.readable import readable
from memkit.ledger.modules.module_versions import ModuleFile, VersionTable
from memkit.ledger.records.record_rows import COLUMNS, record_of
from memkit.ledger.records.where import EXPIRED, LIVE, select_sql
from memkit.types import Metadata, Module, Record, Scope
from memkit.types.scope import contains, parse_scope_key, scope_key, visible_keys

_CHECKED = checked_columns("module_versions", named="v")
_ACTIVE = "modules.active = v.version"
# Weights know all that they were trained on: once any of it has expired, nothing is answered
# from them, until `sweep` has had them trained anew.
_EXPIRED = (
    f"(SELECT members.module FROM records JOIN members ON members.record = records.id "
    "JOIN modules AS serving ON serving.name = members.module "
    f"AND serving.active = members.version WHERE {EXPIRED})"
)
_IN_SERVICE = f"{_ACTIVE} AND v.file IS NOT NULL AND v.module NOT IN {_EXPIRED}"
# A module answers for records of its own scope only.
_OF_ITS_SCOPE = (
    "records.scope = (SELECT own.scope FROM modules AS named JOIN module_versions AS own "
    "ON own.module = named.name AND own.version = named.active "
    "WHERE named.name = placements.module)"
)
_HOME = f"records.number = placements.record AND {_OF_ITS_SCOPE}"
# A placement counts only while the record says what was trained.
_PLACED = f"{_HOME} AND records.content_hash = placements.content_hash"
_VALID = f"{_PLACED} AND placements.module NOT IN {_EXPIRED}"


class ModuleReads:
    """The part of `memkit.ledger.modules.module_table.ModuleTable` that changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._versions = VersionTable(database)

    def active(
        self, *, visible_to: Scope | None = None, within: Scope | None = None
    ) -> list[Module]:
        """List the modules in service, in the order of their names; read once per change.

        Only what a query of one scope may be answered from, and what is of another scope or of
        narrower ones; None for all.
        """
        active = self._database.cache.get("active", self._read_active, expires=True)
        visible = None if visible_to is None else set(visible_keys(visible_to))
        return [
            module
            for module in active
            if (visible is None or scope_key(module.scope) in visible)
            and (within is None or contains(module.scope, within))
        ]

    def _read_active(self) -> list[Module]:
        self._versions.pointers()  # where one is damaged, a module is missing without a word
        return self._modules(_IN_SERVICE)

    def without_weights(self) -> list[Module]:
        """List the modules that are out of service because their weights were lost."""
        return self._modules(f"{_ACTIVE} AND v.file IS NULL")

    def get(self, name: str) -> Module:
        """Give a module as its active version is.

        Raises:
            ModuleNotFoundInMemoryError: If there is none of this name in service.
        """
        self._versions.pointers()
        modules = self._modules(f"{_IN_SERVICE} AND v.module = ?", name)
        if not modules:
            raise unknown_module(name)
        return modules[0]

    def file(self, name: str, version: int | None = None) -> ModuleFile:
        """Tell where the weights of a version are; None stands for the active one.

        Raises:
            ModuleNotFoundInMemoryError: If there is none of this name with weights.
        """
        files = self._versions.files()
        if (name, version) not in files:
            raise unknown_module(name)
        return files[name, version]

    def files(self, name: str | None = None) -> list[ModuleFile]:
        """Tell where the weights of all versions are, of one module or of all."""
        files = self._versions.files().items()
        return [file for (owner, version), file in files if version and name in {None, owner}]

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
        """Map those of the records that are held as they are now to the module that does.

        Read once per change.
        """
        return self._database.cache.get_each(
            "placements", record_ids, lambda ids: self._placed(_VALID, ids), expires=True
        )

    def former_placements(self, record_ids: Sequence[str]) -> dict[str, str]:
        """Map records that were held, but are not as they are now, to the module that did."""
        otherwise = "NOT records.content_hash = placements.content_hash"
        return self._placed(f"{_HOME} AND {otherwise} AND {LIVE}", record_ids)

    def unplaced(
        self, *, within: Scope | None, where: Metadata | None, include_turns: bool
    ) -> list[Record]:
        """List the records that no module holds as they are now, in the order they were added.

        Scope and filter are as for `RecordReads.page`; records that keep turns of a conversation
        are listed on demand, unless they have a question: these are facts, whoever said them.
        """
        condition, parameters = select_sql(within=within, where=where)
        if not include_turns:
            condition += (
                " AND (question IS NOT NULL "
                "OR NOT EXISTS (SELECT 1 FROM turns WHERE record = records.number))"
            )
        rows = self._database.rows(
            f"SELECT {COLUMNS} FROM records WHERE {condition} "
            f"AND NOT EXISTS (SELECT 1 FROM placements WHERE {_VALID}) ORDER BY records.number",
            *parameters,
        )
        return [record_of(row) for row in rows]

    def holding(self, record_ids: Sequence[str]) -> list[Module]:
        """List the versions, active or not, whose weights contain any text of these records.

        Read once per change.

        Raises:
            CorruptFileError: If what any version was trained on is not as it was written: it might
                be of these records.
        """
        ids = list_parameter("record_ids", record_ids)
        return self._database.cache.get(("holding", ids), lambda: self._read_holding(ids))

    def _read_holding(self, ids: str) -> list[Module]:
        self._database.cache.get("members are intact", self._versions.check_members)
        return self._modules(
            "(v.module, v.version) IN (SELECT module, version FROM members "
            f"WHERE {in_list('record')})",
            ids,
        )

    def members(self, name: str) -> list[str]:
        """List the ids of all records that a module's active version was trained on, in order.

        Missed records are listed, and deleted ones: the weights contain them.
        """
        _, active = self._versions.pointers().get(name, (0, None))
        return [] if active is None else [id for id, *_ in self._versions.members(name, active)]

    def last_version(self, name: str) -> int:
        """Number of the newest version that a module has ever had; 0 if it had none."""
        versions, _ = self._versions.pointers().get(name, (0, None))
        return versions

    def _modules(self, condition: str, *parameters: object) -> list[Module]:
        rows = self._database.rows(
            f"SELECT {_CHECKED}, {_ACTIVE}, "
            f"(SELECT {gathered('records.number', 'records.id')} "
            f"FROM placements {THEN_JOIN} records ON {_PLACED} "
            f"WHERE placements.module = v.module AND {_ACTIVE}), "
            f"(SELECT {gathered('version')} FROM module_versions AS others "
            "WHERE others.module = v.module AND others.file IS NOT NULL) "
            "FROM module_versions AS v JOIN modules ON modules.name = v.module "
            f"WHERE {condition} ORDER BY v.module, v.version",
            *parameters,
        )
        return [readable("module_versions", row[0], _module, row) for row in rows]

    def _placed(self, condition: str, record_ids: Sequence[str]) -> dict[str, str]:
        rows = self._database.rows(
            f"SELECT records.id, placements.module FROM records JOIN placements ON {condition} "
            f"WHERE {in_list('records.id')}",
            list_parameter("record_ids", record_ids),
        )
        return dict(rows)


def _module(row: Row) -> Module:
    *checked, active, records, versions = row
    verify("module_versions", checked)
    name, version, scope, manifest, _, _, created_at, _ = checked
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


def unknown_module(name: str) -> ModuleNotFoundInMemoryError:
    """Say that there is no such module."""
    return ModuleNotFoundInMemoryError(
        f"no module has the name {name!r}", "List the modules to see their names."
    )
