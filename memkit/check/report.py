"""What a check has found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from memkit.errors import MemkitError

State = Literal["sound", "problem", "repaired", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, or was found.

    Attributes:
        state: "sound", a "problem" that is still there, one that was "repaired", or a "note" of
            what is as it may be.
        what: In words.
    """

    state: State
    what: str

    def __str__(self) -> str:
        return f"{self.state:<9} {self.what}"


@dataclass
class CheckReport:
    """What `memkit.check.check` has done, line by line; print it.

    Attributes:
        path: The memory's directory.
        repair: Whether it was to be repaired.
        findings: In the order in which things were looked at.
    """

    path: Path
    repair: bool
    findings: list[Finding] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """What was wrong, repaired by now or not."""
        return [one.what for one in self.findings if one.state in {"problem", "repaired"}]

    @property
    def left(self) -> list[str]:
        """What is still wrong."""
        return [one.what for one in self.findings if one.state == "problem"]

    @property
    def sound(self) -> bool:
        """Whether nothing was wrong."""
        return not self.problems

    def __str__(self) -> str:
        lines = [str(one) for one in self.findings]
        if self.sound:
            return "\n".join([*lines, f"{self.path} is sound"])
        mended = len(self.problems) - len(self.left)
        return "\n".join([*lines, f"{self.path}: {len(self.problems)} problems, {mended} repaired"])

    def note(self, what: str) -> None:
        """Say something that is no problem."""
        self.findings.append(Finding("note", what))

    def problem(self, what: str, *, repaired: bool = False) -> None:
        """Say what is wrong, and whether it still is."""
        self.findings.append(Finding("repaired" if repaired else "problem", what))

    @contextmanager
    def looking_at(self, what: str) -> Iterator[None]:
        """Say that something is sound, unless the block says otherwise or cannot look at it."""
        before = len(self.problems)
        try:
            yield
        except MemkitError as exc:
            self.problem(f"{what}: {exc.message}")
        if len(self.problems) == before:
            self.findings.append(Finding("sound", what))
