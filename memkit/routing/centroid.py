"""Routing by one vector per module, as in the study: kept to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from memkit.ledger import Ledger
from memkit.protocols import Router
from memkit.rag.index import FactIndex
from memkit.types import Part, Query, Route

if TYPE_CHECKING:
    from numpy.typing import NDArray


class CentroidRouter(Router):
    """Routes each query to the module whose records' mean vector is nearest.

    It knows no "none", as in the study, and computes the means of all modules that a query may
    see for every batch: it is for comparisons, not for large memories.
    """

    def __init__(self, index: FactIndex, ledger: Ledger) -> None:
        self._index = index
        self._ledger = ledger

    def route(
        self, queries: Sequence[Query], *, pending: Mapping[str, str] | None = None
    ) -> list[Route]:
        """See `memkit.protocols.Router.route`."""
        return [self._decide(query, pending or {}) for query in queries]

    def _decide(self, query: Query, pending: Mapping[str, str]) -> Route:
        visible = self._ledger.records.ids(visible_to=query.scope, where=query.where)
        placed = {**self._ledger.modules.placements(visible)}
        placed |= {id: name for id, name in pending.items() if id in set(visible)}
        members: dict[str, list[str]] = {}
        for id, name in sorted(placed.items()):
            members.setdefault(name, []).append(id)
        if not members:
            return Route({}, reason="this scope sees no module")
        vector = self._index.query_vector(query.text)
        cosine = {name: float(self._centroid(ids) @ vector) for name, ids in members.items()}
        best = max(sorted(cosine), key=lambda name: cosine[name])
        part = Part(query.text, best, members[best][0], max(0.0, cosine[best]))
        reason = f"the centroid of {best} is the nearest of {len(members)} ({cosine[best]:.2f})"
        return Route({best: 1.0}, reason=reason, parts=(part,), evidence=cosine[best])

    def _centroid(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Mean of the records' passage vectors, of unit length."""
        vectors = np.concatenate([*self._ledger.passages.vectors_of(ids).values()])
        mean: NDArray[np.float32] = vectors.mean(axis=0)
        return mean / np.float32(np.linalg.norm(mean) or 1.0)
