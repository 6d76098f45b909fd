"""Looks into a file that SQLite has open in this process, without taking SQLite's locks away.

POSIX releases all locks that a process has on a file when the process closes any handle of it.
Without them, another process that closes the memory takes itself for its last user and removes
the log, and what is written into that afterwards is lost
(https://www.sqlite.org/howtocorrupt.html, section 2.2). So a handle is closed only with the
last connection to its file.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO


@dataclass
class _File:
    users: int = 0
    handle: BinaryIO | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)  # of the handle's position


_files: dict[str, _File] = {}
_lock = threading.Lock()


def enter(path: Path) -> None:
    """Note a connection, before it takes its first lock."""
    with _lock:
        _files.setdefault(os.path.realpath(path), _File()).users += 1


def leave(path: Path) -> None:
    """Note that a connection was closed."""
    name = os.path.realpath(path)
    with _lock:
        file = _files[name]
        file.users -= 1
        if not file.users:
            del _files[name]
            if file.handle is not None:
                file.handle.close()


def blocks(path: Path, size: int) -> Iterator[bytes]:
    """Read a file from its beginning, so many bytes at a time."""
    enter(path)
    try:
        offset = 0
        while block := _read(_files[os.path.realpath(path)], path, offset, size):
            yield block
            offset += len(block)
    finally:
        leave(path)


def _read(file: _File, path: Path, offset: int, size: int) -> bytes:
    with file.lock:
        if file.handle is None:
            file.handle = path.open("rb", buffering=0)
        file.handle.seek(offset)
        return file.handle.read(size)
