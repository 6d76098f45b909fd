"""A small invented company: a directory of facts and a handbook, made from a seed.

Nothing in it comes from anywhere else, so no language model can have read it before. No answer
is part of another one, so that an answer taken from the wrong fact is always seen to be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from random import Random
from typing import Self

from memkit.errors import InvalidInputError
from memkit.evals.company import vocabulary
from memkit.evals.company.templates import (
    FACTS,
    PARAGRAPHS,
    FactTemplate,
    ParagraphTemplate,
    Subject,
)
from memkit.text.words import MONTHS
from memkit.types.validate import shown

MAX_FACTS = 2000  # beyond it, names run out and numbers take long to be drawn

# How the answer to a kind of fact is drawn, where it is no person.
_DRAWS: Mapping[str, Callable[[Random], str]] = {
    "extension": lambda r: f"{r.randrange(2000, 9000)}",
    "badge": lambda r: f"{r.randrange(10000, 100000)}",
    "desk": lambda r: f"{r.choice('ABCDEFGH')}-{r.randrange(10, 100)}",
    "start": lambda r: f"{r.choice(MONTHS)} {r.randrange(1984, 2025)}",
    "parking space": lambda r: f"U-{r.randrange(100, 1000)}",
    "meeting room": lambda r: (
        f"floor {r.randrange(1, 9)}, {r.choice(('north', 'east', 'south', 'west'))} wing"
    ),
    "supplier phone": lambda r: " ".join(
        (f"0{r.randrange(200, 1000)}", f"{r.randrange(100, 1000)}", f"{r.randrange(100, 1000)}")
    ),
    "cost centre": lambda r: f"{r.randrange(100, 1000)}0",
    "equipment": lambda r: f"cabinet {r.randrange(10, 100)}",
    "number plate": lambda r: f"K{r.choice('BLMTV')} {r.randrange(100, 1000)} {r.choice('DNRSW')}",
}


@dataclass(frozen=True)
class Fact:
    """One entry of the directory.

    Attributes:
        text: A sentence that holds the answer, once and verbatim.
        question: Unique within the company.
        answer: One to five words, or a number.
        paraphrases: Three more ways to ask the same.
        metadata: ``source``, ``kind`` and ``subject``.
    """

    text: str
    question: str
    answer: str
    paraphrases: tuple[str, ...]
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class QuestionAnswer:
    """A question with its short answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class Paragraph:
    """One section of the handbook.

    Attributes:
        title: Its heading.
        text: Three to five sentences that hold each answer verbatim.
        pairs: What may be asked about it.
        metadata: ``source``, ``kind`` and ``subject``.
    """

    title: str
    text: str
    pairs: tuple[QuestionAnswer, ...]
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class Company:
    """An invented company.

    Attributes:
        name: Its name.
        facts: The directory.
        paragraphs: The handbook.
        unrelated: Prompts that have nothing to do with it.
    """

    name: str
    facts: tuple[Fact, ...]
    paragraphs: tuple[Paragraph, ...]
    unrelated: tuple[str, ...]

    @classmethod
    def generate(cls, seed: int, facts: int) -> Self:
        """Invent a company.

        Args:
            seed: The same seed and number of facts give the same company.
            facts: Size of the directory, 1 to ``MAX_FACTS``; the kinds of facts take turns.

        Raises:
            InvalidInputError: If ``facts`` is out of range.
        """
        if not 1 <= facts <= MAX_FACTS:
            raise InvalidInputError(f"`facts` must be from 1 to {MAX_FACTS}, not {shown(facts)}")
        inventor = _Inventor(seed, staff=max(len(FACTS), facts // 4))
        return cls(
            name=inventor.company,
            # The paragraphs come first: they draw from few values, the facts from many.
            paragraphs=tuple(inventor.paragraph(template) for template in PARAGRAPHS),
            facts=tuple(inventor.facts(facts)),
            unrelated=vocabulary.UNRELATED,
        )


class _Inventor:
    """Draws names, numbers and places, and never an answer that could pass for another."""

    def __init__(self, seed: int, *, staff: int) -> None:
        self._random = Random(f"memkit company {seed}")
        self._answers: list[str] = []
        self._names = self._people()
        self.company = " ".join(
            self._random.choice(part)
            for part in (vocabulary.COMPANY_STEMS, vocabulary.COMPANY_TRADES)
        )
        self._staff = [next(self._names) for _ in range(staff)]
        self._departments = {
            person: self._random.choice(vocabulary.DEPARTMENTS) for person in self._staff
        }

    def facts(self, count: int) -> Iterator[Fact]:
        """Yield ``count`` facts; the kinds take turns until their subjects are used up."""
        subjects = {template.kind: self._shuffled(template.about) for template in FACTS}
        for template in cycle(FACTS):
            if not count:
                return
            if subjects[template.kind]:
                yield self._fact(template, subjects[template.kind].pop())
                count -= 1

    def paragraph(self, template: ParagraphTemplate) -> Paragraph:
        """Fill a handbook paragraph in."""
        answers = {
            name: self._unique(partial(self._random.choice, values))
            for name, values in template.answers.items()
        }
        return Paragraph(
            title=template.title,
            text=template.text.format(company=self.company, **answers),
            pairs=tuple(QuestionAnswer(asked, answers[name]) for asked, name in template.pairs),
            metadata={"source": "handbook", "kind": "paragraph", "subject": template.title},
        )

    def _fact(self, template: FactTemplate, subject: str) -> Fact:
        answer = self._unique(self._draw(template.kind))

        def fill(wording: str) -> str:
            return wording.format(
                subject=subject,
                answer=answer,
                company=self.company,
                department=self._departments.get(subject, ""),
                goods=dict(vocabulary.SUPPLIERS).get(subject, ""),
            )

        return Fact(
            text=fill(template.text),
            question=fill(template.question),
            answer=answer,
            paraphrases=tuple(fill(wording) for wording in template.paraphrases),
            metadata={"source": "directory", "kind": template.kind, "subject": subject},
        )

    def _draw(self, kind: str) -> Callable[[], str]:
        if kind in {"department head", "stand-in"}:
            return partial(next, self._names)
        return partial(_DRAWS[kind], self._random)

    def _unique(self, draw: Callable[[], str]) -> str:
        """Draw until the answer is neither part of an earlier one nor the other way round."""
        while True:
            answer = draw()
            if not any(answer in other or other in answer for other in self._answers):
                self._answers.append(answer)
                return answer

    def _shuffled(self, about: Subject) -> list[str]:
        subjects = {
            "person": self._staff,
            "department": vocabulary.DEPARTMENTS,
            "meeting room": vocabulary.MEETING_ROOMS,
            "supplier": [name for name, _ in vocabulary.SUPPLIERS],
            "equipment": vocabulary.EQUIPMENT,
            "round": vocabulary.ROUNDS,
        }[about]
        return self._random.sample(subjects, len(subjects))

    def _people(self) -> Iterator[str]:
        """Yield distinct full names; first names repeat only once all have been used."""
        firsts = self._random.sample(vocabulary.FIRST_NAMES, len(vocabulary.FIRST_NAMES))
        lasts = self._random.sample(vocabulary.LAST_NAMES, len(vocabulary.LAST_NAMES))
        for lap in range(len(lasts)):
            for place, first in enumerate(firsts):
                yield f"{first} {lasts[(place + lap) % len(lasts)]}"
