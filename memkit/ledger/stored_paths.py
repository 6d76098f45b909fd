"""Paths of files as the ledger keeps them.

A ledger may come from anywhere, and what it names is overwritten and removed. So a path becomes
one of the file system's here and nowhere else: it names a file directly in one of the memory's own
folders, and neither of the two may be a link.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from memkit.errors import UnsafePathError
from memkit.files import own_folder, plain_file

ADAPTERS, INDEX = "adapters", "index"  # the folders, relative to the memory's directory
# Those of the index; `memkit.rag.vectors` writes them.
DENSE, CLUSTERS, LISTS = "dense.faiss", "clusters.head", re.compile(r"[0-9a-f]+\.lists")
_OF_INDEX = rf"{INDEX}/((dense\.faiss|clusters\.head)(\.tmp)?|{LISTS.pattern})"
_OF_ADAPTERS = rf"{ADAPTERS}/[A-Za-z0-9][A-Za-z0-9._-]*"
_FORM = re.compile(rf"(?P<file>{_OF_INDEX}|{_OF_ADAPTERS})(#(?P<row>[0-9]{{1,9}}))?")


@dataclass(frozen=True)
class StoredPath:
    """A file, relative to the memory's directory, and the row in it; None for the whole file."""

    file: str
    row: int | None

    @classmethod
    def parse(cls, path: str) -> Self:
        """Read a path of the ledger.

        Raises:
            UnsafePathError: If it names no file directly in one of the memory's folders.
        """
        match = _FORM.fullmatch(path)
        if match is None:
            raise UnsafePathError(
                f"expected a file below {ADAPTERS}/ or {INDEX}/, the ledger names {path!r}",
                "Nothing there was touched. `memkit check --repair` takes the path out of the "
                "ledger; open a memory of unknown origin only after a look at it.",
            )
        return cls(match["file"], int(match["row"]) if match["row"] else None)

    def within(self, directory: Path) -> Path:
        """Where the file is, if it is there.

        Raises:
            UnsafePathError: If the file or its folder is a link. Whoever writes to it looks at
                its other names (`memkit.files.own_file`).
        """
        path = directory / self.file
        own_folder(path.parent)
        return plain_file(path)


_SEPARATORS = frozenset("/\\:\0")  # what separates folders or ends a path, on whatever system


def is_folder_name(name: object) -> bool:
    """Whether a name, such as that of a module, can be that of a folder within another."""
    return (
        isinstance(name, str) and name not in {"", ".", ".."} and not _SEPARATORS.intersection(name)
    )


def folder_of(parent: Path, name: str) -> Path:
    """Where the folder is that has the name of a module.

    Raises:
        UnsafePathError: If the name would lead elsewhere.
    """
    if not is_folder_name(name):
        raise UnsafePathError(
            f"expected the name of a module to be that of a folder, got {name!r:.100}",
            "The memory was tampered with: restore a backup, or export without `adapters`.",
        )
    return parent / name


def is_safe(path: str) -> bool:
    """Whether a path of the ledger names a file of the memory."""
    return _FORM.fullmatch(path) is not None
