"""Adapters of a memory on a server: in its tables, with copies on the disk of each machine.

A version's weights are a file of one row (`memkit.lora.store.row_file`), stored in pieces by the
transaction that commits the version. The ledger names them ``adapters/<SHA-256>.bank#<n>``; ``n``
tells versions with the same weights apart. A machine that needs them keeps a copy as
``adapters/<SHA-256>.bank`` in its folder, until the ledger names those weights no more.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from memkit.errors import CorruptFileError, StorageError, storage_errors
from memkit.files import file_draft, make_folder, own_folder, remove_abandoned
from memkit.ledger import Ledger, ModuleFile
from memkit.ledger.stored_paths import ADAPTERS as FOLDER
from memkit.ledger.stored_paths import StoredPath
from memkit.lora.store.adapter_files import SUFFIX, banks, destroy_file
from memkit.lora.store.row_file import PAGE, Octets, RowFile, head

_PIECE = 8 << 20  # bytes that a statement carries

logger = logging.getLogger(__name__)


@contextmanager
def stored(ledger: Ledger, about: Mapping[str, Any], data: Octets) -> Iterator[ModuleFile]:
    """Store an adapter in the transaction in which the block commits it.

    Raises:
        StorageError: If it cannot be stored, or the lock for training was lost meanwhile.
    """
    digest = hashlib.sha256(data.data).hexdigest()
    with ledger.transaction():
        ledger.check_locks()
        taken = {*_named(ledger), *ledger.erasures.pending()}
        names = (f"{FOLDER}/{digest}{SUFFIX}#{number}" for number in count())
        path = next(name for name in names if name not in taken)
        ledger.weights.put(path, _pieces(head(data.nbytes, about), data))
        yield ModuleFile(path, digest, data.nbytes)


def copied(ledger: Ledger, file: ModuleFile) -> RowFile:
    """Give this machine's copy of some weights, which are its row 0; it is made if need be.

    Raises:
        CorruptFileError: If the server does not have them, or has others.
        StorageError: If the copy cannot be written.
    """
    path = StoredPath.parse(file.path).within(ledger.directory)
    if not path.exists():
        prune(ledger)
        with storage_errors(path):
            make_folder(path.parent)
            with file_draft(path) as draft:
                _read_into(draft, ledger, file)
                draft.replace(path)
        if file.path not in _named(ledger):  # who let go of it has looked for copies before
            destroy_file(path)
    return RowFile.open(path)


def faults(ledger: Ledger, files: Iterable[ModuleFile]) -> dict[str, str]:
    """What is wrong with weights, by path, as far as their lengths show."""
    sizes = ledger.weights.sizes()
    problems = {}
    for file in files:
        found, right = sizes.get(file.path, 0), PAGE + file.size
        if found != right:
            problems[file.path] = f"expected {right} bytes in {file.path}, the server has {found}"
    return problems


def digest_of(ledger: Ledger, file: ModuleFile) -> str:
    """The SHA-256 of some weights as the server has them.

    Raises:
        CorruptFileError: If it has none.
    """
    digest = hashlib.sha256()
    first = -1
    for first, piece in enumerate(ledger.weights.pieces(file.path)):
        if first:  # the first piece is the header
            digest.update(piece)
    if first < 0:
        raise CorruptFileError(f"expected weights at {file.path}, the server has none")
    return digest.hexdigest()


def is_damaged_copy(ledger: Ledger, file: ModuleFile) -> bool:
    """Whether this machine has a copy of some weights, and it is another than what is stored."""
    path = StoredPath.parse(file.path).within(ledger.directory)
    if not path.exists():
        return False
    try:
        return hashlib.sha256(RowFile.open(path).read(0).data).hexdigest() != file.digest
    except CorruptFileError:
        return True


def destroy_copy(ledger: Ledger, file: ModuleFile) -> None:
    """Destroy this machine's copy of some weights; it is made again when they are needed."""
    destroy_file(StoredPath.parse(file.path).within(ledger.directory))


def drop_copy(ledger: Ledger, path: str) -> None:
    """Destroy this machine's copy of some weights, unless another version has the same."""
    stored = StoredPath.parse(path)
    if stored.file not in {StoredPath.parse(name).file for name in _named(ledger)}:
        destroy_file(stored.within(ledger.directory))


def prune(ledger: Ledger) -> list[str]:
    """Destroy copies of what the ledger names no more; returns which."""
    folder = own_folder(ledger.directory / FOLDER)
    if not folder.is_dir():
        return []
    remove_abandoned(folder)
    copies = banks(ledger.directory)
    named = {StoredPath.parse(path).file for path in _named(ledger)}  # read after the folder was
    strays = [path for path in copies if path not in named]
    for path in strays:
        destroy_file(ledger.directory / path)
    return strays


def let_go(ledger: Ledger) -> None:
    """As `prune`, when the memory is closed: another machine may have forgotten what is here."""
    try:
        prune(ledger)
    except StorageError as exc:
        logger.warning("copies of weights stay until the next opening: %s", exc.message)


def _named(ledger: Ledger) -> list[str]:
    return [file.path for file in ledger.modules.files()]


def _pieces(first: bytes, data: Octets) -> Iterator[bytes]:
    """A file's header and its row, in pieces."""
    yield first
    for start in range(0, data.nbytes, _PIECE):
        yield data[start : start + _PIECE].tobytes()


def _read_into(draft: Path, ledger: Ledger, file: ModuleFile) -> None:
    """Write what the server has into an empty file, and compare the checksum."""
    with draft.open("wb") as copy:
        for piece in ledger.weights.pieces(file.path):
            copy.write(piece)
    digest = hashlib.sha256(RowFile.open(draft).read(0).data).hexdigest()
    if digest != file.digest:
        raise CorruptFileError(
            f"expected SHA-256 {file.digest[:12]}… for {file.path}, the server has {digest[:12]}…"
        )
