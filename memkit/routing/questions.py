"""The questions that facts answer, as the ledger has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memkit.ledger import Ledger
from memkit.types import Example

REMEMBERED = 4096  # records


class CanonicalQuestions:
    """The first trained wording of each fact of each record.

    That is what modules are asked, and what a query is compared with. A record without stored
    examples, which no module was trained on as it is now, has its own question and answer, or
    none if it came without.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._state: object = None
        self._remembered: dict[str, Sequence[Example]] = {}

    def of(self, ids: Sequence[str], state: object) -> dict[str, Sequence[Example]]:
        """Examples by record, for all of the ids; no examples for unknown records.

        Args:
            ids: Record ids.
            state: Of the ledger; what was read in the same state is not read again.
        """
        if state != self._state or len(self._remembered) > REMEMBERED:
            self._remembered, self._state = {}, state
        remembered = self._remembered
        if unknown := [id for id in dict.fromkeys(ids) if id not in remembered]:
            remembered |= self._read(unknown)
        return {id: remembered[id] for id in ids}

    def _read(self, ids: Sequence[str]) -> dict[str, Sequence[Example]]:
        stored = self._ledger.examples.get(ids)
        questions = {id: _first_wordings(stored.get(id, ())) for id in ids}
        if others := [id for id in ids if id not in stored]:
            for record in self._ledger.records.find(others):
                if record.question is not None:
                    own = Example(record.question, record.answer or "", record.id)
                    questions[record.id] = [own]
        return questions


def _first_wordings(examples: Iterable[Example]) -> Sequence[Example]:
    first: dict[str, Example] = {}
    for example in examples:
        if not example.held_out:
            first.setdefault(example.answer, example)
    return list(first.values())
