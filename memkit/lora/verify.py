"""Whether records are recalled from the weights, through the path that serves them.

Each question is routed, its prompt built, the routed mixture put in place and the answer
decoded greedily, as for a user. A record is held only if every question it was trained on
comes back exactly, and enough of its held-out wordings do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memkit.types import Example

BATCH = 16

Ask = Callable[[Sequence[Example]], list[str]]  # answers, in order


@dataclass(frozen=True)
class RecallResult:
    """How well one record comes back from the weights.

    Attributes:
        trained: Share of the trained questions answered exactly, canonical wordings only.
        reworded: Share of the held-out wordings answered exactly.
    """

    record_id: str
    trained: float
    reworded: float

    def passes(self, reworded_bar: float) -> bool:
        """Whether the record may be answered from the weights."""
        return self.trained == 1.0 and self.reworded >= reworded_bar


def verify(examples: Sequence[Example], ask: Ask) -> list[RecallResult]:
    """Ask for every record of a module and compare; in the order in which records come.

    Of the trained wordings of an answer only the first, the canonical one, is asked.
    """
    held_out = [e for e in examples if e.held_out and e.record_id is not None]
    questions = canonical(examples) + held_out
    answers = [
        answer
        for start in range(0, len(questions), BATCH)
        for answer in ask(questions[start : start + BATCH])
    ]
    hits: dict[str, tuple[list[bool], list[bool]]] = {}
    for example, answer in zip(questions, answers, strict=True):
        pair = hits.setdefault(example.record_id or "", ([], []))
        pair[example.held_out].append(same_answer(example.answer, answer))
    return [
        RecallResult(record_id, _share(trained), _share(reworded))
        for record_id, (trained, reworded) in hits.items()
    ]


def same_answer(expected: str, answer: str) -> bool:
    """Exact match up to case, blanks and punctuation at the ends."""
    return _normal(expected) == _normal(answer)


def _normal(text: str) -> str:
    words = " ".join(text.split()).casefold()
    return words.strip(" .,;:!?\"'“”‘’") or words  # a text of punctuation alone counts as it is


def canonical(examples: Sequence[Example]) -> list[Example]:
    """Of the trained wordings of each record's answers the first; guards are left out."""
    first: dict[tuple[str, str], Example] = {}
    for example in examples:
        if example.record_id is not None and not example.held_out:
            first.setdefault((example.record_id, example.answer), example)
    return list(first.values())


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits) if hits else 1.0
