"""Files that survive a crash: written beside their place, then moved into it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO


def temporary(path: Path) -> Path:
    """The path at which a file is written before it is moved to its own."""
    return path.with_name(path.name + ".tmp")


def replace_file(path: Path, parts: Sequence[bytes | memoryview]) -> None:
    """Write a file that is either replaced whole or left as it was.

    There is one temporary file beside it, so writers must take turns.
    """
    try:
        with temporary(path).open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        temporary(path).replace(path)
    except BaseException:
        temporary(path).unlink(missing_ok=True)  # on a full disk, the room it takes is needed
        raise


def files_below(directory: Path) -> list[Path]:
    """All files in a directory; another process may remove one before it is looked at."""
    return sorted(Path(folder, name) for folder, _, names in os.walk(directory) for name in names)


def open_plain(path: Path) -> BinaryIO:
    """Open a plain file of somebody else's to read it; what a link leads to counts.

    Raises:
        OSError: If it cannot be opened, or is something that need not end, such as a pipe.
    """
    # A pipe that nobody writes to would be waited for.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "expected a plain file, got a folder, pipe or device")
    return os.fdopen(handle, "rb")


def flush(path: Path) -> None:
    """Flush a file or directory, so that it is found after a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
