"""A phone book: facts that nothing but memory can give, as in the study's PhoneBook.

Names have no topic and numbers no pattern, so that what is recalled was learned. The study asks
what it trained, word for word; other wordings can be asked beside that.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from string import ascii_uppercase

from memkit.errors import CorruptFileError
from memkit.evals.company.vocabulary import FIRST_NAMES, LAST_NAMES
from memkit.evals.data.dataset import Asked, DataSet, Document, Pair
from memkit.evals.data.missing_data import find, read_csv
from memkit.types import Draft
from memkit.types.validate import check_limit, shown

# Other words than those of the synthesizer's templates, trained or held out.
OTHER_WORDINGS = (
    "I'd like to call {name}. Which number do I dial?",
    "Do you know {name}'s phone number?",
    "How can I reach {name} by phone?",
    "Which phone number belongs to {name}?",
)
_LINE = re.compile(r"Question: What is the phone number of (.+)\? Answer: (\d{3}-\d{3}-\d{4})")
_FILE = "phonebook_qa_8K.csv"  # the smaller ones are its beginnings


@dataclass(frozen=True)
class Entry:
    """One line of a phone book."""

    name: str
    number: str

    @property
    def question(self) -> str:
        """The question that it answers."""
        return f"What is the phone number of {self.name}?"

    @property
    def text(self) -> str:
        """The sentence that states it."""
        return f"The phone number of {self.name} is {self.number}."


def invented(facts: int, seed: int = 0) -> list[Entry]:
    """Entries of people and numbers that do not exist, as many as are wanted.

    When the names are used up they come again with a middle initial, then with two.
    """
    check_limit("facts", facts)
    drawn = random.Random(seed)
    return [Entry(name, _number(drawn)) for name in islice(_names(drawn), facts)]


def read(folder: Path | None, facts: int | None = None) -> list[Entry]:
    """The first entries of the study's PhoneBook, or all of them.

    Args:
        folder: With ``phonebook/phonebook_qa_8K.csv`` in it.
        facts: How many.

    Raises:
        NotFoundError: If the file is not there.
        CorruptFileError: If a line of it is something else, or there are fewer.
    """
    (path,) = find(folder, "phonebook", _FILE)
    lines = [row["text"] for row in read_csv(path, "text")][:facts]
    if facts is not None and len(lines) < facts:
        raise CorruptFileError(
            f"expected {facts} entries in {str(path)!r}, got {len(lines)}",
            hint="leave `--data` out to use as many invented entries as you like",
        )
    entries = []
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            raise CorruptFileError(
                f"expected a question and its answer in {str(path)!r}, got {shown(line)}"
            )
        entries.append(Entry(*match.groups()))
    return entries


def entries_of(data: Path | None, facts: int) -> list[Entry]:
    """Entries of the study's PhoneBook, see `read`; without a folder, invented ones."""
    return invented(facts) if data is None else read(data, facts)


def drafts_of(entries: Sequence[Entry]) -> list[Draft]:
    """What `memkit.Memory.add` takes."""
    return [Draft(entry.text, entry.question, entry.number) for entry in entries]


def phone_book(entries: Sequence[Entry], *, reworded: bool = False) -> DataSet:
    """A data set with a document and a pair for each entry.

    Args:
        entries: Of one phone book.
        reworded: Ask in other words than those that are learned; by default the question is
            asked as it was learned, as the study does.
    """

    def asked(place: int, entry: Entry) -> Asked:
        wording = OTHER_WORDINGS[place % len(OTHER_WORDINGS)].format(name=entry.name)
        text = wording if reworded else entry.question
        return Asked(text, (entry.number,), f"entry {place}", trained=not reworded)

    return DataSet(
        name=f"phone book, {len(entries)} facts" + (", other words" if reworded else ""),
        documents=tuple(Document(f"entry {n}", e.text) for n, e in enumerate(entries)),
        asked=tuple(asked(n, e) for n, e in enumerate(entries)),
        pairs=tuple(Pair(e.question, e.number, f"entry {n}") for n, e in enumerate(entries)),
    )


def _names(drawn: random.Random) -> Iterator[str]:
    pairs = [(first, last) for first in FIRST_NAMES for last in LAST_NAMES]
    for initials in count():
        for first, last in drawn.sample(pairs, len(pairs)):
            middle = "".join(f"{drawn.choice(ascii_uppercase)}. " for _ in range(initials))
            yield f"{first} {middle}{last}"


def _number(drawn: random.Random) -> str:
    return "-".join("".join(drawn.choices("0123456789", k=k)) for k in (3, 3, 4))
