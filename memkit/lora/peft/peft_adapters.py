"""Import of adapters that were trained elsewhere, or exported from a memory.

They travel as folders in PEFT's format (`memkit.lora.peft.peft_format`). One is checked against the
base model before anything is stored, and then has to pass the verification that memkit's own
modules pass.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from memkit.errors import IncompatibleModelError, InvalidInputError, StorageError
from memkit.ledger import Ledger
from memkit.lora.consolidation.consolidate import Consolidator
from memkit.lora.consolidation.manifest import Candidate
from memkit.lora.lora_backend import LoraBackend
from memkit.lora.peft.peft_format import Settings, read_settings, read_weights
from memkit.lora.serving.hooks import Adapter
from memkit.lora.spec import LoraSpec
from memkit.models.invocation import invocation_tokens
from memkit.models.language_model import TransformersModel
from memkit.types import ModuleReport, Record
from memkit.types.validate import shown

logger = logging.getLogger(__name__)


def import_adapter(
    backend: LoraBackend, consolidator: Consolidator, folder: Path, ids: Sequence[str]
) -> ModuleReport:
    """Take in an adapter that was trained elsewhere, for records that are here.

    It is verified like a module of memkit's own: asked through the path that serves it. The
    records that come back become held, whichever module held them before.

    Args:
        backend: Where it goes.
        consolidator: Verifies and commits it.
        folder: As PEFT's ``save_pretrained`` or `export_adapter` wrote it.
        ids: The records whose questions it answers, all of one scope.

    Raises:
        InvalidInputError: If the records do not go together, it is not plain LoRA, or it acts
            from other tokens on than memkit's.
        IncompatibleModelError: If it is for another base model.
        CorruptFileError: If a file of it is missing or damaged.
        NonFiniteError: If a weight is not finite, or too large to be stored.
        RecordNotFoundError: If a record does not exist.
        BusyError: If another process is consolidating this memory.
    """
    records = _of_one_scope(backend.ledger, ids)
    settings, adapter, digest = _read(backend, folder)
    leaves = tuple(sorted({name.rpartition(".")[2] for name in adapter}))
    # The scale becomes one of plain LoRA, whatever rule it came from.
    lora = LoraSpec(settings.rank, settings.scale * settings.rank, target_modules=leaves)
    origin = {"imported": {"base_model": settings.base_model, "digest": digest}}
    return consolidator.adopt(backend, Candidate(records, lora, adapter, origin))


def check_adapter(backend: LoraBackend, folder: Path) -> str:
    """Check all files of an adapter; gives the SHA-256 of its weights.

    Raises:
        InvalidInputError, IncompatibleModelError, CorruptFileError, NonFiniteError: As
            `import_adapter`, which will take what passes.
    """
    return _read(backend, folder)[-1]


def _read(backend: LoraBackend, folder: Path) -> tuple[Settings, Adapter, str]:
    if not folder.is_dir():
        raise StorageError(
            f"there is no folder {str(folder)!r}",
            hint="give the folder that PEFT's `save_pretrained` or `modules.export` has written",
        )
    settings = read_settings(folder)
    _check_base(settings, backend.base)
    _check_activation(settings, backend.base)
    adapter, digest = read_weights(folder, settings.rank, backend.layers.shapes)
    return settings, adapter, digest


def _check_base(settings: Settings, base: TransformersModel) -> None:
    if settings.fingerprint not in {None, base.fingerprint}:
        raise IncompatibleModelError(
            f"the adapter was trained for {shown(settings.base_model)} "
            f"({str(settings.fingerprint)[:12]}), the base model is {base.name!r} "
            f"({base.fingerprint[:12]})",
            hint="open the memory with the base model that the adapter was trained for",
        )
    named = settings.base_model
    if settings.fingerprint is None and named is not None and _last(named) != _last(base.name):
        logger.warning(
            "the adapter says that it was trained for %.200r, the base model is %r",
            named,
            base.name,
        )


def _check_activation(settings: Settings, base: TransformersModel) -> None:
    expected = invocation_tokens(base)
    if settings.invocation not in {None, expected}:
        raise InvalidInputError(
            f"expected an adapter that acts on every token, or from the tokens {expected} on, "
            f"which open a question to {base.name!r}; got one that acts from "
            f"{settings.invocation} on",
            hint="train it without `alora_invocation_tokens`, or with these",
        )


def _last(name: str) -> str:
    """A model's own name: without the folder, or the owner on the hub."""
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2].casefold()


def _of_one_scope(ledger: Ledger, ids: Sequence[str]) -> list[Record]:
    """The records that an adapter is for."""
    if not ids:
        raise InvalidInputError(
            f"expected `records` to be a list of ids, got {shown(ids)}",
            hint="name the records whose questions the adapter answers",
        )
    records = ledger.records.get(list(dict.fromkeys(ids)))
    scopes = [dict(record.scope) for record in records]
    for scope in scopes[1:]:
        if scope != scopes[0]:
            raise InvalidInputError(
                f"expected `records` of one scope, got {shown(scopes[0])} and {shown(scope)}",
                hint="a module answers for one scope; import the adapter once for each",
            )
    return records
