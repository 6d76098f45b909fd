"""A rendered chat template with slots: placeholders go in, messages take their place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# Private-use characters, which no template holds; the blanks show whether it strips messages.
# They are em spaces: JSON, in which some templates write, leaves them alone.
BLANK = "\u2003"
PLACEHOLDER = f"{BLANK}\ue000{{}}\ue001{BLANK}"
OWN = re.compile("[\ue000\ue001]")
PLACED = re.compile(f"({BLANK}?)\ue000([0-9]+)\ue001({BLANK}?)")


@dataclass(frozen=True)
class Layout:
    """A rendered template with slots for the messages.

    Attributes:
        literals: The template's own text: before, between and after the slots.
        slots: Which message goes between two literals.
        strips: For each slot, whether the template strips blanks before and behind the message.
        last: Position in ``slots`` of the last message.
        spelled: Which messages have to keep to an indented block.
        lead: How many characters before that slot the last message begins.
    """

    literals: tuple[str, ...]
    slots: tuple[int, ...]
    strips: tuple[tuple[bool, bool], ...]
    last: int
    spelled: frozenset[int]
    lead: int

    def fill(self, contents: Sequence[str]) -> list[str]:
        """Alternate literals and contents, a literal first and last."""
        pieces = [self.literals[0]]
        slots = zip(self.slots, self.strips, self.literals[1:], strict=True)
        for slot, (before, behind), literal in slots:
            content = contents[slot].lstrip() if before else contents[slot]
            pieces += [content.rstrip() if behind else content, literal]
        return pieces


def placeholder(place: int) -> str:
    """What stands for a message while a template is rendered."""
    return PLACEHOLDER.format(place)


def layout_of(pieces: Sequence[str], last: int, spelled: frozenset[int], opening: str) -> Layout:
    """A layout of pieces: literal, blank, slot, blank, literal, blank, ..., literal.

    Args:
        pieces: What was rendered, split at the placeholders.
        last: Position of the slot of the message with which the question begins.
        spelled: Which messages have to keep to an indented block.
        opening: What the template writes before a user's message.
    """
    return Layout(
        literals=tuple(pieces[0::4]),
        slots=tuple(slots_of(pieces)),
        strips=tuple(
            (before != BLANK, after != BLANK)
            for before, after in zip(pieces[1::4], pieces[3::4], strict=True)
        ),
        last=last,
        spelled=spelled,
        lead=len(opening) if pieces[4 * last].endswith(opening) else 0,
    )


def slots_of(pieces: Sequence[str]) -> list[int]:
    """Which messages have the slots in pieces."""
    return list(map(int, pieces[2::4]))
