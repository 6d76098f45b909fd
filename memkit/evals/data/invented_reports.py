"""Invented reports: documents of several topics, asked in words that are nowhere trained.

Each document has a topic, so that modules can be cut by topic as well as in any order. For every
fact there is also what a good writer of training data would make of it; so the study can compare
writers without a large model at hand.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from memkit.errors import InvalidInputError
from memkit.evals.data.dataset import Asked, DataSet, Document, Script
from memkit.evals.data.report_kinds import GIVEN, KINDS, PLACES, SURNAMES, THINGS, Kind, Line
from memkit.types.validate import shown

MOST = len(KINDS) * len(PLACES)
FACTS = len(KINDS[0].lines)  # of a report

_Draw = Callable[[random.Random], str]
DRAWN: Mapping[str, _Draw] = {
    "year": lambda r: str(r.randrange(1620, 1990)),
    "number": lambda r: str(r.randrange(23, 980)),
    "person": lambda r: f"{r.choice(GIVEN)} {r.choice(SURNAMES)}",
    "thing": lambda r: r.choice(THINGS).replace("~", " "),
    "place": lambda r: f"{r.choice(PLACES)}{r.choice(('ham', 'stead', 'worth', 'mouth', 'by'))}",
}


@dataclass(frozen=True)
class _Fact:
    line: Line
    subject: str
    answer: str

    def fill(self, template: str) -> str:
        text = template.format(s=self.subject, a=self.answer)
        return text[:1].upper() + text[1:]


def invented_reports(documents: int, seed: int = 0) -> DataSet:
    """Reports on subjects that do not exist; the topics take turns.

    Args:
        documents: How many, at most `MOST`.
        seed: The same seed and number give the same reports.

    Raises:
        InvalidInputError: If there are not so many.
    """
    if not 1 <= documents <= MOST:
        raise InvalidInputError(f"`documents` must be from 1 to {MOST}, got {shown(documents)}")
    drawn = random.Random(f"memkit reports {seed}")
    places = {kind.topic: drawn.sample(PLACES, len(PLACES)) for kind in KINDS}
    texts: list[Document] = []
    asked: list[Asked] = []
    scripts: list[Script] = []
    for number in range(documents):
        kind = KINDS[number % len(KINDS)]
        subject = kind.subject.format(place=places[kind.topic][number // len(KINDS)])
        facts = [_Fact(line, subject, DRAWN[line.values](drawn)) for line in kind.lines]
        document = _document(f"report {number}", kind, subject, facts)
        texts.append(document)
        asked += [Asked(f.fill(f.line.asked), (f.answer,), document.id) for f in facts]
        scripts += _scripts(document, facts)
    name = f"invented reports, {documents} documents"
    return DataSet(name, tuple(texts), tuple(asked), scripts=tuple(scripts))


def _document(id: str, kind: Kind, subject: str, facts: list[_Fact]) -> Document:
    text = " ".join(fact.fill(fact.line.text) for fact in facts)
    return Document(id, text, title=f"Report on {subject}", topic=kind.topic)


def _scripts(document: Document, facts: list[_Fact]) -> Iterator[Script]:
    """What a good writer would make of a report."""
    for fact in facts:
        for question in fact.line.questions:
            yield Script(document.id, "qa", fact.answer, fact.fill(question))
    short = ", ".join(fact.line.short.format(a=fact.answer) for fact in facts)
    subject = facts[0].subject
    yield Script(document.id, "summary", f"In short, {subject}: {short}.")
    yield Script(document.id, "rewrite", " ".join(f.fill(f.line.retold) for f in reversed(facts)))
