"""Where memkit's index files are, and who may write them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import Timeout

from memkit.errors import BusyError, storage_errors
from memkit.files import file_lock, make_folder, temporary
from memkit.ledger.stored_paths import DENSE, INDEX
from memkit.rag.vectors.ivf_files import IvfFiles

FILE = Path(INDEX, DENSE)
LOCK_TIMEOUT = 30.0  # seconds; another process holds the lock for one write of the file


@contextmanager
def hold_files(path: Path) -> Iterator[None]:
    """Be the only one who writes the index files; ``path`` is `FILE` in the memory's folder.

    Raises:
        BusyError: If another process holds them for too long.
        StorageError: If they cannot be written.
    """
    with storage_errors(path):
        make_folder(path.parent)
        lock = file_lock(path.with_suffix(".lock"), LOCK_TIMEOUT)
        try:
            lock.acquire()
        except Timeout as exc:
            raise BusyError(
                f"another process has held {lock.lock_file} for {LOCK_TIMEOUT:g} s"
            ) from exc
    try:
        yield
    finally:
        lock.release()


def discard_files(path: Path) -> tuple[str, ...]:
    """Remove the index files, which can be made again; returns those that were there.

    Call it inside of `hold_files`.
    """
    with storage_errors(path):
        present = [file for file in (path, temporary(path)) if file.exists() and not file.is_dir()]
        lists = sorted(path.parent.glob("*.lists"))
        for file in present:
            file.unlink()
    IvfFiles(path.parent).discard()
    return tuple(f"{path.parent.name}/{file.name}" for file in [*present, *lists])
