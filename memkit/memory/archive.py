"""Files of JSON lines under zstd that tell whether they are whole.

    line 1     what the file is, its version, and how many lines of each kind follow
    ...        one JSON object per line, each with its "kind"
    last line  {"kind": "end", "sha256": over the bytes of all lines before it}

Reading trusts nothing: all of it is checked, memory stays bounded whatever the file expands to,
and nothing but JSON is ever made of it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import zstandard

from memkit.errors import CorruptFileError, FormatVersionError, InvalidInputError, storage_errors
from memkit.files import file_draft, flush, open_plain
from memkit.types.validate import describe, in_normal_form

FORMAT = "memkit archive"
VERSION = 1

LONGEST = 2**26  # bytes in a line; texts and answers at their longest need half of it
_WINDOW = 2**27  # bytes that zstd may look back
# A block of zstd takes 4 bytes at least and gives 2^17 at most: so many bytes give 2^25 at most.
_CHUNK = 2**10
_MAGIC = b"\x28\xb5\x2f\xfd"  # how each zstd file begins (RFC 8878)

Entry = Mapping[str, Any]


def write_archive(path: Path, about: Entry, counts: Entry, entries: Iterable[Entry]) -> None:
    """Write a file; in the end it is there as a whole, or as it was before.

    Args:
        path: Is replaced if it exists.
        about: What the first line says besides.
        counts: How many entries of each kind there are.
        entries: As they come; each has a "kind".

    Raises:
        InvalidInputError: If an entry is too long to be read back.
        StorageError: If it cannot be written.
    """
    header = {"format": FORMAT, "version": VERSION, **about, "counts": dict(counts)}
    with storage_errors(path), file_draft(path) as draft:
        with draft.open("r+b") as file:
            compressor = zstandard.ZstdCompressor(write_checksum=True)
            with compressor.stream_writer(file, closefd=False) as out:
                digest = hashlib.sha256()
                for line in _encoded(header, entries):
                    digest.update(line)
                    out.write(line)
                out.write(_line({"kind": "end", "sha256": digest.hexdigest()}))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        flush(path.parent)


class Archive:
    """A file that `write_archive` has written, perhaps long ago and elsewhere.

    Args:
        path: The file.

    Attributes:
        header: Its first line.

    Raises:
        CorruptFileError: If it does not begin as such a file does.
        FormatVersionError: If a newer memkit wrote it.
        StorageError: If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = self._header()
        self._digest: str | None = None

    @property
    def total(self) -> int:
        """How many entries it says that it has."""
        return sum(self.header["counts"].values())

    def entries(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Give the entries with the numbers of their lines; one pass over the file.

        Only once all have come is the file known to be whole: whoever acts on them before that
        has to be able to undo it.

        Raises:
            CorruptFileError: If the file is damaged, cut off, or has changed since the last
                pass.
        """
        digest, counts = hashlib.sha256(), Counter[str]()
        ended = False
        for number, line in enumerate(self._lines(), start=1):
            if ended:
                self._refuse("there is more behind its last line")
            entry = self.header if number == 1 else self._parsed(line, number)
            kind = entry.get("kind", "")
            if not isinstance(kind, str):
                self._refuse(f"`kind` in line {number} must be a string, got {describe(kind)}")
            if kind == "end":
                self._check_end(entry, digest.hexdigest(), counts)
                ended = True
                continue
            digest.update(line)
            if number > 1:
                counts[kind] += 1
                if counts[kind] > self.header["counts"].get(kind, 0):
                    self._refuse(f"line {number} is more than it says that it has")
                yield number, entry
        if not ended:
            self._refuse("it is cut off")

    def _header(self) -> dict[str, Any]:
        header = self._parsed(next(self._lines(), b""), 1)
        if header.get("format") != FORMAT or type(header.get("version")) is not int:
            self._refuse("its first line is not that of an archive")
        if header["version"] < 1:
            self._refuse(f"`version` in line 1 must be at least 1, got {header['version']}")
        if header["version"] > VERSION:
            raise FormatVersionError(
                f"{str(self.path)!r} has version {header['version']} of the archive format, this "
                f"memkit reads up to {VERSION}",
                hint=f"it was written by memkit {header.get('memkit', 'of a later version')}: "
                "install that one or a newer one",
            )
        counts = header.get("counts")
        if not isinstance(counts, dict) or not all(
            type(count) is int and count >= 0 for count in counts.values()
        ):
            self._refuse("its first line does not say what follows")
        return header

    def _check_end(self, entry: Entry, digest: str, counts: Entry) -> None:
        counted = {kind: count for kind, count in self.header["counts"].items() if count}
        if entry.get("sha256") != digest or counts != counted:
            self._refuse("its checksum is wrong")
        if self._digest not in {None, digest}:
            self._refuse("it has changed while it was read")
        self._digest = digest

    def _lines(self) -> Iterator[bytes]:
        with storage_errors(self.path), open_plain(self.path) as file:
            try:
                yield from self._split(file)
            except zstandard.ZstdError as exc:
                raise self._corrupt(f"zstd cannot read it: {exc}") from exc

    def _split(self, file: BinaryIO) -> Iterator[bytes]:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise CorruptFileError(
                f"expected a whole archive of memkit in {str(self.path)!r}: it is no archive",
                hint="`memkit export` writes one; `memkit add --from` takes texts and chat logs",
            )
        file.seek(0)
        stream = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
        rest = bytearray()
        while not stream.eof and (chunk := file.read(_CHUNK)):
            part = stream.decompress(chunk)
            rest += part
            if b"\n" in part:
                *whole, rest = rest.split(b"\n")
                yield from (bytes(line) + b"\n" for line in whole)
            if len(rest) > LONGEST:
                self._refuse(f"it has a line of more than {LONGEST:,} bytes")
        if not stream.eof or rest:
            self._refuse("it is cut off")
        if stream.unused_data or file.read(1):
            self._refuse("there is more behind its last line")

    def _parsed(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            loaded = json.loads(line, parse_constant=_no_number, parse_float=_finite)
            entry = in_normal_form(loaded)
        except (ValueError, RecursionError) as exc:
            raise self._corrupt(f"line {number} is not JSON: {exc}") from exc
        if not isinstance(entry, dict):
            self._refuse(f"line {number} is not a JSON object")
        return entry

    def _refuse(self, why: str) -> NoReturn:
        raise self._corrupt(why)

    def _corrupt(self, why: str) -> CorruptFileError:
        return CorruptFileError(
            f"expected a whole archive of memkit in {str(self.path)!r}: {why}",
            hint="fetch or export it again",
        )


def _encoded(header: Entry, entries: Iterable[Entry]) -> Iterator[bytes]:
    yield _line(header)
    for entry in entries:
        line = _line(entry)
        if len(line) > LONGEST:
            raise InvalidInputError(
                f"expected entries of at most {LONGEST:,} bytes, the {entry['kind']} "
                f"{entry.get('id') or entry.get('key')!r} has {len(line):,}",
                hint="move part of its metadata into records of their own",
            )
        yield line


def _line(entry: Entry) -> bytes:
    text = json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode() + b"\n"


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits:.40} is too large for a number")
    return value
