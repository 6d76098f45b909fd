"""Erasure: what is forgotten leaves every place, and the receipt says what was checked.

The order makes it safe to be killed at any instant:

1. one ledger transaction deletes the records and every module whose weights contain them, and
   queues the modules' files for destruction; from here on nothing can be answered from them;
2. the index file and the ledger's own free pages and log are rewritten without them;
3. the queued files are overwritten and removed.

A crash after step 1 leaves work that the next opening finishes (`finish`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memkit.errors import BusyError
from memkit.ledger import Ledger
from memkit.ledger.locks import adapters_lock
from memkit.traces import samples
from memkit.types import Module, Scope

if TYPE_CHECKING:
    from memkit.rag.index import FactIndex

ADAPTERS = "adapters"  # directory of adapter files, relative to the memory's
INDEX_FILE = "index/dense.faiss"
_BLOCK = 1 << 20  # bytes that are overwritten at once

Drop = Callable[[str, int | None], None]  # a module's name, and a version or None for all

logger = logging.getLogger("memkit")


@dataclass(frozen=True)
class Erased:
    """What left the memory.

    Attributes:
        records: Ids of the erased records.
        versions: How many versions went.
        turns: How many turns went.
        modules: Names of the modules that went, with the ids of their other records.
        files: Files that were destroyed.
        samples: Pieces of their texts, which must not be found any more.
    """

    records: tuple[str, ...]
    versions: int
    turns: int
    modules: dict[str, tuple[str, ...]]
    files: tuple[str, ...]
    samples: tuple[str, ...]


def erase(
    ledger: Ledger,
    ids: Sequence[str],
    *,
    index: FactIndex | None,
    drop: Drop,
    turns_of: Scope | None = None,
) -> Erased:
    """Delete records, and every module that was trained on any version of them.

    Args:
        ledger: The memory's ledger.
        ids: The records; those that do not exist are left out of the result.
        index: Its index of facts, if there is one.
        drop: Deletes a module, or one version of it, from the ledger and from memory.
        turns_of: Delete the turns of this scope and narrower ones, too.
    """
    with ledger.transaction():
        here = set(ledger.records.existing(ids))
        ids = [id for id in ids if id in here]
        versions = [version for id in ids for version in ledger.records.history(id)]
        dropped = drop_trained_on(ledger, ids, drop)
        modules = {m.name: tuple(id for id in m.records if id not in here) for m in dropped}
        _, _, turns = ledger.records.delete(ids)
        if turns_of is not None:
            turns += ledger.turns.delete(within=turns_of)
        if (ledger.directory / INDEX_FILE).exists():
            ledger.erasures.queue(INDEX_FILE)
        ledger.log_event("forget", {"records": len(ids), "modules": sorted(modules)})
    files = finish(ledger, index)
    said = [text for v in versions for text in (v.text, v.question, v.answer) if text]
    pieces = dict.fromkeys(piece for text in said for piece in samples(text))
    return Erased(tuple(ids), len(versions), turns, modules, tuple(files), tuple(pieces))


def drop_trained_on(ledger: Ledger, ids: Sequence[str], drop: Drop) -> list[Module]:
    """Drop every version whose weights contain any text of these records.

    A module goes as a whole if its active version is among them; those modules are returned.
    """
    modules = [module for module in ledger.modules.holding(ids) if module.active]
    for module in modules:
        drop(module.name, None)
    for version in ledger.modules.holding(ids):  # of modules that stay
        drop(version.name, version.version)
    return modules


def finish(ledger: Ledger, index: FactIndex | None) -> list[str]:
    """Destroy what deleted records and modules left behind; returns the destroyed files."""
    if index is not None:
        index.scrub()
    ledger.scrub()
    destroyed = []
    for path in ledger.erasures.pending():
        if path != INDEX_FILE or index is None:  # the index has rewritten its own file
            destroy(ledger.directory / path)
        ledger.erasures.done(path)
        destroyed.append(path)
    return destroyed + sweep_if_idle(ledger)


def sweep_if_idle(ledger: Ledger) -> list[str]:
    """`sweep_orphans`, unless a run is training: it has swept, and discards what is forgotten."""
    if not (ledger.directory / ADAPTERS).is_dir():
        return []
    try:
        with adapters_lock(ledger.directory, timeout=0):
            return sweep_orphans(ledger)
    except BusyError:
        return []


def sweep_orphans(ledger: Ledger) -> list[str]:
    """Destroy adapter files that no module names: what a killed run left behind.

    To be called under `memkit.ledger.locks.adapters_lock`, so that no run is in between its
    file and its commit.
    """
    folder = ledger.directory / ADAPTERS
    if not folder.is_dir():
        return []
    named = {file.path for file in ledger.modules.files()}
    orphans = [p for p in sorted(folder.iterdir()) if f"{ADAPTERS}/{p.name}" not in named]
    for path in orphans:
        logger.warning("removing %s: no module names it", path.name)
        destroy(path)
    return [f"{ADAPTERS}/{path.name}" for path in orphans]


def destroy(path: Path) -> None:
    """Overwrite a file, or every file below a directory, and remove it.

    What is gone already is no error: another process may finish the same erasure. On
    copy-on-write and flash storage old blocks may survive below the file system; nothing that
    runs on top of it can change that.
    """
    with suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            for child in path.iterdir():
                destroy(child)
            path.rmdir()
        else:
            _overwrite(path)
            path.unlink()


def _overwrite(path: Path) -> None:
    if path.is_symlink():  # what it leads to is not the memory's
        return
    with path.open("r+b") as file:
        size = path.stat().st_size
        for offset in range(0, size, _BLOCK):
            file.write(bytes(min(_BLOCK, size - offset)))
        file.flush()
        os.fsync(file.fileno())
