"""How messages are put for a chat template that does not take them as they are.

Some templates have no place for a system message, some want user and assistant in turn, some
know no tools. What such a template leaves out or refuses goes into a user's message, where it
can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

JOINT = "\n\n"  # between texts that share a message

Roles = tuple[str, ...]


@dataclass(frozen=True)
class TemplateTurn:
    """One message for a template, of one or several texts; of none, it is empty.

    Attributes:
        role: Who speaks, to the template.
        texts: Which of the messages, each with what is to stand before it.
    """

    role: str
    texts: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Arrangement:
    """What a template can do, as it was found by trying.

    Attributes:
        single: It shows one message and no conversation.
        system: It shows a system message at the start.
        alternating: User and assistant have to take turns, and the user begins.
        strange: Roles that it does not show in the middle of a conversation.
    """

    single: bool = False
    system: bool = True
    alternating: bool = False
    strange: frozenset[str] = frozenset()

    @classmethod
    def of(cls, shows: Callable[[Roles], bool]) -> Arrangement:
        """Find out what a template can do.

        Args:
            shows: Whether it shows all of the messages of these roles, in one of its forms.
        """
        talk = ("user", "assistant", "user")
        if not shows(talk):
            return cls(single=True, system=shows(("system", "user")))
        system = shows(("system", "user")) and shows(("system", *talk))
        twice = ("user", "user"), ("user", "assistant", "assistant", "user"), ("assistant", "user")
        strange = {role for role in ("system", "tool") if not shows((*talk[:2], role, "user"))}
        return cls(False, system, not all(map(shows, twice)), frozenset(strange))

    def turns(self, roles: Sequence[str]) -> list[TemplateTurn]:
        """Put messages so that the template shows them; the last remains the last."""
        start = next((i for i, role in enumerate(roles) if role != "system"), len(roles))
        turns = [self._turn(role, place, head=place < start) for place, role in enumerate(roles)]
        if self.single and len(roles) - start > 1:
            said = [(f"{roles[i]}: ", i) for i in range(start, len(roles) - 1)]
            turns[start:] = [TemplateTurn("user", (*said, ("", len(roles) - 1)))]
        if not self.system and start:  # what the system says is read before what the user says
            texts = [text for turn in turns[:start] for text in turn.texts]
            head = TemplateTurn("user", tuple(texts))
            if turns[start:] and turns[start].role == "user":
                head = _joined(head, turns.pop(start))
            turns[:start] = [head]
        return _in_turn(turns) if self.alternating else turns

    def spelled(self, roles: Sequence[str]) -> frozenset[int]:
        """Which messages share one with others that have their role written before them.

        A line of theirs could pose as another such message; what the system says could not, as it
        is the caller's.
        """
        return frozenset(
            place
            for turn in self.turns(roles)
            if any(before for before, _ in turn.texts)
            for before, place in turn.texts
            if before or roles[place] != "system"
        )

    def _turn(self, role: str, place: int, *, head: bool) -> TemplateTurn:
        if head or role not in self.strange:
            return TemplateTurn(role, (("", place),))
        return TemplateTurn("user", ((f"{role}: ", place),))


def _in_turn(turns: Sequence[TemplateTurn]) -> list[TemplateTurn]:
    """Join what has the same role; an empty message of the user comes before an assistant's."""
    put: list[TemplateTurn] = []
    for turn in turns:
        if put and put[-1].role == turn.role:
            put[-1] = _joined(put[-1], turn)
        elif turn.role == "assistant" and (not put or put[-1].role == "system"):
            put += [TemplateTurn("user", ()), turn]
        else:
            put.append(turn)
    return put


def _joined(first: TemplateTurn, second: TemplateTurn) -> TemplateTurn:
    return TemplateTurn(second.role, first.texts + second.texts)
