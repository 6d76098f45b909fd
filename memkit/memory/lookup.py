"""Records that are looked up without a question: by listing, or by their ids."""

from __future__ import annotations

from collections.abc import Iterator

from memkit.memory.engine import Engine
from memkit.memory.reach import SHARED, selected_by
from memkit.types import AnyScope, Metadata, Page, Record


def page(
    engine: Engine, scope: AnyScope | None, *, where: Metadata | None, after: str | None, limit: int
) -> Page:
    """List a page of records, oldest first."""
    bounds = selected_by(scope)
    return engine.ledger.records.page(**bounds, where=where, after=after, limit=limit)


def every(engine: Engine) -> Iterator[Record]:
    """Iterate over all shared records, oldest first, a page at a time."""
    records = engine.ledger.records
    after = None
    while True:
        page = records.page(visible_to=SHARED, after=after)
        yield from page.records
        after = page.next
        if after is None:
            return


def has(engine: Engine, id: object) -> bool:
    """Tell whether a record is there and shared, given as such or by its id."""
    id = id.id if isinstance(id, Record) else id
    return engine.ledger.records.has(id, scope=SHARED)
