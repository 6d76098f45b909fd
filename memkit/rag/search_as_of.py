"""Search among the records as they were at an earlier moment.

The index holds the current versions. Records that have not changed since the moment are found
there; those that have are few as a rule, and are embedded for each search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from memkit.ledger import Ledger
from memkit.rag.index import FactIndex
from memkit.types import Hit, Query, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from memkit.protocols import Floats2d


def search_as_of(
    index: FactIndex, ledger: Ledger, query: Query, moment: datetime, vector: Floats2d | None = None
) -> list[Hit]:
    """Find records as they were at a moment, which is ``query.period.as_of``.

    Those that have changed since are found by meaning alone, and take their places among the
    others by cosine similarity. The effort grows with their number. With a ``vector``, all are
    found by it alone; see `FactIndex.search`.
    """
    unchanged = index.search(query, vector)
    changed = ledger.changed_since(
        moment, visible_to=query.scope, where=query.where or {}, period=query.period
    )
    if vector is None:
        vector = index.query_vector(query.text)[None]
    hits = sorted(unchanged + _hits(index, changed, vector[0]), key=_similarity, reverse=True)
    return [
        replace(hit, score=_similarity(hit), parts={"meaning": _similarity(hit)})
        for hit in hits[: query.k]
    ]


def _hits(index: FactIndex, records: Sequence[Record], vector: NDArray[np.float32]) -> list[Hit]:
    """A hit for each record: its nearest passage of text, with the similarity of any."""
    hits = []
    for record, passages in zip(records, index.prepare(records), strict=True):
        near = [(float(passage.vector @ vector), passage) for passage in passages]
        texts = [pair for pair in near if pair[1].kind == "text"]
        _, best = max(texts, key=lambda pair: pair[0])
        similarity = max(similarity for similarity, _ in near)
        text = record.text[best.start : best.end]
        hits.append(Hit(record, text, best.start, best.end, 0.0, similarity))
    return hits


def _similarity(hit: Hit) -> float:
    return -2.0 if hit.similarity is None else hit.similarity  # below any cosine
