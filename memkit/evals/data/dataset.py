"""What is evaluated: documents, what may be learned from them, and questions about them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self


@dataclass(frozen=True)
class Document:
    """A text that the questions are about.

    Attributes:
        id: Unique within its data set.
        topic: What it shares with documents that are like it; empty if nothing is known.
    """

    id: str
    text: str
    title: str = ""
    topic: str = ""


@dataclass(frozen=True)
class Pair:
    """A question and its answer that may be trained on."""

    question: str
    answer: str
    document: str  # its id


@dataclass(frozen=True)
class Script:
    """Training data that comes with a data set, as a good writer would make it of a document.

    Attributes:
        form: "qa", "summary" or "rewrite".
        text: The answer where there is a question; else what is learned as text.
    """

    document: str  # its id
    form: str
    text: str
    question: str = ""


@dataclass(frozen=True)
class Asked:
    """An evaluation question.

    Attributes:
        answers: What counts as right; the first is the reference where only one can be compared.
        document: Id of the document that answers it; empty if none does, and the right answer is
            to abstain.
        choices: Of a multiple-choice question, in order: A, B, C and so on.
        trained: Whether it may be a training question word for word. That is so where recall
            itself is measured, as in the study's PhoneBook; the leakage guard lets it pass.
    """

    question: str
    answers: tuple[str, ...]
    document: str
    choices: tuple[str, ...] = ()
    trained: bool = False

    @property
    def reference(self) -> str:
        """The first of the right answers."""
        return self.answers[0] if self.answers else ""


@dataclass(frozen=True)
class DataSet:
    """Documents with the pairs that may be learned and the questions that are asked.

    Attributes:
        name: As a report shows it, size included.
        pairs: What the data set itself offers to train on; documents can be learned as text, too.
    """

    name: str
    documents: tuple[Document, ...]
    asked: tuple[Asked, ...]
    pairs: tuple[Pair, ...] = ()
    scripts: tuple[Script, ...] = ()

    def head(self, documents: int) -> Self:
        """The first documents, with what is learned from and asked about them."""
        kept = self.documents[:documents]
        ids = {document.id for document in kept}
        return replace(
            self,
            documents=kept,
            asked=tuple(asked for asked in self.asked if asked.document in ids | {""}),
            pairs=tuple(pair for pair in self.pairs if pair.document in ids),
            scripts=tuple(script for script in self.scripts if script.document in ids),
        )

    @property
    def digest(self) -> str:
        """SHA-256 over all of it: two data sets of one digest are the same."""
        kinds: Any = (self.documents, self.asked, self.pairs, self.scripts)
        parts = [asdict(part) for kind in kinds for part in kind]
        text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def every(items: Sequence[Asked], most: int) -> list[Asked]:
    """At most so many, at equal distances from the first on: the same ones every time."""
    if len(items) <= most:
        return list(items)
    return [items[place * len(items) // most] for place in range(most)]
