"""What a check of a memory asks of its database, whichever it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Fault:
    """What is wrong with a part of the schema, and its right SQL if it has one."""

    kind: str
    name: str
    sql: str | None
    what: str


class Inspector(Protocol):
    """Looks at a schema and at what is derived from its tables, and makes it anew."""

    def schema_faults(self) -> list[Fault]:
        """What is missing, is not as this memkit makes it, or is made by somebody else."""

    def can_mend(self, fault: Fault) -> bool:
        """Whether a part can be made anew, or removed, without losing what was written."""

    def remake(self, fault: Fault) -> None:
        """Make a part of the schema anew, or remove it if it is not memkit's."""

    def broken_references(self) -> Counter[str]:
        """How many rows of each table refer to what is not there."""

    @property
    def has_metadata_index(self) -> bool:
        """Whether there is an index of metadata."""

    def words_are_sound(self) -> bool | None:
        """Whether the word index has the words of the passages; None if it cannot be looked at."""

    def rebuild_words(self) -> None:
        """Make the word index anew from the passages."""

    def counter_is_behind(self, table: str, column: str) -> bool:
        """Whether the next number of a table's key could be one that it has already."""

    def advance_counter(self, table: str, column: str) -> None:
        """Let a table's numbers go on behind those that it has."""
