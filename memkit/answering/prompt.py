"""Puts evidence into a prompt text that keeps to a budget of tokens."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar, get_args

from memkit.errors import InvalidInputError
from memkit.text.quoting import label, quoted, without_control_tokens
from memkit.text.words import MONTHS
from memkit.types import Evidence, Hit, Role, Turn
from memkit.types.validate import check_characters, check_limit, check_part, shown

_LABEL = re.compile(r"^\[[^\]\n]*\] ")
_TOKEN = 16  # characters; a beginning with so many per token of room is counted before the whole
_TORN = 128  # tokens that a cut may add at most: tokenizers take no longer words apart

T = TypeVar("T")


@dataclass(frozen=True)
class PromptFormat:
    """How evidence is put before a question; adapters are bound to the format they learned behind.

    Attributes:
        opening: The system message where there is evidence and the caller gives no other. Without
            evidence the base model gets its own default message.
        evidence: What follows it; ``{evidence}`` stands for the facts and turns.
        facts: The line before the facts.
        turns: The line before the turns.

    Raises:
        InvalidInputError: If ``evidence`` has no place for the evidence.
    """

    opening: str = "You are a helpful assistant."
    evidence: str = " Here is what you know:\n\n{evidence}\n\nAnswer with the facts above."
    facts: str = "Facts:"
    turns: str = "Conversation so far:"

    def __post_init__(self) -> None:
        for name, text in vars(self).items():
            check_part(name, text, str, "a string")
            check_characters(name, text)
        if self.evidence.count("{evidence}") != 1:
            raise InvalidInputError(
                f"expected `evidence` to contain '{{evidence}}' once, got {shown(self.evidence)}"
            )

    @property
    def key(self) -> str:
        """Tells formats apart: 16 hexadecimal digits of a SHA-256 over the texts."""
        texts = json.dumps([self.opening, self.evidence, self.facts, self.turns])
        return hashlib.sha256(texts.encode()).hexdigest()[:16]

    def system_message(self, evidence: str, system: str | None = None) -> str | None:
        """What the base model is told beside the question; None for its default system message.

        Args:
            evidence: `Assembled.text`; may be empty.
            system: The caller's own system message; it takes the place of the usual opening.
        """
        if not evidence:
            return system
        return (system or self.opening) + self.evidence.replace("{evidence}", evidence)


@dataclass(frozen=True)
class Assembled:
    """Evidence as text.

    Attributes:
        text: Ready to be put into a prompt; empty if nothing fits.
        hits: The passages in it, best first.
        turns: The turns in it, oldest first.
        omitted: How many passages and turns did not fit.
    """

    text: str = ""
    hits: tuple[Hit, ...] = ()
    turns: tuple[Turn, ...] = ()
    tokens: int = 0
    omitted: int = 0


def assemble(
    evidence: Sequence[Evidence],
    *,
    budget: int,
    count: Callable[[str], int],
    prompt_format: PromptFormat,
    special_tokens: Iterable[str] = (),
) -> Assembled:
    """Choose passages and turns that fit, and write them down.

    Passages are taken best first, and one that does not fit whole gives way to smaller ones
    behind it. They are written best last, nearest to the question: small models answer from
    what they read last (docs/decisions/0003-evidence-in-the-prompt.md). Turns are taken newest
    first, without gaps. Half of the budget is the turns', the rest the passages'; room that the
    passages leave goes to older turns. The day (UTC) on which something was said and the name of
    who said it stand before it, where they are known.

    A passage is a line that begins with a dash, a turn one that begins with its role; what they
    say stays behind that, whatever it is (`memkit.text.quoting`).

    Args:
        evidence: What the backends contributed, turns oldest first; of several passages of a
            record the first counts. What is said in a turn is no fact besides, nor the other way
            round.
        budget: Most tokens that the text may take.
        count: Counts the tokens of a text, also of the whole in the end: what its pieces take
            does not always add up.
        prompt_format: How facts and turns are headed.
        special_tokens: Of the tokenizer; the text spells none of them.

    Raises:
        InvalidInputError: If ``budget`` is negative or not an integer.
    """
    check_limit("budget", budget, least=0)
    hits = Quoted().new([hit for part in evidence for hit in part.hits])
    turns = [turn for part in evidence for turn in part.turns]
    if not hits and not turns:
        return Assembled()
    draft = _Draft(count, prompt_format, tuple(special_tokens))
    older = draft.take_until_full(turns[::-1], limit=budget // 2)
    recent = draft.chosen(Turn)
    hits = Quoted(recent).new(hits)
    for hit in hits:
        draft.take(hit, limit=budget)
    facts = Quoted(draft.chosen(Hit))
    older = [turn for turn in older if not facts.has(turn)]
    draft.take_until_full(older, limit=budget)
    text, tokens = draft.fit(budget)
    omitted = len(recent) + len(hits) + len(older) - len(draft.pieces)
    hits_in, turns_in = draft.chosen(Hit), draft.chosen(Turn)
    return Assembled(text, tuple(hits_in), tuple(turns_in[::-1]), tokens, omitted)


class Quoted:
    """Tells what has been quoted already: the same record, or the same text of the same speaker.

    Where it is not known who speaks, it may be anybody. A record that was corrected says something
    else than the turn that it was made of: the turn does not quote it.
    """

    def __init__(self, items: Iterable[Hit | Turn] = ()) -> None:
        self._records: set[object] = set()
        self._speakers: dict[str, set[object]] = {}  # by what was said
        for item in items:
            self._note(item)

    def has(self, item: Hit | Turn) -> bool:
        """Whether this was quoted."""
        text, speaker = _origin(item)
        speakers = self._speakers.get(text, set())
        known = speaker in speakers or None in speakers or (speaker is None and bool(speakers))
        return known or not self._records.isdisjoint(_records(item))

    def new(self, hits: Iterable[Hit]) -> list[Hit]:
        """Take in hits; gives those that were not quoted before."""
        new = []
        for hit in hits:
            if not self.has(hit):
                new.append(hit)
                self._note(hit)
        return new

    def _note(self, item: Hit | Turn) -> None:
        text, speaker = _origin(item)
        self._records |= _records(item)
        self._speakers.setdefault(text, set()).add(speaker)


class _Draft:
    """What has been chosen so far, the most important first."""

    def __init__(
        self,
        count: Callable[[str], int],
        prompt_format: PromptFormat,
        special_tokens: tuple[str, ...],
    ) -> None:
        self._count = count
        self._format = prompt_format
        self._special_tokens = special_tokens
        self._spent = 0
        self._taken: set[type] = set()
        self.pieces: list[tuple[Hit | Turn, str, int]] = []  # with its line and its tokens

    def chosen(self, kind: type[T]) -> list[T]:
        """The chosen passages, best first, or the chosen turns, newest first."""
        return [item for item, _, _ in self.pieces if isinstance(item, kind)]

    def take(self, item: Hit | Turn, *, limit: int) -> bool:
        """Choose a passage or turn if the draft keeps to ``limit`` tokens with it."""
        if self._spent >= limit:
            return False
        if self._is_too_long(item, limit - self._spent):
            return False
        header = self._format.facts if isinstance(item, Hit) else f"\n\n{self._format.turns}"
        line = without_control_tokens(_line(item), self._special_tokens)
        cost = self._count(f"{'' if type(item) in self._taken else header}\n{line}")
        if self._spent + cost > limit:
            return False
        self._spent += cost
        self._taken.add(type(item))
        self.pieces.append((item, line, cost))
        return True

    def _is_too_long(self, item: Hit | Turn, room: int) -> bool:
        """Whether beginnings of a long item say that it cannot fit: they take twice the room.

        Twice, as a beginning may end within a token. So a text of megabytes is not read as a
        whole for every question, unless it may fit.
        """
        most = 2 * room + _TORN
        characters = _TOKEN * most
        while characters < len(_text(item)):
            line = without_control_tokens(_line(item, characters), self._special_tokens)
            if self._count(line) > most:
                return True
            characters *= 4
        return False

    def take_until_full(self, turns: Sequence[Turn], *, limit: int) -> Sequence[Turn]:
        """Choose turns in order up to the first that does not fit; returns those left over."""
        for place, turn in enumerate(turns):
            if not self.take(turn, limit=limit):
                return turns[place:]
        return []

    def fit(self, budget: int) -> tuple[str, int]:
        """Give up the least important until the text as a whole keeps to the budget."""
        while self.pieces:
            text = self._text()
            excess = self._count(text) - budget
            if excess <= 0:
                return text, budget + excess
            while self.pieces and excess > 0:
                excess -= self.pieces.pop()[2]
        return "", 0

    def _text(self) -> str:
        passages = [(item, line) for item, line, _ in self.pieces if isinstance(item, Hit)]
        # What is pinned is chosen first and yet written first: it need not be what was asked.
        passages.sort(key=lambda pair: pair[0].record.pinned)
        facts = [line for _, line in passages]
        turns = [line for item, line, _ in self.pieces if isinstance(item, Turn)]
        sections = [(self._format.facts, facts), (self._format.turns, turns)]
        return "\n\n".join("\n".join([title, *ls[::-1]]) for title, ls in sections if ls)


def without_label(text: str) -> str:
    """Take away what `assemble` has put before a text to say when it was said, and by whom."""
    return _LABEL.sub("", text, count=1)


def label_of(item: Hit | Turn) -> str:
    """When an item was said and by whom, as it stands before its text; empty if nobody knows."""
    if isinstance(item, Turn):
        return label(_day(item.said_at), item.name)
    said_at = item.record.at if item.order else item.record.said_at
    return label(_day(said_at), _speaker(item), item.order)


def _origin(item: Hit | Turn) -> tuple[str, object]:
    """The words of an item, and the name of who said them."""
    if isinstance(item, Turn):
        return _words(item.content), item.name
    return _words(item.text), _speaker(item)


def _records(item: Hit | Turn) -> set[object]:
    """The record of an item, as such and with its text: a turn only has the text it was made of."""
    if isinstance(item, Turn):
        return {(item.record_id, _words(item.content))} if item.record_id else set()
    return {item.id, (item.id, _words(item.record.text))}


def _words(text: str) -> str:
    return " ".join(text.split())


def _speaker(hit: Hit) -> object:
    about = hit.record.metadata
    return about.get("name") if about.get("role") in get_args(Role) else None  # of a turn


def _text(item: Hit | Turn) -> str:
    return item.content if isinstance(item, Turn) else item.text


def _line(item: Hit | Turn, characters: int | None = None) -> str:
    """How an item, or its beginning of so many characters, stands in the prompt."""
    mark = f"{item.role}:" if isinstance(item, Turn) else "-"
    source = label_of(item)
    return f"{mark} {source}{quoted(_text(item)[:characters], labelled=bool(source))}"


def _day(said_at: datetime | None) -> str | None:
    return f"{said_at.day} {MONTHS[said_at.month - 1]} {said_at.year}" if said_at else None
