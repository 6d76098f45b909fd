"""What measurements learn: facts of the invented company, and records that no ledger holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from memkit.cli.demo.company import Fact
from memkit.types import Draft, Record


def drafts_of(facts: Sequence[Fact]) -> list[Draft]:
    """Facts as `memkit.Memory.add` takes them."""
    return [Draft(fact.text, fact.question, fact.answer) for fact in facts]


def unstored(drafts: Iterable[Draft]) -> list[Record]:
    """Records of drafts, numbered in order."""
    now = datetime.now(UTC)
    return [
        Record(str(number), d.text, d.question, d.answer, d.scope, d.metadata, now, now, 1, "")
        for number, d in enumerate(drafts)
    ]
