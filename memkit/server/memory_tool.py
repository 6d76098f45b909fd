"""Files under ``/memories`` for Anthropic's memory tool (``memory_20250818``), kept in a memory.

They are items of the ledger and no records. Two files may say the same, be empty, or move as a
folder, and all that a file ever said must be its own: records are stored once for each text, are
never blank, and are recalled and trained sentence by sentence. Like records, items are of a scope:
`Memory.forget` of the scope erases them, and `Memory.export` writes them.

Source:
    What the commands do and say follows Anthropic's documentation of the tool and the example for
    the local file system in their Python SDK, so that models read what they were trained to read.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from memkit.errors import InvalidInputError, NotFoundError
from memkit.ledger.items import NewItem
from memkit.memory.memory import Memory
from memkit.server.listing import listing, numbered
from memkit.types import Scope
from memkit.types.scope import scope_key
from memkit.types.validate import check_characters, check_scope, describe

ROOT = "/memories"
LONGEST_PATH = 1024  # characters below the root
LONGEST_FILE = 2_000_000  # characters
MOST_LINES = 999_999
AROUND = 2  # lines before and behind a change that are shown

_DIRECTORY: Mapping[str, Any] = {"directory": True}


class MemoryTool:
    """The commands of the memory tool, over the files of one scope.

    Each gives the text for the model. What a command cannot do is an error whose text is for the
    model as well; nothing is changed then. Threads and processes may use the same files.

    Args:
        memory: Open already.
        scope: Whose files these are; by default those that everybody shares. Other scopes, wider
            and narrower ones included, have files of their own.
    """

    def __init__(self, memory: Memory, scope: Scope | None = None) -> None:
        self._items = memory.items
        self._scope = check_scope({} if scope is None else scope)
        owner = hashlib.sha256(scope_key(self._scope).encode()).hexdigest()
        self._namespace = ("memory-tool", owner)

    def execute(self, command: Mapping[str, Any]) -> str:
        """Run a command as it comes in a ``tool_use`` block's ``input``.

        Raises:
            InvalidInputError: If there is no such command, or its arguments are others.
            NotFoundError: If a path does not exist.
        """
        arguments = dict(command)
        name = arguments.pop("command", None)
        expected = _ARGUMENTS.get(name) if isinstance(name, str) else None
        if expected is None:
            raise InvalidInputError(
                f"Unknown command: {name}. It should be one of {', '.join(_ARGUMENTS)}."
            )
        required, optional = expected
        missing = [key for key in required if key not in arguments]
        unknown = [key for key in arguments if key not in required and key not in optional]
        if missing or unknown:
            what = f"is missing {missing}" if missing else f"does not take {unknown}"
            raise InvalidInputError(f"The command {name} {what}.")
        text: str = getattr(self, str(name))(**arguments)
        return text

    def view(self, path: str, view_range: Sequence[int] | None = None) -> str:
        """Show a directory two levels deep, or the lines of a file with their numbers.

        Args:
            path: The directory or file.
            view_range: First and last line, from 1; -1 as the last for the end.
        """
        place = _place(path)
        text = self._file(place)
        if text is None:
            if not self._is_directory(place):
                raise NotFoundError(f"The path {path} does not exist. Please provide a valid path.")
            return listing(place, self._below(place))
        lines = text.split("\n")
        if len(lines) > MOST_LINES:
            raise InvalidInputError(
                f"File {path} exceeds maximum line limit of {MOST_LINES:,} lines."
            )
        first, last = _lines_asked(view_range, len(lines))
        shown = numbered(lines[first - 1 : last], first)
        return f"Here's the content of {path} with line numbers:\n{shown}"

    def create(self, path: str, file_text: str) -> str:
        """Make a file, and the directories above it; refused if there is something already."""
        place, text = _place(path), _text("file_text", file_text)
        with self._items.transaction():
            if self._exists(place):
                raise InvalidInputError(f"File {path} already exists")
            self._make_parents(place)
            self._write(place, text)
        return f"File created successfully at: {path}"

    def str_replace(self, path: str, old_str: str, new_str: str) -> str:
        """Replace a text that stands in a file exactly once."""
        place = _place(path)
        old, new = _text("old_str", old_str), _text("new_str", new_str)
        with self._items.transaction():
            text = self._editable(place, path)
            starts = _starts(text, old)
            if not starts:
                raise InvalidInputError(
                    f"No replacement was performed, old_str `{old_str}` did not appear verbatim "
                    f"in {path}."
                )
            if len(starts) > 1:
                lines = ", ".join(str(text.count("\n", 0, start) + 1) for start in starts)
                raise InvalidInputError(
                    f"No replacement was performed. Multiple occurrences of old_str `{old_str}` "
                    f"in lines: {lines}. Please ensure it is unique"
                )
            (start,) = starts
            changed = text[:start] + new + text[start + len(old) :]
            self._write(place, changed)
        first = max(1, text.count("\n", 0, start) + 1 - AROUND)
        last = text.count("\n", 0, start) + 1 + AROUND
        snippet = numbered(changed.split("\n")[first - 1 : last], first)
        return (
            "The memory file has been edited. Here is the snippet showing the change "
            f"(with line numbers):\n{snippet}"
        )

    def insert(self, path: str, insert_line: int, insert_text: str) -> str:
        """Insert lines behind the line of this number; 0 for the beginning of the file."""
        place, added = _place(path), _text("insert_text", insert_text)
        with self._items.transaction():
            text = self._editable(place, path)
            lines = text.split("\n")
            if not lines[-1]:
                lines.pop()
            if not _is_integer(insert_line) or not 0 <= insert_line <= len(lines):
                raise InvalidInputError(
                    f"Invalid `insert_line` parameter: {insert_line}. "
                    f"It should be within the range [0, {len(lines)}]."
                )
            lines.insert(insert_line, added.rstrip("\n"))
            self._write(place, "\n".join(lines).removesuffix("\n") + "\n")
        return f"The file {path} has been edited."

    def delete(self, path: str) -> str:
        """Delete a file, or a directory with all that is in it."""
        place = _place(path)
        if not place:
            raise InvalidInputError(f"Cannot delete the {ROOT} directory itself")
        with self._items.transaction():
            if not self._exists(place):
                raise NotFoundError(f"The path {path} does not exist")
            gone = [place, *self._below(place)]
            self._items.write([], [(self._namespace, key) for key in gone])
        return f"Successfully deleted {path}"

    def rename(self, old_path: str, new_path: str) -> str:
        """Move a file or a directory to a path where there is nothing yet."""
        old, new = _place(old_path), _place(new_path)
        if not old:
            raise InvalidInputError(f"Cannot rename the {ROOT} directory itself")
        with self._items.transaction():
            if self._exists(new):
                raise InvalidInputError(f"The destination {new_path} already exists")
            if not self._exists(old):
                raise NotFoundError(f"The path {old_path} does not exist")
            if new.startswith(f"{old}/"):
                raise InvalidInputError(f"Cannot move {old_path} into itself")
            self._make_parents(new)
            moved = {old: self._value(old)} | self._entries_below(old)
            self._items.write(
                [self._item(_fit(new + key.removeprefix(old)), v) for key, v in moved.items()],
                [(self._namespace, key) for key in moved],
            )
        return f"Successfully renamed {old_path} to {new_path}"

    def clear(self) -> str:
        """Delete all files of the scope."""
        with self._items.transaction():
            gone = [item.key for item in self._items.below(self._namespace)]
            self._items.write([], [(self._namespace, key) for key in gone])
        return "All memory cleared"

    # -- the files, by their paths below the root ------------------------------------------

    def _value(self, place: str) -> Mapping[str, Any] | None:
        if not place:
            return _DIRECTORY
        (item,) = self._items.get([(self._namespace, place)])
        return None if item is None else item.value

    def _exists(self, place: str) -> bool:
        return self._value(place) is not None

    def _is_directory(self, place: str) -> bool:
        value = self._value(place)
        return value is not None and "directory" in value

    def _file(self, place: str) -> str | None:
        value = self._value(place)
        return None if value is None else value.get("text")

    def _editable(self, place: str, path: str) -> str:
        """What is in a file.

        Raises:
            NotFoundError: If there is nothing.
            InvalidInputError: If it is a directory.
        """
        text = self._file(place)
        if text is not None:
            return text
        if self._exists(place):
            raise InvalidInputError(f"The path {path} is not a file.")
        raise NotFoundError(f"The path {path} does not exist. Please provide a valid path.")

    def _entries_below(self, place: str) -> dict[str, Mapping[str, Any]]:
        above = f"{place}/" if place else ""
        items = self._items.below(self._namespace)
        return {item.key: item.value for item in items if item.key.startswith(above)}

    def _below(self, place: str) -> dict[str, str | None]:
        """The texts of the files below a directory, by their paths; None for directories."""
        return {key: value.get("text") for key, value in self._entries_below(place).items()}

    def _make_parents(self, place: str) -> None:
        parts = place.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            parent = "/".join(parts[:depth])
            if not self._exists(parent):
                self._items.write([self._item(parent, _DIRECTORY)])
            elif not self._is_directory(parent):
                raise InvalidInputError(f"The path {ROOT}/{parent} is not a directory.")

    def _write(self, place: str, text: str) -> None:
        if len(text) > LONGEST_FILE:
            raise InvalidInputError(
                f"A file has at most {LONGEST_FILE:,} characters, this one would have {len(text):,}"
            )
        self._items.write([self._item(place, {"text": text})])

    def _item(self, place: str, value: Mapping[str, Any] | None) -> NewItem:
        return NewItem(self._namespace, place, value or {}, scope=self._scope)


# What commands take: required, then optional.
_ARGUMENTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "view": (("path",), ("view_range",)),
    "create": (("path", "file_text"), ()),
    "str_replace": (("path", "old_str", "new_str"), ()),
    "insert": (("path", "insert_line", "insert_text"), ()),
    "delete": (("path",), ()),
    "rename": (("old_path", "new_path"), ()),
}


def _place(path: object) -> str:
    """A path below the root, without blanks, dots and slashes to spare; empty for the root.

    Raises:
        InvalidInputError: If it leads elsewhere, or cannot be shown in a line.
    """
    if not isinstance(path, str) or not (path == ROOT or path.startswith(f"{ROOT}/")):
        raise InvalidInputError(f"Path must start with {ROOT}, got: {path}")
    if not path.isprintable():
        raise InvalidInputError(f"Path must not contain control characters, got: {path!r}")
    place = posixpath.normpath(path[len(ROOT) :].lstrip("/") or ".")
    if place == ".." or place.startswith("../"):
        raise InvalidInputError(f"Path {path} would escape {ROOT} directory")
    return "" if place == "." else _fit(check_characters("path", place))


def _fit(place: str) -> str:
    if len(place) > LONGEST_PATH:
        raise InvalidInputError(
            f"Path must have at most {LONGEST_PATH} characters below {ROOT}, got {len(place)}"
        )
    return place


def _text(name: str, text: object) -> str:
    """A text in normal form, as all texts in a memory are, so that what looks alike is alike."""
    if not isinstance(text, str):
        raise InvalidInputError(f"`{name}` must be a string, got {describe(text)}")
    return check_characters(name, text)


def _starts(text: str, part: str) -> list[int]:
    """Where a part begins in a text; overlapping places count."""
    starts = []
    start = text.find(part)
    while start >= 0:
        starts.append(start)
        start = text.find(part, start + 1)
    return starts


def _lines_asked(view_range: Sequence[int] | None, count: int) -> tuple[int, int]:
    """The first and the last line that are to be shown, from 1."""
    if view_range is None:
        return 1, count
    listed = isinstance(view_range, list | tuple) and len(view_range) == 2
    if not (listed and all(map(_is_integer, view_range)) and view_range[1] >= -1):
        raise InvalidInputError(
            f"Invalid `view_range` parameter: {view_range}. It should be the numbers of the first "
            "and the last line; -1 as the last shows all to the end."
        )
    first, last = view_range
    return max(1, first), count if last == -1 else last


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
