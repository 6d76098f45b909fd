"""Routes of stored questions as the page shows them, which looks them up again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memkit.ledger import Ledger
from memkit.types import Record, Route

FACTS = 6  # of those that took part in a route, the best ones


def stored_routes(
    ledger: Ledger,
    records: Sequence[Record],
    modules: Mapping[str, int],
    index: Mapping[str, int],
) -> list[dict[str, Any]]:
    """Route the questions of records as the memory would; a route each, as JSON values.

    Args:
        ledger: Open, and nothing is written to it.
        records: Those with questions. One whose question has no vector yet is left out.
        modules: Name to number, of the modules that the page shows.
        index: Record id to number, of the records that the page shows.
    """
    from memkit.routing.stored_questions import routes_of_stored

    routes = routes_of_stored(ledger, records)
    return [_row(record, route, modules, index) for record, route in routes]


def _row(
    record: Record, route: Route, modules: Mapping[str, int], index: Mapping[str, int]
) -> dict[str, Any]:
    shown = [fact for fact in route.support[:FACTS] if fact.record_id in index]
    # A reason may name words of the best fact: only where that is on the page.
    told = not route.support or route.support[0].record_id in index
    return {
        "record": index[record.id],
        "question": record.question,
        "modules": [[modules.get(name, -1), route.weights[name]] for name in route.modules],
        "evidence": route.evidence,
        "threshold": route.threshold,
        "reason": route.reason if told else "the nearest fact is of a scope that is not shown",
        "support": [
            [
                index[fact.record_id],
                fact.similarity,
                fact.score,
                modules.get(fact.module or "", -1),
                list(fact.words),
            ]
            for fact in shown
        ],
        "elsewhere": len(route.support[:FACTS]) - len(shown),
        "parts": [
            [part.question, modules.get(part.module, -1), index[part.record_id], part.score]
            for part in route.parts
            if part.record_id in index
        ],
    }
