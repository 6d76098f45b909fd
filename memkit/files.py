"""Files that survive a crash: written beside their place, then moved into it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


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


def flush(path: Path) -> None:
    """Flush a file or directory, so that it is found after a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
