"""Adapter modules, their versions, and which records they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from memkit.errors import InvalidInputError, ModuleNotFoundInMemoryError, RecordNotFoundError
from memkit.ledger.engine.checksums import amended, stamp
from memkit.ledger.engine.dialect import in_list, list_parameter
from memkit.ledger.engine.settings import read_setting, write_setting
from memkit.ledger.modules.module_reads import ModuleReads, unknown_module
from memkit.ledger.modules.module_versions import Member, ModuleFile
from memkit.ledger.records.where import LIVE
from memkit.types import Metadata, Module, Record, Scope
from memkit.types.scope import scope_key
from memkit.types.validate import check_text

Drop = Callable[[str, int | None], None]  # a module's name, and a version or None for all


class ModuleTable(ModuleReads):
    """Modules with their versions; a record is placed in one module at most.

    A version never changes: what it was trained on, how, and which records it recalled. One
    version of a module is active, and its records are placed in the module. Both change in one
    transaction, so a reader sees the old version with its records, or the new one with its own.
    """

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
        no new version: the one that is there gets the new file and becomes active. Of older
        versions, the one that was active and the newest others are kept; the files of the rest
        are queued for destruction.

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
            InvalidInputError: If ``held`` is not part of ``members``, a member or an older
                version is of another scope, or the file is in use or queued for destruction.
        """
        check_text("name", name)
        trained = {m.id: Member(m.id, m.content_hash, held.get(m.id)) for m in members}
        with self._database.transaction():
            self._check_members(members, held, scope)
            self._versions.check_scope(name, scope)
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
            versions = self._versions.with_weights(name)
            if not versions:
                raise unknown_module(name)
            if version not in versions:
                raise ModuleNotFoundInMemoryError(
                    f"module {name!r} has no version {version!r}",
                    f"These are kept: {', '.join(map(str, versions))}.",
                )
            self._activate(name, version)
            return self.get(name)

    def drop(self, name: str, version: int | None = None) -> None:
        """Delete a module, or a version of it; its files are queued for destruction.

        None, or the active version, stands for the module as a whole.

        Raises:
            ModuleNotFoundInMemoryError: If there is no such module or version.
        """
        with self._database.transaction():
            if version is not None and version != self._active_version(name):
                dropped = self._versions.delete("module = ? AND version = ?", name, version)
            else:
                dropped = self.remove(name)
            if not dropped:
                raise unknown_module(name)

    def remove(self, name: str) -> bool:
        """Delete all versions of a module, damaged or not; returns whether there were any."""
        with self._database.transaction():
            there = self._versions.delete("module = ?", name)
            self._database.execute("DELETE FROM placements WHERE module = ?", name)
            self._database.execute("UPDATE modules SET active = NULL WHERE name = ?", name)
            stamp(self._database, "modules", "name = ?", name)
            return there

    def discard_weights(self, path: str) -> None:
        """Note that the weights in a file cannot be used; the file is queued for destruction.

        A module whose active version loses its weights is out of service: nothing is answered
        from it until it was trained again. Of any other version nothing is left.

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
        with self._database.transaction():
            number = int(read_setting(self._database, "last_module") or 0) + 1
            write_setting(self._database, "last_module", str(number))
        return f"m{number:04}"

    def drop_trained_on(self, ids: Sequence[str], drop: Drop) -> list[Module]:
        """Drop each version that knows any text of records; returns the modules that went whole."""
        modules = [module for module in self.holding(ids) if module.active]
        for module in modules:
            drop(module.name, None)
        for version in self.holding(ids):  # of modules that stay
            drop(version.name, version.version)
        return modules

    def _active_version(self, name: str) -> int | None:
        return self._versions.pointers().get(name, (0, None))[1]

    def _check_members(self, members: Sequence[Record], held: Iterable[str], scope: Scope) -> None:
        ids = [record.id for record in members]
        if strangers := sorted(set(held) - set(ids)):
            raise InvalidInputError(f"`held` must be part of `members`, got also {strangers[:3]}")
        sql = f"SELECT id, scope FROM records WHERE {LIVE} AND {in_list('id')}"
        scopes: dict[str, str] = dict(self._database.rows(sql, list_parameter("members", ids)))
        if missing := sorted(set(ids) - scopes.keys()):
            raise RecordNotFoundError(
                f"record {missing[0]!r} was deleted while the module was trained on it",
                "Destroy the file and train again.",
            )
        for record in members:
            # Also as it is by now: what is for others must not be in these weights.
            if {scope_key(record.scope), scopes[record.id]} != {scope_key(scope)}:
                raise InvalidInputError(
                    f"`members` must be of the module's `scope` {dict(scope)!r}, record "
                    f"{record.id!r} is of {scopes[record.id]}",
                    "Train records of one scope together.",
                )

    def _activate(self, name: str, version: int, *, take_over: bool = False) -> None:
        """Move the pointer and, with it, the records. A version without weights goes."""
        self._versions.members(name, version)  # so that what is placed is what was trained
        with amended(self._database, "modules", "name = ?", name):
            self._database.execute("UPDATE modules SET active = ? WHERE name = ?", version, name)
        self._database.execute("DELETE FROM placements WHERE module = ?", name)
        # What is trained by now in another wording is placed, too, unless another module holds
        # it: it leads `former_placements` to the module that is to be trained again.
        self._database.execute(
            "INSERT INTO placements SELECT records.number, members.module, members.content_hash "
            "FROM members JOIN module_versions AS own USING (module, version) "
            "JOIN records ON records.id = members.record "
            "WHERE members.module = ? AND members.version = ? AND recall IS NOT NULL "
            "AND records.scope = own.scope "
            "ON CONFLICT (record) DO UPDATE "
            "SET module = excluded.module, content_hash = excluded.content_hash "
            "WHERE excluded.content_hash = "
            "(SELECT content_hash FROM records WHERE number = excluded.record) "
            "AND (? OR placements.content_hash <> excluded.content_hash)",
            *(name, version, take_over),
        )
        self._database.execute(
            "DELETE FROM failed_attempts WHERE (record, content_hash) IN "
            "(SELECT record, content_hash FROM placements WHERE module = ?)",
            name,
        )
        self._versions.delete("module = ? AND version <> ? AND file IS NULL", name, version)
