"""The files in which a memory's adapters lie, and which of their rows are taken.

Every adapter version is one row of a file of its kind: same layers, rank and type. The ledger
names the row of each version as ``adapters/<file>#<row>``. A row that no version names and whose
destruction is not pending is free; it is all zeros.

Whoever writes holds `memkit.ledger.engine.locks.adapters_lock`. Whenever a process is killed, each
row that it leaves is either named by the ledger, queued there for destruction, noted there as
being written, or in a file of which the ledger names no row; `tidy` clears up the latter two.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from memkit.errors import CorruptFileError, StorageError, storage_errors
from memkit.files import make_folder, own_file, own_folder, plain_file
from memkit.ledger import Ledger, ModuleFile
from memkit.ledger.stored_paths import ADAPTERS as FOLDER
from memkit.ledger.stored_paths import StoredPath, is_safe
from memkit.lora.store.row_file import Octets, RowFile

SUFFIX = ".bank"
WRITING = "adapter_being_written"  # ledger meta: the row, or nothing
_FEW = 8  # free rows that are not worth a compaction
_BLOCK = 1 << 20  # bytes that are overwritten at once

logger = logging.getLogger(__name__)


@contextmanager
def stored(
    ledger: Ledger, kind: str, about: Mapping[str, Any], data: Octets
) -> Iterator[ModuleFile]:
    """Write an adapter to a free row, for the block to commit; it is wiped if it does not.

    ``kind`` is the first part of the file's name: adapters of one kind have one length.

    Raises:
        StorageError: If it cannot be written; `DiskFullError` and `ReadOnlyError` say why.
    """
    settle(ledger)
    file = _file_for(ledger, kind, data.nbytes, about)
    name = f"{FOLDER}/{file.path.name}"
    taken = _rows_of(name, _named(ledger) + ledger.erasures.pending())
    row = min(set(range(len(taken) + 1)) - taken)
    path = f"{name}#{row}"
    ledger.set_meta(WRITING, path)  # committed before the first byte is written
    try:
        file.write(row, data)
        yield ModuleFile(path, hashlib.sha256(data.data).hexdigest(), data.nbytes)
    finally:
        settle(ledger)


def faults(directory: Path, files: Iterable[ModuleFile]) -> dict[str, str]:
    """What is wrong with rows, by path, as far as it shows without reading them."""
    opened: dict[str, RowFile | str] = {}
    problems = {}
    for file in files:
        stored = StoredPath.parse(file.path)
        name, row = stored.file, stored.row
        if name not in opened:
            try:
                opened[name] = RowFile.open(stored.within(directory))
            except CorruptFileError as exc:
                opened[name] = exc.message
        rows = opened[name]
        if isinstance(rows, str):
            problems[file.path] = rows
        elif rows.row_bytes != file.size or row is None or not rows.holds(row):
            problems[file.path] = f"expected {file.size} bytes in {file.path}, the file ends before"
    return problems


def banks(directory: Path) -> list[str]:
    """The files of rows in a memory's directory, as the ledger names them; other files are not."""
    folder = directory / FOLDER
    present = sorted(folder.iterdir()) if own_folder(folder).is_dir() else []
    paths = [f"{FOLDER}/{path.name}" for path in present if path.suffix == SUFFIX]
    return [path for path in paths if is_safe(path) and not (directory / path).is_dir()]


def settle(ledger: Ledger) -> list[str]:
    """Wipe the row that was being written, unless it was committed; returns what was wiped."""
    path = ledger.get_meta(WRITING)
    if not path:
        return []
    lost = path not in _named(ledger)
    if lost:
        destroy(ledger.directory, path)
    ledger.set_meta(WRITING, "")
    return [path] * lost


def tidy(ledger: Ledger) -> list[str]:
    """Wipe what is not needed any more or was left by a killed run, and compact.

    Returns what was destroyed. Call it under `memkit.ledger.engine.locks.adapters_lock`, so that
    no run is between writing its row and committing it.
    """
    folder = own_folder(ledger.directory / FOLDER)
    if not folder.is_dir():
        return []
    wiped = settle(ledger)
    for path in wiped:
        logger.warning("wiped %s: no module names it", path)
    wiped += _destroy_pending(ledger)
    files = {StoredPath.parse(path).file for path in _named(ledger)}
    orphans = [path for path in banks(ledger.directory) if path not in files]
    for path in orphans:
        logger.warning("removing %s: no module names it", path)
        destroy(ledger.directory, path)
    for name in sorted(files):
        _compact(ledger, name)
    return wiped + orphans


def _named(ledger: Ledger) -> list[str]:
    """The rows that the ledger names, of active versions and of older ones."""
    return [file.path for file in ledger.modules.files()]


def _rows_of(name: str, paths: Iterable[str]) -> set[int]:
    """Those of the paths that are rows of a file, as their numbers."""
    stored = map(StoredPath.parse, paths)
    return {path.row for path in stored if path.file == name and path.row is not None}


def _file_for(ledger: Ledger, kind: str, row_bytes: int, about: Mapping[str, Any]) -> RowFile:
    """The newest file of a kind that can take rows; a new one if there is none."""
    folder = ledger.directory / FOLDER
    with storage_errors(folder):
        make_folder(folder)
    pending = ledger.erasures.pending()
    for generation in sorted(_generations(ledger, kind), reverse=True):
        name = _name(kind, generation)
        if f"{FOLDER}/{name}" in pending:
            continue
        with suppress(CorruptFileError):  # the modules in it are lost, which opening notices
            file = RowFile.open(plain_file(folder / name))
            if file.row_bytes == row_bytes:
                return file
    return RowFile.create(_new_path(ledger, kind), row_bytes, about)


def _new_path(ledger: Ledger, kind: str) -> Path:
    """A file of a kind that was not there before."""
    generation = max(_generations(ledger, kind), default=-1) + 1
    return ledger.directory / FOLDER / _name(kind, generation)


def _generations(ledger: Ledger, kind: str) -> set[int]:
    """Which files of a kind there are, or were until their destruction is done."""
    paths = banks(ledger.directory)
    paths += _named(ledger) + ledger.erasures.pending()
    pattern = re.compile(rf"{FOLDER}/{re.escape(kind)}(?:\.(\d+))?{re.escape(SUFFIX)}(?:#\d+)?")
    matches = filter(None, map(pattern.fullmatch, paths))
    return {int(match[1] or 0) for match in matches}


def _name(kind: str, generation: int) -> str:
    return f"{kind}.{generation}{SUFFIX}" if generation else f"{kind}{SUFFIX}"


def _kind(name: str) -> str:
    """Inverse of `_name`, of a path of the ledger."""
    return re.sub(rf"(\.\d+)?{re.escape(SUFFIX)}$", "", name.removeprefix(f"{FOLDER}/"))


def _compact(ledger: Ledger, name: str) -> None:
    """Move the rows of a file into a new one if most of it is free."""
    live = sorted(_rows_of(name, _named(ledger)))
    try:
        old = RowFile.open(StoredPath.parse(name).within(ledger.directory))
        free = len(old) - len(live)
        if free < _FEW or 2 * free <= len(old):
            return
        path = _new_path(ledger, _kind(name))
        _copy_rows(old, live, path)
    except StorageError as exc:  # no room, or a module is lost: which is noticed elsewhere
        logger.warning("%s is not compacted: %s", name, exc.message)
        return
    _switch(ledger, name, f"{FOLDER}/{path.name}", live)


def _copy_rows(old: RowFile, live: Sequence[int], path: Path) -> None:
    """Make a file of nothing but some rows of another one; all of it, or none is left."""
    try:
        new = RowFile.create(path, old.row_bytes, old.about)
        for place, row in enumerate(live):
            new.write(place, old.read(row))
    except StorageError:
        destroy_file(path)
        raise


def _switch(ledger: Ledger, old: str, new: str, live: Sequence[int]) -> None:
    """Name the rows of the new file instead of the old one's, which is destroyed."""
    doomed = [old]
    with ledger.transaction():
        for place, row in enumerate(live):
            if not ledger.modules.repoint(f"{old}#{row}", f"{new}#{place}"):
                doomed.append(f"{new}#{place}")  # forgotten while it was copied
        for path in doomed:
            ledger.erasures.queue(path)
    _destroy_pending(ledger)


def _destroy_pending(ledger: Ledger) -> list[str]:
    """Destroy the rows and files of adapters that are queued for it."""
    pending = [p for p in ledger.erasures.pending() if p.startswith(f"{FOLDER}/")]
    for path in pending:
        destroy(ledger.directory, path)
        ledger.erasures.done(path)
    return pending


def destroy(directory: Path, path: str) -> None:
    """Overwrite what a path of the ledger names: a row, or a file or folder, which is removed.

    A path that is destroyed already is no error: another process may finish the same erasure. On
    copy-on-write and flash storage old blocks may survive below the file system; nothing that
    runs on top of it can change that.
    """
    stored = StoredPath.parse(path)
    file = stored.within(directory)
    if stored.row is None or not file.exists():
        destroy_file(file)
        return
    try:
        RowFile.open(file).wipe(stored.row)
    except CorruptFileError:  # where the row begins is unknown, and so for all others in it
        destroy_file(file)


def destroy_file(path: Path) -> None:
    """Overwrite a file and remove it; see `own_file`."""
    with storage_errors(path), suppress(FileNotFoundError):
        with own_file(path).open("r+b") as file:
            size = path.stat().st_size
            for offset in range(0, size, _BLOCK):
                file.write(bytes(min(_BLOCK, size - offset)))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()


def destroy_folder(path: Path) -> None:
    """Destroy every file below a folder, and remove it; links are removed as such."""
    for child in own_folder(path).iterdir() if path.exists() else ():
        if child.is_symlink():
            child.unlink()
        elif child.is_dir():
            destroy_folder(child)
        else:
            destroy_file(child)
    with suppress(FileNotFoundError):
        path.rmdir()
