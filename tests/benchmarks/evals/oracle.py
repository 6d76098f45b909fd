"""Routing that knows the answer: the upper bound that routers are measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memkit.ledger import Ledger
from memkit.protocols import Router
from memkit.types import Part, Query, Route


class OracleRouter(Router):
    """Routes each query to the module that holds the record it is about.

    Args:
        ledger: Tells which module holds which record.
        truth: Query text to the record that answers it. Queries that are not in it get "none".
    """

    def __init__(self, ledger: Ledger, truth: Mapping[str, str]) -> None:
        self._ledger = ledger
        self._truth = truth

    def route(
        self, queries: Sequence[Query], *, pending: Mapping[str, str] | None = None
    ) -> list[Route]:
        """One route per query, in order; see `memkit.protocols.Router`."""
        return [self._decide(query, pending or {}) for query in queries]

    def _decide(self, query: Query, pending: Mapping[str, str]) -> Route:
        id = self._truth.get(query.text)
        if id is None or id not in self._ledger.records.ids(visible_to=query.scope):
            return Route({}, reason="no record that this scope sees answers it")
        module = pending.get(id) or self._ledger.modules.placements([id]).get(id)
        if module is None:
            return Route({}, reason="the record that answers it is not held in weights")
        part = Part(query.text, module, id, 1.0)
        return Route({module: 1.0}, reason=f"{module} holds the answer", parts=(part,))
