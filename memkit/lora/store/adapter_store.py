"""Where a memory's adapters are: in files of its directory, or on a server with copies here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any

from memkit.errors import BusyError, CorruptFileError
from memkit.ledger import Ledger, ModuleFile
from memkit.ledger.stored_paths import ADAPTERS, StoredPath
from memkit.lora.store import adapter_files, server_rows
from memkit.lora.store.row_file import Octets, RowFile


def stored(
    ledger: Ledger, kind: str, about: Mapping[str, Any], data: Octets
) -> AbstractContextManager[ModuleFile]:
    """Store an adapter, for the block to commit; nothing is left of it if the block does not.

    Args:
        ledger: Where the block commits it.
        kind: What adapters of one length and layers have in common, to begin a file's name.
        about: JSON values, for the header.
        data: The adapter.
    """
    if ledger.shared:
        return server_rows.stored(ledger, about, data)
    return adapter_files.stored(ledger, kind, about, data)


def faults(ledger: Ledger, files: Iterable[ModuleFile]) -> dict[str, str]:
    """What is wrong with weights, by path, as far as it shows without reading them."""
    if ledger.shared:
        return server_rows.faults(ledger, files)
    return adapter_files.faults(ledger.directory, files)


def digest(ledger: Ledger, file: ModuleFile) -> str:
    """The SHA-256 of some weights as they are stored.

    Raises:
        CorruptFileError: If they are missing or cut off.
    """
    if ledger.shared:
        return server_rows.digest_of(ledger, file)
    path = StoredPath.parse(file.path)
    data = RowFile.open(path.within(ledger.directory)).read(path.row or 0)
    return hashlib.sha256(data.data).hexdigest()


def may_be_left(ledger: Ledger, file: ModuleFile) -> bool:
    """Whether weights, which were to be destroyed, may still be there, in a copy here included.

    A file that is gone though the ledger names other rows of it proves nothing, so it counts.
    """
    path = StoredPath.parse(file.path)
    if ledger.shared:
        copy = path.within(ledger.directory).exists()
        return copy or file.path in ledger.weights.sizes()
    try:
        return digest(ledger, file) == file.digest
    except CorruptFileError:  # there is no such file, or no such row in it
        return path.file in {StoredPath.parse(each.path).file for each in ledger.modules.files()}


def tidy(ledger: Ledger) -> list[str]:
    """Destroy what is not needed any more or was left by a killed run; returns what that was.

    Call it under `memkit.ledger.engine.locks.adapters_lock`; a memory on a server needs no lock.
    """
    if not ledger.shared:
        return adapter_files.tidy(ledger)
    pending = [path for path in ledger.erasures.pending() if path.startswith(f"{ADAPTERS}/")]
    for path in pending:
        destroy(ledger, path)
        ledger.erasures.done(path)
    with suppress(BusyError):  # it stays pending
        ledger.scrub()
    return pending + server_rows.prune(ledger)


def destroy(ledger: Ledger, path: str) -> None:
    """Destroy what a path of the ledger names here: a row or a file, or the copy of weights."""
    if ledger.shared and path.startswith(f"{ADAPTERS}/"):
        server_rows.drop_copy(ledger, path)
    else:
        adapter_files.destroy(ledger.directory, path)
