"""Routing by the nearest facts: they vote for the modules that hold them.

One centroid per module cannot tell modules apart whose records share no topic; the nearest
fact can (docs/decisions/0002-routing.md). Every record is in the index, held in weights or
not, so a question about a record that no module holds, or holds only in an older version, is
left to the other backends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from memkit.errors import InvalidInputError
from memkit.ledger import Ledger
from memkit.protocols import Query
from memkit.rag.index import FactIndex, Nearest
from memkit.types import Part, Route, Support

TEMPERATURE = 0.05  # cosine units; a fact 0.1 nearer than another has e^2 times its vote


@dataclass(frozen=True)
class Voting:
    """How facts vote.

    Attributes:
        facts: How many of the nearest facts are looked at.
        modules: At most this many modules are mixed. One, because two adapters trained apart
            destroy each other's answers when both act on the same token.
    """

    facts: int = 8
    modules: int = 1

    def __post_init__(self) -> None:
        for name in ("facts", "modules"):
            if (value := getattr(self, name)) < 1:
                raise InvalidInputError(f"`{name}` must be at least 1, got {value!r}")


class NearestRouter:
    """Routes each query to the modules that hold its nearest facts.

    Args:
        index: Similarities of queries and facts.
        ledger: Tells which module holds which fact.
        threshold: Gives the similarity below which no module answers.
        voting: How facts vote.
    """

    def __init__(
        self,
        index: FactIndex,
        ledger: Ledger,
        *,
        threshold: Callable[[], float],
        voting: Voting | None = None,
    ) -> None:
        self._index = index
        self._ledger = ledger
        self._threshold = threshold
        self._voting = voting or Voting()

    def route(
        self, queries: Sequence[Query], *, pending: Mapping[str, str] | None = None
    ) -> list[Route]:
        """One route per query, in order.

        Args:
            queries: Their scopes bound which facts may vote.
            pending: Record id to module, for records that are about to be held: lets a module
                be verified through the router before it is committed.
        """
        wide = [replace(query, k=self._voting.facts) for query in queries]
        found = self._index.nearest(wide)
        ids = list({fact.record_id for facts in found for fact in facts})
        placed = {**self._ledger.modules.placements(ids), **(pending or {})}
        threshold = self._threshold()
        return [
            self._decide(query.text, facts, placed, threshold)
            for query, facts in zip(queries, found, strict=True)
        ]

    def similarities(self, queries: Sequence[Query]) -> list[float]:
        """Cosine similarity of each query with its nearest fact; -1 where there is none."""
        found = self._index.nearest([replace(query, k=1) for query in queries])
        return [facts[0].similarity if facts else -1.0 for facts in found]

    def _decide(
        self, asked: str, facts: Sequence[Nearest], placed: Mapping[str, str], threshold: float
    ) -> Route:
        support = tuple(Support(f.record_id, f.similarity, placed.get(f.record_id)) for f in facts)

        def none(reason: str) -> Route:
            return Route({}, support, threshold, reason)

        if not support:
            return none("this scope holds no facts")
        nearest = support[0]
        if nearest.module is None:
            return none("the nearest fact is not held in weights")
        if nearest.similarity < threshold:
            return none(
                f"the nearest fact is too far away ({nearest.similarity:.2f} < {threshold:.2f})"
            )
        weights = _vote([s for s in support if s.similarity >= threshold], self._voting.modules)
        best = max(weights, key=lambda name: weights[name])
        reason = f"the nearest fact ({nearest.similarity:.2f}) and its neighbours vote for {best}"
        fact = next(s for s in support if s.module == best)
        part = Part(asked, best, fact.record_id, min(1.0, max(0.0, fact.similarity)))
        return Route(weights, support, threshold, reason, (part,))


def _vote(support: Sequence[Support], modules: int) -> dict[str, float]:
    """Weights of the winning modules: a softmax over similarities, summed by module."""
    top = support[0].similarity
    votes: dict[str, float] = {}
    for fact in support:
        if fact.module is not None:
            share = math.exp((fact.similarity - top) / TEMPERATURE)
            votes[fact.module] = votes.get(fact.module, 0.0) + share
    winners = sorted(votes, key=lambda name: (-votes[name], name))[:modules]
    total = sum(votes[name] for name in winners)
    return {name: votes[name] / total for name in winners}
