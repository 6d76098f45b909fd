"""A phone book: facts that nothing but memory can give, as in the study's PhoneBook."""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from memkit.errors import CorruptFileError, NotFoundError
from memkit.evals.company.vocabulary import FIRST_NAMES, LAST_NAMES
from memkit.types import Draft

# Other words than those of the synthesizer's templates, trained or held out.
OTHER_WORDINGS = (
    "I'd like to call {name}. Which number do I dial?",
    "Do you know {name}'s phone number?",
    "How can I reach {name} by phone?",
    "Which phone number belongs to {name}?",
)
_LINE = re.compile(r"Question: What is the phone number of (.+)\? Answer: (\d{3}-\d{3}-\d{4})")


@dataclass(frozen=True)
class Entry:
    """One line of a phone book."""

    name: str
    number: str

    @property
    def question(self) -> str:
        """The question that it answers."""
        return f"What is the phone number of {self.name}?"


def invented(facts: int, seed: int = 0) -> list[Entry]:
    """Entries of people and numbers that do not exist."""
    chosen = random.Random(seed)
    names = [f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES]
    return [
        Entry(name, "-".join("".join(chosen.choices("0123456789", k=k)) for k in (3, 3, 4)))
        for name in chosen.sample(names, facts)
    ]


def read(folder: Path, facts: int) -> list[Entry]:
    """The first entries of the study's PhoneBook.

    Args:
        folder: With ``phonebook/phonebook_qa_8K.csv`` in it.
        facts: How many.

    Raises:
        NotFoundError: If the file is not there.
        CorruptFileError: If a line of it is something else.
    """
    path = folder / "phonebook" / "phonebook_qa_8K.csv"
    if not path.is_file():
        raise NotFoundError(
            f"expected the study's PhoneBook in {str(path)!r}, found no such file",
            hint="leave `--data` out to use invented entries",
        )
    with path.open(encoding="utf-8", newline="") as file:
        lines = [row["text"] for row in csv.DictReader(file)][:facts]
    entries = []
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            raise CorruptFileError(f"expected a question and its answer in {path}, got {line!r}")
        entries.append(Entry(*match.groups()))
    return entries


def entries_of(data: Path | None, facts: int) -> list[Entry]:
    """Entries of the study's PhoneBook, see `read`; without a folder, invented ones."""
    return invented(facts) if data is None else read(data, facts)


def drafts_of(entries: Sequence[Entry]) -> list[Draft]:
    """What `memkit.Memory.add` takes."""
    return [
        Draft(f"The phone number of {entry.name} is {entry.number}.", entry.question, entry.number)
        for entry in entries
    ]
