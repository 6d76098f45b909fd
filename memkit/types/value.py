"""What all values have in common: they can be given as JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from datetime import datetime, timedelta
from numbers import Integral, Real
from os import PathLike, fspath
from typing import Any, ClassVar

# Control characters, those that end a line, and those that turn the direction of writing.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
WIDTH = 100  # characters of a text that a line for people shows


class Value:
    """Base class of the dataclasses that memkit's verbs return."""

    derived: ClassVar[tuple[str, ...]] = ()  # properties that `to_dict` gives beside the fields
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # each subclass is a dataclass

    def to_dict(self) -> dict[str, Any]:
        """Give all fields, nested values included, as JSON values.

        Times are ISO 8601 texts with their offset from UTC, durations are seconds, paths are
        texts. NaN and infinity become None, as JSON has neither.

        Raises:
            TypeError: If a field holds something else that JSON cannot express.
        """
        names = [field.name for field in fields(self)] + list(self.derived)
        return {name: _json_value(getattr(self, name)) for name in names}

    def to_json(self, indent: int | None = None) -> str:
        """Give `to_dict` as text, in a single line unless ``indent`` spaces per level are given."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, indent=indent)


def _json_value(value: object) -> object:
    """Turn a value of memkit into what `json` can write; see `Value.to_dict`."""
    match value:
        case Value():
            return value.to_dict()
        case Mapping():
            return {str(key): _json_value(child) for key, child in value.items()}
        case list() | tuple():
            return [_json_value(child) for child in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {field.name: _json_value(getattr(value, field.name)) for field in fields(value)}
        case _:
            return _scalar(value)


def _scalar(value: object) -> object:
    match value:
        case None | bool() | str():
            return value
        case Integral():  # NumPy's numbers are Integral and Real, too
            return int(value)
        case Real():
            return float(value) if math.isfinite(value) else None
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case PathLike():
            return fspath(value)
        case _:
            raise TypeError(f"expected a value that JSON can express, got {value!r}")


def shortened(text: str, width: int = WIDTH) -> str:
    """Give a text in one line of at most ``width`` characters, its end cut off if need be.

    Example:
        >>> shortened("The archive is on the second floor.", 20)
        'The archive is on t…'
    """
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Give a number with its noun; ``plural`` where an "s" at the end does not make it.

    Example:
        >>> counted(1, "record"), counted(2, "record"), counted(0, "memory", "memories")
        ('1 record', '2 records', '0 memories')
    """
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def printable(line: str) -> str:
    r"""Give a text as one line for people: what would leave it or rearrange it is spelled out.

    Example:
        >>> printable("a\nb")
        'a\\nb'
    """
    return _CONTROLS.sub(lambda match: ascii(match[0])[1:-1], line)
