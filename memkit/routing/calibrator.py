"""A memory's calibration: measured on its own records, kept in its ledger, renewed as it changes.

Asked are wordings of the records that are held, first as they are and then as if their record
were not stored, and general prompts. What the index holds decides the rest, so nothing has to
be trained for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from memkit.ledger import Ledger
from memkit.protocols import Example, Query, Synthesizer
from memkit.routing.calibration import Calibration, Features, calibrated
from memkit.routing.negative_prompts import UNRELATED_PROMPTS
from memkit.text.words import content_stems, repeats_answer
from memkit.types import Record, Scope
from memkit.types.scope import scope_key

CALIBRATION = "router_calibration"  # ledger meta
SAMPLE = 128  # records that are asked about
WORDINGS = 2  # of each record
SCOPES = 4  # that general prompts are asked in
STALE = 0.05  # share of the passages that may change before the calibration is measured anew


# What speaks for the best fact of each query; a fact of each may be left out.
Measure = Callable[[Sequence[Query], Sequence[str | None]], list[Features]]


class Calibrator:
    """Measures where "none" begins for a memory, and remembers it.

    Args:
        ledger: Where it is kept.
        synthesizer: Words the questions about records.
        measure: Looks at queries as the router does.
    """

    def __init__(self, ledger: Ledger, synthesizer: Synthesizer, measure: Measure) -> None:
        self._ledger = ledger
        self._features = measure
        self._synthesizer = synthesizer
        self._unkept: Calibration | None = None  # of a memory that cannot be written to

    def kept(self) -> Calibration | None:
        """What was measured last; None if nothing was, or by another version of memkit."""
        said = self._ledger.get_meta(CALIBRATION)
        return self._unkept or (Calibration.from_json(said) if said is not None else None)

    def current(self) -> Calibration | None:
        """The calibration, measured anew if too much has changed; None if nothing is held."""
        kept = self.kept()
        if kept is None:
            return None
        if self._ledger.passages.last_change() - kept.changes <= STALE * kept.passages:
            return kept
        return self.measure([]) or kept

    def measure(self, records: Sequence[Record]) -> Calibration | None:
        """Calibrate on records that are to be learned and on those that are held already."""
        changes = self._ledger.passages.last_change()  # before: what comes now counts as new
        sample = self._sample(records)
        asked = _wordings(self._synthesizer.examples(sample))
        scopes = {record.id: record.scope for record in sample}
        if not asked:
            return None
        related = [Query(e.question, scope=scopes[e.record_id or ""]) for e in asked]
        unrelated = [
            Query(prompt, scope=scope)
            for scope in _some(scopes.values())
            for prompt in UNRELATED_PROMPTS
        ]
        measured = calibrated(
            self._features(related, [None] * len(related)),
            self._features(unrelated, [None] * len(unrelated)),
            self._features(related, [example.record_id for example in asked]),
        )
        kept = replace(measured, changes=changes, passages=self._ledger.passages.count())
        if self._ledger.writable:
            self._ledger.set_meta(CALIBRATION, kept.to_json())
        else:
            self._unkept = kept
        return kept

    def _sample(self, records: Sequence[Record]) -> list[Record]:
        """Some of the records, always the same ones, so that little is embedded anew."""
        held = [id for module in self._ledger.modules.active() for id in module.records]
        new = {record.id: record for record in records}
        chosen = sorted({*held, *new}, key=_shuffled)[:SAMPLE]
        stored = self._ledger.records.existing([id for id in chosen if id not in new])
        known = {record.id: record for record in self._ledger.records.get(stored)} | new
        return [known[id] for id in chosen if id in known]


def _wordings(examples: Iterable[Example]) -> list[Example]:
    """Some wordings of each record: held-out ones first, as users do not ask what was trained."""
    of: dict[str, list[Example]] = {}
    for example in examples:
        if example.record_id is not None:
            of.setdefault(example.record_id, []).append(example)
    chosen = (sorted(own, key=_rarely_trained)[:WORDINGS] for own in of.values())
    return [_worn(example) for own in chosen for example in own]


def _worn(example: Example) -> Example:
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
