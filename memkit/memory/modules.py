"""The verbs about adapter modules; a `memkit.Memory` has them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from memkit.answering.explain import Explanation
from memkit.memory import ask as reading
from memkit.memory import write as writing
from memkit.memory.ask import BUDGET, PASSAGES
from memkit.memory.engine import Engine
from memkit.protocols import Query
from memkit.types import ConsolidationReport, Metadata, Module, ModuleReport, Scope

if TYPE_CHECKING:
    from memkit.lora.peft.merges import Merge


class ModuleVerbs:
    """The part of `memkit.Memory` that makes modules, lists them and changes their versions."""

    def __init__(self, parts: Engine) -> None:
        self._engine = parts

    def consolidate(
        self,
        *,
        scope: Scope | None = None,
        where: Metadata | None = None,
        include_turns: bool = False,
        retry_missed: bool = False,
    ) -> ConsolidationReport:
        """Move knowledge into the weights: train, verify and commit adapter modules.

        Takes every record that no module holds as it is now. A record counts as held only after
        its recall from the weights was verified; the others stay with rag. A module that holds
        the older text of a record is trained again, on the new text and on what else it holds;
        so is one whose file was lost or damaged. What has expired is destroyed first (`sweep`).

        Args:
            scope: Only records of this scope and narrower ones; None for all.
            where: Only records that pass this metadata filter.
            include_turns: Also learn the turns of conversations.
            retry_missed: Also try records that were missed before, with the same recipe, base
                model and memkit; without it the report lists them as left out.

        Raises:
            UnsupportedOperationError: Without the "lora" backend.
            BusyError: If another process is consolidating this memory.
            TrainingError: If training diverges; modules that are done stay.
        """
        lora = self._engine.need_lora("consolidate()")
        writing.sweep(self._engine, retrain=True)
        lora.retire_outdated()
        records = self._engine.ledger.modules.unplaced(
            within=scope, where=where, include_turns=include_turns
        )
        return self._engine.consolidator.run(lora, records, retry_missed=retry_missed)

    def explain(
        self,
        query: str,
        budget: int = BUDGET,
        *,
        k: int = PASSAGES,
        scope: Scope | None = None,
        where: Metadata | None = None,
    ) -> Explanation:
        """Say what `ask` would go by: facts, modules, and what goes into the prompt; print it.

        Args:
            query: The user's words.
            budget: As for `ask`.
            k: As for `ask`.
            scope: Only what this scope may see.
            where: Only records that pass this metadata filter.

        Raises:
            InvalidInputError: If the query is blank, the budget negative, or ``k`` < 1.
        """
        return reading.explain(self._engine, Query(query, k, scope or {}, where), budget)

    def modules(self, *, scope: Scope | None = None) -> list[Module]:
        """List the adapter modules in service; print one to read it.

        Each says which of its versions are kept: the active one and at most two others.

        Args:
            scope: Only those that hold records of this scope or of narrower ones; None for all.
        """
        return self._engine.ledger.modules.active(within=scope)

    def rollback(self, name: str, version: int) -> Module:
        """Put another version of a module into service, with the records that it holds.

        This and all other processes answer from it at once. What only the other version held is
        left to rag, and so is what says something else by now; `consolidate` trains it again.

        Args:
            name: The module.
            version: One of its `Module.versions`; the active one changes nothing.

        Returns:
            The module as it is in service now.

        Raises:
            ModuleNotFoundInMemoryError: If there is no such module, or it has no such version.
            UnsupportedOperationError: Without the "lora" backend.
        """
        self._engine.need_lora("rollback()")
        return self._engine.ledger.modules.activate(name, version)

    def retrain(self, names: str | Sequence[str] | None = None) -> ConsolidationReport:
        """Train modules again from the ledger: the same records, specification and seed.

        Where no record was updated since, the same kind of machine gives the same weights to
        the last byte. The version that is there stays then, with a fresh file, and the report
        says that it is unchanged; otherwise the module gets its next version.

        Args:
            names: One module or several; None for all that were trained here, those included
                that are out of service because their file was lost or damaged. An imported
                module is trained by the memory's recipe, if it is named or was lost.

        Raises:
            ModuleNotFoundInMemoryError: If a module is unknown; nothing is trained then.
            UnsupportedOperationError: Without the "lora" backend.
            BusyError: If another process is consolidating this memory.
            TrainingError: If training diverges; modules that are done stay.
        """
        self._engine.need_lora("retrain()")
        writing.sweep(self._engine, retrain=True)
        chosen = [names] if isinstance(names, str) else names
        return self._engine.consolidator.retrain(self._engine.need_lora("retrain()"), chosen)

    def export_adapter(
        self,
        mixture: str | Mapping[str, float],
        folder: str | Path,
        *,
        merge: str | Merge = "cat",
    ) -> Path:
        """Write a module, or a mixture of modules as one adapter, as a folder for PEFT.

        PEFT computes with it what memkit computes where adapters act. `forget` does not reach
        the folder.

        Args:
            mixture: The name of a module, or names with weights.
            folder: Must not exist, or be empty.
            merge: How modules become one adapter: "cat" is the mixture itself; other names and
                their options are in `memkit.lora.peft.merges.Merge`.

        Returns:
            The folder.

        Raises:
            ModuleNotFoundInMemoryError: If there is no such module.
            InvalidInputError: If the modules do not merge in this way, or there is something in
                the folder's place.
            UnsupportedOperationError: Without the "lora" backend.
        """
        from memkit.lora.peft.peft_adapters import export_adapter

        return export_adapter(self._engine.need_lora("export_adapter()"), mixture, folder, merge)

    def import_adapter(self, folder: str | Path, *, records: Sequence[str]) -> ModuleReport:
        """Take in a LoRA adapter that PEFT saved, as a module for records that are here.

        Everything about the folder is checked before anything is stored. Then the adapter is
        asked for the records as a user would; those that come back are held by it from now on,
        whichever module held them before. If none does, it is not kept.

        Args:
            folder: As PEFT's ``save_pretrained`` or `export_adapter` wrote it; of a folder from
                elsewhere nothing is executed.
            records: Ids of the records whose questions it answers, all of one scope.

        Raises:
            InvalidInputError: If the records do not go together, or the adapter is not plain
                LoRA in safetensors.
            IncompatibleModelError: If it was trained for another base model.
            CorruptFileError: If a file of it is missing or damaged.
            NonFiniteError: If a weight is not finite, or too large to be stored.
            RecordNotFoundError: If a record does not exist.
            UnsupportedOperationError: Without the "lora" backend.
            BusyError: If another process is consolidating this memory.
        """
        lora = self._engine.need_lora("import_adapter()")
        from memkit.lora.peft.peft_adapters import import_adapter

        return import_adapter(lora, self._engine.consolidator, folder, records)
