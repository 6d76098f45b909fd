"""The public API is what it was at the last look: see `tests/public_api.py`."""

from dataclasses import dataclass
from difflib import unified_diff
from functools import wraps
from pathlib import Path
from typing import TypedDict

import public_api

LISTED = Path(__file__).with_name("public_api.txt")


class _Hidden:
    def inherited(self, name: str = "x") -> None: ...


@dataclass(frozen=True)
class Shown(_Hidden):
    size: int
    name: str | None = None

    @property
    def area(self) -> float:
        return 1.0

    @classmethod
    def of(cls, text: str) -> "Shown":
        return cls(len(text))

    @wraps(dict.get)
    def get(self): ...

    def _internal(self): ...


class Keywords(TypedDict, total=False):
    k: int


def sees(value: int, /, *, strict: bool = False) -> list[Shown]: ...


def test_the_api_is_the_listed_one():
    expected = LISTED.read_text(encoding="utf-8").splitlines()
    found = public_api.listing().splitlines()

    changes = "\n".join(unified_diff(expected, found, "listed", "found", n=1, lineterm=""))
    assert not changes, f"{changes}\n\nIf this is wanted: {public_api.__doc__.splitlines()[-1]}"


def test_signatures_are_written_as_they_are_in_the_source(monkeypatch):
    monkeypatch.setattr(public_api, "OURS", (__name__,))

    assert public_api.described("Shown", Shown) == [
        "class Shown(_Hidden)",
        "    __init__(size: int, name: str | None = None) -> None",
        "    area: float",
        "    inherited(name: str = 'x') -> None",
        "    of(text: str) -> Shown  [classmethod]",
        "    to await, as in Memory: get",
    ]
    assert public_api.described("Keywords", Keywords) == ["Keywords: keywords", "    k: int"]
    assert public_api.described("sees", sees) == [
        "sees(value: int, /, *, strict: bool = False) -> list[Shown]"
    ]
