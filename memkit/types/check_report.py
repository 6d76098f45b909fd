"""What a check of a memory's files reports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from memkit.errors import ConnectionLostError, MemkitError
from memkit.types.value import Value, counted

# A "problem" remains; one that was "repaired" does not; a "note" is about no problem.
State = Literal["sound", "problem", "repaired", "note"]


@dataclass(frozen=True)
class Finding(Value):
    """One result of a check: what was checked, in words, and its state."""

    state: State
    what: str

    def __str__(self) -> str:
        return f"{self.state:<9} {self.what}"


@dataclass
class CheckReport(Value):
    """The results of a check, added one by one while it runs."""

    derived = ("sound",)

    path: Path | str  # of a memory on a server its URL, without user and password
    repair: bool  # whether problems were to be repaired
    findings: list[Finding] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """What was wrong, repaired or not."""
        return [f.what for f in self.findings if f.state in {"problem", "repaired"}]

    @property
    def left(self) -> list[str]:
        """What is still wrong."""
        return [f.what for f in self.findings if f.state == "problem"]

    @property
    def sound(self) -> bool:
        """Whether nothing was wrong."""
        return not self.problems

    def __str__(self) -> str:
        repaired = len(self.problems) - len(self.left)
        outcome = f"{self.path}: {counted(len(self.problems), 'problem')}, {repaired} repaired"
        last = f"{self.path} is sound" if self.sound else outcome
        return "\n".join([*map(str, self.findings), last])

    def note(self, what: str) -> None:
        """Add a note."""
        self.findings.append(Finding("note", what))

    def problem(self, what: str, *, repaired: bool = False) -> None:
        """Add a problem, and whether it was repaired."""
        self.findings.append(Finding("repaired" if repaired else "problem", what))

    @contextmanager
    def surviving(self, what: str) -> Iterator[None]:
        """Add a problem if the block raises: a check goes on, whatever a damaged file holds."""
        try:
            yield
        except ConnectionLostError:  # which says nothing about what is stored
            raise
        except MemkitError as exc:
            self.problem(f"{what}: {exc.message}")
        except Exception as exc:  # noqa: BLE001 - its message may quote what users have written
            self.problem(f"{what}: cannot be read: {type(exc).__name__}")

    @contextmanager
    def looking_at(self, what: str) -> Iterator[None]:
        """Add that ``what`` is sound, unless the block adds a problem or raises memkit's error."""
        before = len(self.problems)
        with self.surviving(what):
            yield
        if len(self.problems) == before:
            self.findings.append(Finding("sound", what))
