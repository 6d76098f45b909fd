"""Records that no ledger holds, for measurements that need none."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from memkit.types import Draft, Record


def unstored(drafts: Iterable[Draft]) -> list[Record]:
    """Records of drafts, numbered in order."""
    now = datetime.now(UTC)
    return [
        Record(str(number), d.text, d.question, d.answer, d.scope, d.metadata, now, now, 1, "")
        for number, d in enumerate(drafts)
    ]
