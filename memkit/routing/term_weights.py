"""The words of a question that tell what it is about, and how much each of them tells."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from memkit.ledger import Ledger
from memkit.types import Query
from memkit.types.queries import Bounds, bounds_of

COMMON = 512  # passages; a word that is in more of them tells nothing
SCOPES = 256  # whose common words are remembered


@dataclass
class Common:
    """What is remembered of a scope and filter."""

    words: set[str] = field(default_factory=set)  # that are known to be common
    many: bool = False  # whether there are `COMMON` facts or more


@dataclass
class Vocabulary:
    """Weights of words among the facts that a query may see.

    A word weighs ``log((n + 1) / (df + 1/2))`` where ``df`` of ``n`` facts have it, both counted
    up to `COMMON`: nothing for a word that is in all of them, most for one that is in none.
    Facts of other scopes are not counted.
    """

    ledger: Ledger
    query: Query  # its scope, filter and period bound what is counted
    common: Common
    without: str | None = None  # a fact that is left out, as if it were not stored
    _known: dict[str, frozenset[str]] = field(default_factory=dict)

    def having(self, words: Sequence[str]) -> dict[str, frozenset[str] | None]:
        """Ids of the facts with each of the words; None for common words."""
        new = [
            w for w in dict.fromkeys(words) if w not in self._known and w not in self.common.words
        ]
        if new:
            query, lexicon = self.query, self.ledger.lexicon
            having = lexicon.having(
                new, limit=COMMON, visible_to=query.scope, where=query.where, period=query.period
            )
            self.common.words |= {word for word, ids in having.items() if ids is None}
            without = {self.without}
            self._known |= {word: ids - without for word, ids in having.items() if ids is not None}
        return {word: self._known.get(word) for word in words}

    def weights(self, words: Sequence[str]) -> dict[str, float]:
        """How much each word tells."""
        return {word: self._weight(ids) for word, ids in self.having(words).items()}

    def _weight(self, having: frozenset[str] | None) -> float:
        if having is None:
            return 0.0
        return max(0.0, math.log((self._facts + 1) / (len(having) + 0.5)))

    @cached_property
    def _facts(self) -> int:
        """How many facts there are, counted up to `COMMON`."""
        if self.common.many:
            return COMMON
        query = self.query
        facts = self.ledger.lexicon.count(
            limit=COMMON, visible_to=query.scope, where=query.where, period=query.period
        )
        self.common.many = facts == COMMON
        return facts


class Vocabularies:
    """One `Vocabulary` per scope and filter, for the queries of one batch.

    Which words are common, and that there are many facts, is remembered from batch to batch
    until a passage comes or goes: to find that out, hundreds of records have to be looked at.
    Which facts have a rare word is looked up every time, as scopes and lifetimes change without
    any passage.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._common: tuple[int, dict[Bounds, Common]] = (-1, {})

    def batch(self) -> Callable[[Query, str | None], Vocabulary]:
        """What gives the vocabulary of a query's scope and filter, a fact of it left out."""
        common = self._remembered()
        shared: dict[Bounds, Vocabulary] = {}

        def of(query: Query, without: str | None) -> Vocabulary:
            key = bounds_of(query.scope, query.where, query.period)
            known = common.setdefault(key, Common())
            if without is not None:
                return Vocabulary(self._ledger, query, known, without)
            return shared.setdefault(key, Vocabulary(self._ledger, query, known))

        return of

    def _remembered(self) -> dict[Bounds, Common]:
        last_change = self._ledger.passages.last_change()
        as_of, common = self._common
        if as_of != last_change or len(common) > SCOPES:
            common = {}
            self._common = (last_change, common)
        return common
