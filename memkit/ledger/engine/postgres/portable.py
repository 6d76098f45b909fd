"""Reads the statements of the tables as PostgreSQL has them; see `memkit.ledger.engine.dialect`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from memkit.ledger.engine.dialect import CLOSE, INSTEAD_OF, OPEN

_TOKENS = re.compile(
    rf"{re.escape(OPEN)}(?P<form>.*?){re.escape(INSTEAD_OF)}|(?P<close>{re.escape(CLOSE)})|\?|%",
    re.DOTALL,
)
_IN_FORM = re.compile(r"\?(now|\d+)|%")
_CLOCK = -1


@dataclass(frozen=True)
class Statement:
    """A statement with psycopg's placeholders, and which parameter each of them stands for."""

    sql: str
    slots: tuple[int, ...]  # places of parameters; -1 is the ledger's clock
    asks_time: bool

    def values(self, parameters: Sequence[object], now: float) -> list[object]:
        """What the placeholders stand for, in their order."""
        return [now if place == _CLOCK else parameters[place] for place in self.slots]


@lru_cache(maxsize=2048)
def portable(sql: str) -> Statement:
    """Take PostgreSQL's form wherever a statement has both.

    Raises:
        ValueError: If a form is not closed.
    """
    reader = _Reader()
    end = 0
    for token in _TOKENS.finditer(sql):
        reader.text(sql[end : token.start()])
        end = token.end()
        if token["form"] is not None:
            reader.open(token["form"])
        elif token["close"]:
            reader.close()
        elif token[0] == "?":
            reader.parameter()
        else:
            reader.text("%%")
    reader.text(sql[end:])
    if reader.depth:
        raise ValueError(f"a form of SQL is not closed: {sql}")
    return Statement("".join(reader.sql), tuple(reader.slots), _CLOCK in reader.slots)


class _Reader:
    """What was read so far; of SQLite's forms only how many parameters they take."""

    def __init__(self) -> None:
        self.sql: list[str] = []
        self.slots: list[int] = []
        self.depth = 0  # of forms in forms
        self._parameters = 0
        self._form, self._first = "", 0

    def text(self, text: str) -> None:
        if not self.depth:
            self.sql.append(text)

    def parameter(self) -> None:
        if not self.depth:
            self.sql.append("%s")
            self.slots.append(self._parameters)
        self._parameters += 1

    def open(self, form: str) -> None:
        if not self.depth:
            self._form, self._first = form, self._parameters
        self.depth += 1

    def close(self) -> None:
        self.depth -= 1
        if not self.depth:
            self.sql.append(_IN_FORM.sub(self._placeholder, self._form))

    def _placeholder(self, match: re.Match[str]) -> str:
        if match[0] == "%":
            return "%%"
        self.slots.append(_CLOCK if match[1] == "now" else self._first + int(match[1]))
        return "%s"
