"""Records that are in no ledger, for measurements that train adapters directly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from memkit.evals.company.company import Fact
from memkit.types import Draft, Record


def drafts_of(facts: Sequence[Fact]) -> list[Draft]:
    """Facts of the invented company as `memkit.Memory.add` takes them, without metadata."""
    return [Draft(fact.text, fact.question, fact.answer) for fact in facts]


def unstored_records(drafts: Iterable[Draft]) -> list[Record]:
    """Records of drafts; their ids are "0", "1" and so on, in order."""
    now = datetime.now(UTC)
    return [
        Record(str(number), d.text, d.question, d.answer, d.scope, d.metadata, now, now, 1, "")
        for number, d in enumerate(drafts)
    ]
