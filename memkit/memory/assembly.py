"""The heavy parts of an open memory: made together, and brought in line with the ledger.

Opening a memory looks at the ledger alone, so that whoever lists or counts records waits for no
model. What was handed in as an object is tried at once; what was only named is found, and its
name compared. The parts themselves are made when a verb first needs one of them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from memkit.errors import (
    BusyError,
    DestructionPendingError,
    DiskFullError,
    ModelUnavailableError,
)
from memkit.lora.store.adapter_store import faults
from memkit.lora.store.server_rows import prune
from memkit.memory.erasure import finish, sweep_if_idle
from memkit.models.sources import find_embedder

if TYPE_CHECKING:
    from memkit.lora.lora_backend import LoraBackend
    from memkit.memory.engine import Engine
    from memkit.protocols import Backend
    from memkit.rag.rag_backend import RagBackend

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What needs an embedder.

    Attributes:
        indexing: Keeps the index, for retrieval and for the router of adapters.
        lora: Adapters; None if the memory was opened without them.
    """

    indexing: RagBackend
    lora: LoraBackend | None

    @classmethod
    def of(cls, engine: Engine) -> Self:
        """Make the parts, and bring them in line with the ledger and with each other.

        Takes modules out of service whose files are damaged or whose base model is being
        replaced, finishes erasures, indexes what has no passage yet, and calibrates the router.

        Raises:
            IncompatibleModelError: If the memory was made with other models.
            ModelUnavailableError: If there is no such embedder.
        """
        from memkit.rag.rag_backend import RagBackend

        with ExitStack() as unless_whole:
            indexing = RagBackend(engine.ledger, engine.load_index())
            unless_whole.enter_context(closing(indexing))
            lora = engine.make_lora(indexing.facts) if "lora" in engine.names else None
            if lora is not None:
                unless_whole.enter_context(closing(lora))
            if engine.ledger.writable:
                _recover(engine, indexing, lora)
            indexing.sync(engine.ledger.records)
            if lora is not None:
                _calibrate(engine, lora)
            unless_whole.pop_all()
        return cls(indexing, lora)

    def close(self) -> None:
        """Write the index file, and take adapters off the base model."""
        with ExitStack() as both:  # whichever fails
            both.enter_context(closing(self.indexing))
            if self.lora is not None:
                both.enter_context(closing(self.lora))


def recover(engine: Engine) -> None:
    """Bring a memory in line that is being opened: what a crash or another set-up left.

    Finishes interrupted erasures, removes what killed runs left behind, and makes the parts if
    something is amiss with a module's file or a model's name.

    Raises:
        IncompatibleModelError: If the memory was made with other models.
    """
    if engine.ledger.shared and not engine.ledger.writable:
        prune(engine.ledger)
    if engine.needs_parts and (_is_due(engine) or _is_amiss(engine)):
        _ = engine.parts
    elif engine.ledger.writable:
        _destroy_rest(engine, engine.backends if engine.ledger.erasures.pending() else ())
    for backend in engine.config.own_backends:
        backend.sync(engine.ledger.records)


def _is_due(engine: Engine) -> bool:
    """Whether the parts are to be made at once, so that the caller's own are tried."""
    config = engine.config
    models = (config.embedder, config.base_model)
    named = all(model is None or isinstance(model, str | Path) for model in models)
    return not named or config.rebuild or bool(config.reranker or config.vector_index)


def _is_amiss(engine: Engine) -> bool:
    """Whether a module's file is damaged, or a model has another name than the memory's."""
    ledger = engine.ledger
    if _is_other_embedder(engine):
        return True
    if "lora" not in engine.names or not ledger.writable:
        return False
    return bool(faults(ledger, ledger.modules.files())) or _is_other_base(engine)


def _recover(engine: Engine, indexing: RagBackend, lora: LoraBackend | None) -> None:
    """Bring new parts in line, in this order: what is erased goes whatever the base model."""
    if lora is not None:
        lora.check_files()
        if engine.config.rebuild:
            lora.retire_other_models()
    own = engine.config.own_backends
    _destroy_rest(engine, [indexing, *own, *([lora] if lora is not None else [])])
    if lora is not None and not engine.config.rebuild and _is_other_base(engine):
        _ = lora.base  # compares the fingerprints


def _destroy_rest(engine: Engine, backends: Sequence[Backend]) -> None:
    """Finish erasures that were interrupted, and remove what killed runs left behind."""
    try:
        if engine.ledger.erasures.pending():
            finish(engine.ledger, backends)
        else:
            sweep_if_idle(engine.ledger)
    except DestructionPendingError as exc:
        if exc.__cause__ is not None and not isinstance(exc.__cause__, DiskFullError | BusyError):
            raise exc.__cause__ from None
        # It stays pending; reading must work where there is no room, or no turn, for it.
        logger.warning("destroying what was forgotten goes on later: %s", exc.message)


def _is_other_embedder(engine: Engine) -> bool:
    """Whether the embedder that was named is certainly not the memory's.

    One of the same name is compared when it is used.
    """
    made_with, given = engine.ledger.get_meta("embedder"), engine.config.embedder
    if made_with is None or not (given is None or isinstance(given, str | Path)):
        return False
    try:
        name = find_embedder(given, fetch=False).name
    except ModelUnavailableError:
        return False  # records can be read without; whoever needs it says that it is missing
    return name.rpartition("/")[2] != made_with.partition("@")[0]


def _is_other_base(engine: Engine) -> bool:
    """Whether modules in service were trained for another base model, as far as names tell."""
    trained_for = {m.manifest["base_model"] for m in engine.ledger.modules.active()}
    given = engine.config.base_model
    if not trained_for or not (given is None or isinstance(given, str | Path)):
        return bool(trained_for)  # a model that was handed in is compared as it is
    try:
        return trained_for != {engine.base_name}
    except ModelUnavailableError:
        return False  # recalling works without; whoever needs it says that it is missing


def _calibrate(engine: Engine, lora: LoraBackend) -> None:
    """Let the router measure what it goes by, if it has not or another memkit has."""
    if not engine.ledger.modules.active():
        return
    if lora.router.calibrated and not engine.config.rebuild:
        return
    logger.info("the router is calibrated on what this memory holds, which takes some seconds")
    lora.router.calibrate([])
