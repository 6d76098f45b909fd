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
import mmap
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memkit.ledger import Ledger
from memkit.types import Scope

if TYPE_CHECKING:
    from memkit.rag.index import FactIndex

ADAPTERS = "adapters"  # directory of adapter files, relative to the memory's
INDEX_FILE = "index/dense.faiss"
_BLOCK = 1 << 20

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
        texts: What must not be found any more.
    """

    records: tuple[str, ...]
    versions: int
    turns: int
    modules: dict[str, tuple[str, ...]]
    files: tuple[str, ...]
    texts: tuple[str, ...]


def erase(
    ledger: Ledger,
    ids: Sequence[str],
    *,
    index: FactIndex | None,
    drop: Callable[[str], None],
    turns_of: Scope | None = None,
) -> Erased:
    """Delete records, and every module that was trained on any version of them.

    Args:
        ledger: The memory's ledger.
        ids: The records; those that do not exist are left out of the result.
        index: Its index of facts, if there is one.
        drop: Deletes a module from the ledger and from memory.
        turns_of: Delete the turns of this scope and narrower ones, too.
    """
    with ledger.transaction():
        texts = [v.text for record_id in ids for v in ledger.records.history(record_id)]
        modules = {}
        for module in ledger.modules.holding(ids):
            modules[module.name] = tuple(id for id in module.records if id not in set(ids))
            drop(module.name)
        _, versions, turns = ledger.records.delete(ids)
        if turns_of is not None:
            turns += ledger.turns.delete(within=turns_of)
        if (ledger.directory / INDEX_FILE).exists():
            ledger.erasures.queue(INDEX_FILE)
        ledger.log_event("forget", {"records": len(ids), "modules": sorted(modules)})
    files = finish(ledger, index)
    return Erased(tuple(ids), versions, turns, modules, tuple(files), tuple(texts))


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
    return destroyed


def sweep_orphans(ledger: Ledger) -> list[str]:
    """Destroy adapter files that no module names: what a killed run left behind.

    To be called under `memkit.ledger.locks.adapters_lock`, so that no run is in between its
    file and its commit.
    """
    folder = ledger.directory / ADAPTERS
    if not folder.is_dir():
        return []
    named = {ledger.modules.file(module.name).path for module in ledger.modules.active()}
    orphans = [p for p in sorted(folder.iterdir()) if f"{ADAPTERS}/{p.name}" not in named]
    for path in orphans:
        logger.warning("removing %s: no module names it", path.name)
        destroy(path)
    return [f"{ADAPTERS}/{path.name}" for path in orphans]


def destroy(path: Path) -> None:
    """Overwrite a file, or every file below a directory, and remove it.

    On copy-on-write and flash storage old blocks may survive below the file system; nothing
    that runs on top of it can change that.
    """
    if path.is_dir():
        for child in path.iterdir():
            destroy(child)
        path.rmdir()
    elif path.exists():
        with path.open("r+b") as file:
            for offset in range(0, path.stat().st_size, _BLOCK):
                file.write(bytes(min(_BLOCK, path.stat().st_size - offset)))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()


def found_in_files(directory: Path, texts: Iterable[str]) -> list[str]:
    """Files below a directory that contain any of the texts, in UTF-8 or UTF-16."""
    needles = [text.encode(code) for text in texts for code in ("utf-8", "utf-16-le", "utf-16-be")]
    return [
        str(path.relative_to(directory))
        for path in sorted(directory.rglob("*"))
        if path.is_file() and _contains(path, needles)
    ]


def _contains(path: Path, needles: Sequence[bytes]) -> bool:
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return any(data.find(needle) >= 0 for needle in needles)
