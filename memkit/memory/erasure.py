"""Erasure: what is forgotten leaves every place, and the receipt says what was checked.

The order makes it safe to be killed at any instant:

1. one ledger transaction deletes the records and every module whose weights contain them, and
   queues the modules' files for destruction; from here on nothing can be answered from them;
2. the index file and the ledger's own free pages and log are rewritten without them;
3. the queued files and rows of files are overwritten, the files removed.

A crash after step 1 leaves work that the next opening finishes (`finish`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memkit.errors import BusyError, DestructionPendingError, StorageError
from memkit.files import own_folder
from memkit.ledger import Ledger, ModuleFile
from memkit.ledger.engine.locks import adapters_lock
from memkit.ledger.stored_paths import ADAPTERS, INDEX, is_safe
from memkit.lora.store.adapter_store import destroy, tidy
from memkit.memory.residue import samples, vector_samples
from memkit.protocols import Backend
from memkit.types import Scope

_MOST = 10_000  # records whose vectors are looked for afterwards; bounds memory


@dataclass(frozen=True)
class Erased:
    """What left the memory.

    Attributes:
        records: Ids of the erased records.
        versions: How many versions went.
        turns: How many turns went.
        modules: Names of the modules that went, with the ids of their other records.
        files: Files that were destroyed.
        samples: Pieces of all these texts, which must not be found any more.
        vectors: Pieces of the vectors of their passages, likewise.
        weights: Where the weights were that had been trained on them.
        items: How many items of the scope went.
    """

    records: tuple[str, ...]
    versions: int
    turns: int
    modules: dict[str, tuple[str, ...]]
    files: tuple[str, ...]
    samples: tuple[str, ...]
    vectors: tuple[bytes, ...]
    weights: tuple[ModuleFile, ...]
    items: int


def erase(
    ledger: Ledger,
    ids: Sequence[str],
    *,
    backends: Sequence[Backend],
    turns_of: Scope | None = None,
) -> Erased:
    """Delete records, and every module that was trained on any version of them.

    Args:
        ledger: The memory's ledger.
        ids: The records; those that do not exist are left out of the result.
        backends: All backends of the memory.
        turns_of: Delete the turns and items of this scope and narrower ones, too.
    """
    with ledger.transaction():
        existing = set(ledger.records.existing(ids, expired=True))
        ids = [id for id in ids if id in existing]
        versions, texts = ledger.records.ever_said(ids)
        texts += ledger.examples.texts(ids)
        vectors = vector_samples(ledger.passages.vectors_of(ids[:_MOST]))
        weights = [
            ledger.modules.file(module.name, module.version)
            for module in ledger.modules.holding(ids)
            if module.version in module.versions
        ]
        modules, turns = remove(ledger, ids, backends)
        turn_texts: list[str] = []
        item_texts: list[str] = []
        if turns_of is not None:
            turn_texts = ledger.turns.delete(within=turns_of)
            item_texts = ledger.items.delete_within(turns_of)
            ledger.ttls.delete(within=turns_of)
    files = finish(ledger, backends)
    texts += [*turn_texts, *item_texts]
    return Erased(
        records=tuple(ids),
        versions=versions,
        turns=turns + len(turn_texts),
        modules=modules,
        files=tuple(files),
        samples=tuple(dict.fromkeys(piece for text in texts for piece in samples(text))),
        vectors=vectors,
        weights=tuple(weights),
        items=len(item_texts),
    )


def remove(
    ledger: Ledger, ids: Sequence[str], backends: Sequence[Backend]
) -> tuple[dict[str, tuple[str, ...]], int]:
    """Take records out of the ledger, and out of service every module that was trained on them.

    Their bytes stay in the files until `finish`.

    Returns:
        The names of the modules with the ids of their other records, and how many turns went.
    """
    deleted = set(ids)
    with ledger.transaction():
        modules = [module for module in ledger.modules.holding(ids) if module.active]
        others = {m.name: tuple(id for id in m.records if id not in deleted) for m in modules}
        for backend in backends:
            backend.delete(ids)
        # A memory that was opened without adapters may have some all the same.
        ledger.modules.drop_trained_on(ids, ledger.modules.drop)
        _, _, turns = ledger.records.delete(ids)
        ledger.jobs.end_forgotten()
        for path in _index_files(ledger):
            ledger.erasures.queue(path)
        ledger.log_event("forget", {"records": len(ids), "modules": sorted(others)})
    return others, turns


def finish(ledger: Ledger, backends: Sequence[Backend]) -> list[str]:
    """Destroy what deleted records and modules left behind; returns the destroyed files.

    Raises:
        DestructionPendingError: If it cannot be done now; `Engine.recover` and the next call of
            this then go on with it.
    """
    try:
        return _finish(ledger, backends)
    except StorageError as exc:
        raise DestructionPendingError(
            "what was forgotten is out of the memory and is found by nobody, but its last bytes "
            f"could not be destroyed: {exc.message}",
            f"{exc.hint} The next opening, `forget` or `retention.sweep()` goes on.".strip(),
        ) from exc


def _finish(ledger: Ledger, backends: Sequence[Backend]) -> list[str]:
    destroyed = ledger.erasures.pending()
    for backend in backends:
        backend.scrub()
    ledger.scrub()
    for path in ledger.erasures.pending():
        destroy(ledger, path)
        ledger.erasures.done(path)
    return destroyed + sweep_if_idle(ledger)


def sweep_if_idle(ledger: Ledger) -> list[str]:
    """`tidy`, unless a run is training: it has done so, and discards what is forgotten."""
    if ledger.shared:  # a run writes no file that nothing names
        return tidy(ledger)
    if not (ledger.directory / ADAPTERS).is_dir():
        return []
    try:
        with adapters_lock(ledger, timeout=0):
            return tidy(ledger)
    except BusyError:
        return []


def _index_files(ledger: Ledger) -> list[str]:
    """Files that may hold vectors or their means, relative to the memory."""
    folder = own_folder(ledger.directory / INDEX)
    names = [path.name for path in folder.glob("*.*") if path.is_symlink() or not path.is_dir()]
    return sorted(path for name in names if is_safe(path := f"{INDEX}/{name}"))
