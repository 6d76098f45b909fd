"""A memory's calibration: measured on its own records, kept in its ledger, renewed as it changes.

The questions are wordings of the records that are held, asked first as they are and then as if
their record were not stored, and general prompts. Nothing is trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from memkit.ledger import Ledger
from memkit.routing.fit_calibration import calibrated
from memkit.routing.negative_prompts import UNRELATED_PROMPTS
from memkit.text.words import content_stems, repeats_answer
from memkit.types import Example, Query, Record, Scope
from memkit.types.calibration import CALIBRATION, Calibration, Features
from memkit.types.scope import scope_key

SAMPLE = 128  # records that are asked about
WORDINGS = 2  # of each record
SCOPES = 4  # that general prompts are asked in
STALE = 0.05  # share of the passages that may change before the calibration is measured anew


# What speaks for the best fact of each query; a fact of each may be left out.
Measure = Callable[[Sequence[Query], Sequence[str | None]], list[Features]]


class Calibrator:
    """Measures where "none" begins for a memory, and remembers it.

    Args:
        ledger: Where it is kept, and the examples whose wordings are asked.
        measure: Looks at queries as the router does.
    """

    def __init__(self, ledger: Ledger, measure: Measure) -> None:
        self._ledger = ledger
        self._features = measure
        self._unstored: Calibration | None = None  # of a memory that cannot be written to

    def stored(self) -> Calibration | None:
        """What was measured last; None if nothing was, or by another version of memkit."""
        return self._unstored or self._ledger.cache.get(CALIBRATION, self._read)

    def current(self) -> Calibration | None:
        """The calibration, measured anew if too much has changed; None if nothing is held."""
        latest = self.stored()
        if latest is not None:
            changes = self._ledger.passages.last_change() - latest.changes
            if changes > STALE * latest.passages:
                return self.measure([]) or latest
        return latest

    def measure(self, records: Sequence[Record]) -> Calibration | None:
        """Calibrate on records that are to be learned, and on those that are held already."""
        changes = self._ledger.passages.last_change()  # before: what comes now counts as new
        sample = self._sample(records)
        questions = _questions(self._ledger.examples.get(list(sample)))
        if not questions:
            return None
        related = [Query(e.question, scope=sample[e.record_id or ""].scope) for e in questions]
        unrelated = [
            Query(prompt, scope=scope)
            for scope in _some(record.scope for record in sample.values())
            for prompt in UNRELATED_PROMPTS
        ]
        measured = calibrated(
            self._features(related, [None] * len(related)),
            self._features(unrelated, [None] * len(unrelated)),
            self._features(related, [example.record_id for example in questions]),
        )
        dated = replace(measured, changes=changes, passages=self._ledger.passages.count())
        if self._ledger.writable:
            self._ledger.set_meta(CALIBRATION, dated.to_json())
        else:
            self._unstored = dated
        return dated

    def _read(self) -> Calibration | None:
        stored = self._ledger.get_meta(CALIBRATION)
        return None if stored is None else Calibration.from_json(stored)

    def _sample(self, records: Sequence[Record]) -> dict[str, Record]:
        """Some of the records by id, always the same ones, so that little is embedded anew."""
        held = [id for module in self._ledger.modules.active() for id in module.records]
        new = {record.id: record for record in records}
        chosen = sorted({*held, *new}, key=_shuffled)[:SAMPLE]
        stored = self._ledger.records.find([id for id in chosen if id not in new])
        known = {record.id: record for record in stored} | new
        return {id: known[id] for id in chosen if id in known}


def _questions(examples: dict[str, list[Example]]) -> list[Example]:
    """Some wordings of each record: held-out ones first, as users do not ask what was trained."""
    chosen = (sorted(made, key=_rarely_trained)[:WORDINGS] for made in examples.values())
    return [_shortened(example) for made in chosen for example in made]


def _shortened(example: Example) -> Example:
    """A question that repeats its answer, with half of its words: so little others repeat."""
    if not repeats_answer(example.question, example.answer):
        return example
    return replace(example, question=" ".join(content_stems(example.question)[::2]))


def _rarely_trained(example: Example) -> tuple[bool, str]:
    return not example.held_out, _shuffled(example.question)


def _some(scopes: Iterable[Scope]) -> list[Scope]:
    different = {scope_key(scope): scope for scope in scopes}
    return [different[key] for key in sorted(different, key=_shuffled)[:SCOPES]]


def _shuffled(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
