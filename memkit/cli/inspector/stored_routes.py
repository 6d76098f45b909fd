"""Routes of stored questions: computed by memkit's router from stored vectors, without a model.

memkit keeps no log of what users ask. What it has is the question of each record that came with
one, and the vector of that question. The router decides on these as it would on a user's, and the
page looks them up again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from memkit.errors import InvalidInputError
from memkit.ledger import Ledger
from memkit.types import Query, Record, Route

if TYPE_CHECKING:
    from memkit.protocols import Floats2d

FACTS = 6  # of those that took part in a route, the best ones
_BATCH = 256  # questions that are routed at once


class StoredVectors:
    """Stands for a memory's embedder where only texts are asked that it has embedded already.

    Implements `memkit.protocols.Embedder`. Where the embedder treats questions and passages alike,
    as the default one does, the vectors are those that it would give; otherwise they are near.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.name = ledger.get_meta("embedder") or ""
        self.dim = int(ledger.get_meta("embedder_dim") or 0)

    def encode_query(self, texts: Sequence[str], /) -> Floats2d:
        """See `memkit.protocols.Embedder.encode_query`."""
        return self.encode_document(texts)

    def encode_document(self, texts: Sequence[str], /) -> Floats2d:
        """Give stored vectors.

        Raises:
            InvalidInputError: If a text was never embedded.
        """
        known = self._ledger.passages.embedded(texts)
        missing = [text for text in texts if text not in known]
        if missing:
            raise InvalidInputError(
                f"expected texts whose vectors are stored, got {missing[0]!r}",
                "Nothing is embedded here; ask a memory that is open.",
            )
        return np.stack([known[text] for text in texts])


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
    embedder = StoredVectors(ledger)
    if not records or not embedder.dim:
        return []
    from memkit.rag.index import FactIndex
    from memkit.routing.nearest import NearestRouter

    rows = []
    with closing(FactIndex(ledger, embedder)) as facts:
        router = NearestRouter(facts, ledger, as_measured=True)
        for start in range(0, len(records), _BATCH):
            batch = _embedded(ledger, records[start : start + _BATCH])
            queries = [Query(record.question or "", scope=record.scope) for record in batch]
            for record, route in zip(batch, router.route(queries), strict=True):
                rows.append(_row(record, route, modules, index))
    return rows


def _embedded(ledger: Ledger, records: Sequence[Record]) -> list[Record]:
    """Those of the records whose questions have a vector: a new one may wait for it."""
    known = ledger.passages.embedded([record.question or "" for record in records])
    return [record for record in records if record.question in known]


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
