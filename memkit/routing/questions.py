"""The questions that facts answer, as the ledger has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memkit.ledger import Ledger
from memkit.types import Example


class CanonicalQuestions:
    """The first trained wording of each fact of each record.

    That is what modules are asked, and what a query is compared with. A record without stored
    examples, which no module was trained on as it is now, has its own question and answer, or
    none if it came without.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def of(self, ids: Sequence[str]) -> dict[str, Sequence[Example]]:
        """Examples by record, for all of the ids; no examples for unknown records."""
        return self._ledger.cache.get_each("canonical questions", ids, self._read)

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
