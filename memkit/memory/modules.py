"""Adapter modules: `memory.modules`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from memkit.memory import forget
from memkit.memory.engine import Engine
from memkit.types import ConsolidationReport, Module, ModuleReport, Scope
from memkit.types.validate import (
    check_flag,
    check_id,
    check_ids,
    check_limit,
    check_path,
    check_scope,
)

if TYPE_CHECKING:
    from peft import PeftModel

    from memkit.lora.peft.merges import Merge


class Modules:
    """The adapter modules of a memory; iterating gives those in service."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __iter__(self) -> Iterator[Module]:
        return iter(self.list())

    def __len__(self) -> int:
        return len(self.list())

    def list(self, *, scope: Scope | None = None) -> list[Module]:
        """List the adapter modules in service; print one to read it.

        Each says which of its versions are kept: the active one and at most two others.

        Args:
            scope: Only those that hold records of this scope or of narrower ones; None for all.
        """
        within = None if scope is None else check_scope(scope)
        return self._engine.ledger.modules.active(within=within)

    def rollback(self, name: str, version: int) -> Module:
        """Put another version of a module into service, with the records that it holds.

        This and all other processes answer from it at once. What only the other version held is
        left to rag, and so is what says something else by now; `Memory.consolidate` trains it
        again.

        Args:
            name: The module.
            version: One of its `Module.versions`; the active one changes nothing.

        Returns:
            The module as it is in service now.

        Raises:
            ModuleNotFoundInMemoryError: If there is no such module, or it has no such version.
            UnsupportedOperationError: Without the "lora" backend.
        """
        self._engine.require("lora", "modules.rollback()")
        check_limit("version", version)
        return self._engine.ledger.modules.activate(check_id("name", name), version)

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
        lora = self._engine.need_lora("modules.retrain()")
        chosen = [names] if isinstance(names, str) else names
        if chosen is not None:
            chosen = check_ids("names", chosen, single=True)
        forget.sweep(self._engine, retrain=True)
        return self._engine.consolidator.retrain(lora, chosen)

    def compact(self, *, scope: Scope | None = None) -> ConsolidationReport:
        """Train the records of small modules together, so that there are fewer modules.

        Consolidating a fact as soon as it is said is quick, and leaves a module for it alone.
        Modules that hold at most half of what `Recipe.records_per_module` allows are put together
        within their scope, verified like all others, and dropped when larger ones hold all that
        they held. What a larger one does not recall stays where it is.

        Args:
            scope: Only modules of this scope or of narrower ones; None for all.

        Returns:
            The larger modules; empty if there would not be fewer.

        Raises:
            UnsupportedOperationError: Without the "lora" backend.
            BusyError: If another process is consolidating this memory.
            TrainingError: If training diverges; modules that are done stay.
        """
        lora = self._engine.need_lora("modules.compact()")
        within = None if scope is None else check_scope(scope)
        forget.sweep(self._engine, retrain=True)
        lora.retire_outdated()
        return self._engine.consolidator.compact(lora, scope=within)

    def export(
        self,
        mixture: str | Mapping[str, float],
        path: str | Path,
        *,
        format: Literal["peft", "gguf"] = "peft",
        merge: str | Merge = "cat",
        activated: bool | None = None,
    ) -> Path:
        """Write a module, or a mixture of modules as one adapter, for PEFT or llama.cpp.

        An activated adapter acts as it does here: from the tokens on that open a question in the
        base model's chat template; what stands before is read by the untouched model. One that
        is not activated acts on the whole prompt. `Memory.forget` does not reach what is written.

        Args:
            mixture: The name of a module, or names with weights.
            path: For PEFT a folder that does not exist, or is empty; for GGUF a file that does
                not exist.
            format: "peft" for a folder of PEFT's, which others load as well; "gguf" for a file of
                llama.cpp's.
            merge: How modules become one adapter: "cat" is the mixture itself; other names and
                their options are in `memkit.lora.peft.merges.Merge`.
            activated: Whether the adapter names those tokens (activated LoRA); None for yes where
                the template has such tokens. PEFT does not merge an activated adapter into its
                base model, llama.cpp takes one of them in a request, and vLLM none.

        Returns:
            The path.

        Raises:
            ModuleNotFoundInMemoryError: If there is no such module.
            InvalidInputError: If the modules do not merge in this way, or there is something in
                the path's place.
            UnsupportedOperationError: If memkit does not know how llama.cpp names the layers of
                such a base model, if ``activated`` is True and the template has no such tokens,
                or without the "lora" backend.
        """
        lora = self._engine.need_lora("modules.export()")
        from memkit.lora.module_export import Export, export_adapter
        from memkit.lora.peft.merges import Merge

        path = check_path("path", path)
        if activated is not None:
            check_flag("activated", activated)
        how = Export(merge if isinstance(merge, Merge) else Merge(merge), format, activated)
        return export_adapter(lora, mixture, path, how)

    def import_(self, folder: str | Path, *, records: Sequence[str]) -> ModuleReport:
        """Take in a LoRA adapter that PEFT saved, as a module for records that are here.

        Everything about the folder is checked before anything is stored. Then the adapter is
        asked for the records as a user would; those that come back are held by it from now on,
        whichever module held them before. If none does, it is not kept.

        Args:
            folder: As PEFT's ``save_pretrained`` or `export` wrote it; of a folder from
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
        lora = self._engine.need_lora("modules.import_()")
        from memkit.lora.peft.peft_adapters import import_adapter

        records = check_ids("records", records)
        folder = check_path("folder", folder)
        return import_adapter(lora, self._engine.consolidator, folder, records)

    def peft_model(self, name: str, *, trainable: bool = False) -> PeftModel:
        """Give the base model with a module in place, as PEFT's own class.

        For everything that the ecosystem does with one. It is another model than the one that
        answers here: what is done to it changes no answer, and `Memory.forget` does not reach it.

        Args:
            name: The module.
            trainable: Whether the adapter's weights ask for gradients.

        Raises:
            ModuleNotFoundInMemoryError: If there is no such module.
            UnsupportedOperationError: Without the "lora" backend.
        """
        lora = self._engine.need_lora("modules.peft_model()")
        name = check_id("name", name)
        check_flag("trainable", trainable)
        from memkit.lora.peft.peft_model import peft_model

        module = self._engine.ledger.modules.get(name)
        return peft_model(lora.base, lora.stored(module), trainable=trainable)
