"""Files of the index: written beside their place, then moved into it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def temporary(path: Path) -> Path:
    """Where a file is written before it takes its place."""
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
