"""Flat files of equal rows: a header of one page, then rows that begin on page boundaries.

    offset 0     magic (8 bytes), version, length and CRC-32 of the JSON (4 bytes each, little
                 endian), JSON: the length of a row in bytes, and what the rows are about
    offset 4096  row 0, padded to a multiple of 4096 bytes
    ...

A row is written once, to a place that nobody reads, and never changes until it is wiped. Files
only grow: another process may have a row mapped into memory, and would be killed for touching
a page that is no longer there.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from memkit.errors import CorruptFileError, FormatVersionError, InvalidInputError, storage_errors
from memkit.files import flush, new_file, own_file

Octets = NDArray[np.uint8]

PAGE = 4096
VERSION = 1
_MAGIC = b"memkrows"
_HEAD = struct.Struct("<8sIII")
_LONGEST = 1 << 48  # bytes of a row; no offset of a row then overflows
_BLOCK = 1 << 20  # bytes that are overwritten at once


@dataclass(frozen=True)
class RowFile:
    """One file of rows; make it with `create` or `open`. ``about`` are JSON values."""

    path: Path
    row_bytes: int
    about: Mapping[str, Any]

    @classmethod
    def create(cls, path: Path, row_bytes: int, about: Mapping[str, Any]) -> Self:
        """Make a file without rows and flush it; the directory must exist.

        Raises:
            InvalidInputError: If ``about`` does not fit into the header.
            StorageError: If it cannot be written, or is there already.
        """
        page = head(row_bytes, about)
        with storage_errors(path):
            with new_file(path) as file:
                file.write(page)
                file.flush()
                os.fsync(file.fileno())
            flush(path.parent)
        return cls(path, row_bytes, about)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a file's header.

        Raises:
            CorruptFileError: If there is no such file, or its header is damaged.
            FormatVersionError: If a newer memkit wrote it.
        """
        with storage_errors(path):
            try:
                with path.open("rb") as file:
                    page = file.read(PAGE)
            except FileNotFoundError as exc:
                raise CorruptFileError(f"expected a file of rows at {path}, found none") from exc
        return cls(path, *_parse(page, path))

    @property
    def stride(self) -> int:
        """Bytes from one row to the next."""
        return -(-self.row_bytes // PAGE) * PAGE

    def __len__(self) -> int:
        """How many rows there is room for, the last one perhaps cut off."""
        return max(0, -(-(self._size() - PAGE) // self.stride))

    def holds(self, row: int) -> bool:
        """Whether the file is long enough for a row."""
        return row >= 0 and self._offset(row) + self.row_bytes <= self._size()

    def read(self, row: int) -> Octets:
        """Map a row into memory, nothing is copied; changes to it stay in this process.

        Raises:
            CorruptFileError: If the file ends before the row does.
        """
        if not self.holds(row):
            raise CorruptFileError(
                f"expected {self.row_bytes} bytes in row {row} of {self.path}, "
                f"the file ends after {self._size()}"
            )
        with storage_errors(self.path):
            # "c": torch warns of arrays that cannot be written to
            return np.memmap(self.path, np.uint8, "c", self._offset(row), (self.row_bytes,))

    def write(self, row: int, data: Octets) -> None:
        """Write a row and flush it.

        Raises:
            InvalidInputError: If ``data`` has another length than the rows.
            StorageError: If it cannot be written; part of it may have been.
        """
        if data.nbytes != self.row_bytes:
            raise InvalidInputError(
                f"expected {self.row_bytes} bytes for a row of {self.path}, got {data.nbytes}"
            )
        with self._opened() as handle:
            rest, offset = data.data, self._offset(row)
            while rest:
                written = os.pwrite(handle, rest, offset)
                rest, offset = rest[written:], offset + written
            os.fsync(handle)

    def wipe(self, row: int) -> None:
        """Overwrite what there is of a row with zeros and flush it."""
        with self._opened() as handle:
            offset = self._offset(row)
            end = min(offset + self.stride, self._size())
            while offset < end:
                offset += os.pwrite(handle, bytes(min(_BLOCK, end - offset)), offset)
            os.fsync(handle)

    def _offset(self, row: int) -> int:
        return PAGE + row * self.stride

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    @contextmanager
    def _opened(self) -> Iterator[int]:
        with storage_errors(self.path):
            handle = os.open(own_file(self.path), os.O_RDWR | os.O_NOFOLLOW)
            try:
                yield handle
            finally:
                os.close(handle)


def head(row_bytes: int, about: Mapping[str, Any]) -> bytes:
    """The page with which a file of rows begins.

    Raises:
        InvalidInputError: If ``about`` does not fit into it.
    """
    content = json.dumps({"row_bytes": row_bytes, "about": dict(about)}).encode()
    if _HEAD.size + len(content) > PAGE:
        raise InvalidInputError(
            f"`about` must fit into {PAGE - _HEAD.size} bytes of JSON, got {len(content)}"
        )
    start = _HEAD.pack(_MAGIC, VERSION, len(content), zlib.crc32(content))
    return (start + content).ljust(PAGE, b"\0")


def _parse(page: bytes, path: Path) -> tuple[int, Mapping[str, Any]]:
    """``row_bytes`` and ``about`` of a header."""
    magic, version, length, checksum = _HEAD.unpack(page.ljust(_HEAD.size, b"\0")[: _HEAD.size])
    content = page[_HEAD.size : _HEAD.size + length]
    if magic == _MAGIC and version > VERSION:
        raise FormatVersionError(
            f"expected version {VERSION} or lower in {path}, got {version}",
            hint="open the memory with the memkit that wrote it, or a newer one",
        )
    if magic != _MAGIC or len(page) < PAGE or zlib.crc32(content) != checksum:
        raise CorruptFileError(f"expected the header of a file of rows in {path}, it is damaged")
    try:
        header = json.loads(content)
        row_bytes, about = header["row_bytes"], header["about"]
    except (ValueError, LookupError, TypeError, RecursionError) as exc:
        raise _senseless(path) from exc
    if type(row_bytes) is not int or not 0 < row_bytes <= _LONGEST or not isinstance(about, dict):
        raise _senseless(path)
    return row_bytes, about


def _senseless(path: Path) -> CorruptFileError:
    return CorruptFileError(
        f"expected a file of rows, the header of {path} has the length of no row",
        "Restore a backup, or let `memkit check --repair` take these weights out of service.",
    )
