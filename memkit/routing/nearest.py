"""Routing by the nearest facts: they vote for the modules that hold them.

One centroid per module cannot tell modules apart whose records share no topic; the nearest
fact can (docs/decisions/0002-routing.md). How near a fact is, is said by its vector and by the
words that it shares with the query. Every record takes part, held in weights or not, so a
question about a record that no module holds, or holds only in an older version, is left to the
other backends.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from memkit.errors import InvalidInputError
from memkit.ledger import Ledger
from memkit.protocols import Router
from memkit.rag.index import FactIndex
from memkit.routing.calibrator import Calibrator
from memkit.routing.candidates import Candidate, CandidateSearch, CandidateSet
from memkit.routing.mismatch import Mismatch
from memkit.routing.set_cover import smallest_cover
from memkit.text.words import content_stems
from memkit.types import Part, Query, Record, Route, Support
from memkit.types.calibration import Calibration, Features
from memkit.types.validate import shown

TEMPERATURE = 0.05  # units of cosine; a fact that scores 0.1 more than another has e^2 its vote
SPLIT = 0.35  # share of the vote with which a second module is asked, too


@dataclass(frozen=True)
class Voting:
    """How facts vote.

    Attributes:
        facts: How many of the nearest facts are looked at, and how many by words.
        modules: At most this many modules are mixed. One, because two adapters trained apart
            destroy each other's answers when both act on the same token.
        parts: At most so many facts are asked for one query.
        words: How much shared words count beside similarity; 0 leaves them out.
    """

    facts: int = 16
    modules: int = 1
    parts: int = 3
    words: float = 0.3

    def __post_init__(self) -> None:
        for name in ("facts", "modules", "parts"):
            if (value := getattr(self, name)) < 1:
                raise InvalidInputError(f"`{name}` must be at least 1, got {shown(value)}")
        if not 0 <= self.words < math.inf:
            raise InvalidInputError(f"`words` must be at least 0, got {shown(self.words)}")


class NearestRouter(Router):
    """Routes each query to the modules that hold its nearest facts; implements `Router`.

    Args:
        index: Finds facts by vector.
        ledger: What is held, by which module.
        voting: How facts vote; None for the defaults.
        as_measured: Go by what was measured last, however much has changed since.
    """

    def __init__(
        self,
        index: FactIndex,
        ledger: Ledger,
        *,
        voting: Voting | None = None,
        as_measured: bool = False,
    ) -> None:
        self._ledger = ledger
        self._voting = voting or Voting()
        self._search = CandidateSearch(
            index, ledger, facts=self._voting.facts, words=self._voting.words
        )
        self._calibrator = Calibrator(ledger, self._measure)
        self._current = self._calibrator.stored if as_measured else self._calibrator.current

    def route(
        self, queries: Sequence[Query], *, pending: Mapping[str, str] | None = None
    ) -> list[Route]:
        """One route per query, in order.

        Args:
            queries: Their scopes bound which facts may vote.
            pending: Record id to module, for records that are about to be held: lets a module
                be verified through the router before it is committed.
        """
        sets = self._search.search(queries)
        calibration = self._current()
        ids = list({fact.record_id for matches in sets for fact in matches.candidates})
        with self._ledger.one_look():
            placed = self._ledger.modules.placements(ids)
            placed |= {id: pending[id] for id in ids if id in pending} if pending else {}
            return [self._decide(matches, placed, calibration) for matches in sets]

    def calibrate(self, records: Sequence[Record] = ()) -> None:
        """Measure where "none" begins; it is measured anew by itself as the memory changes."""
        self._calibrator.measure(records)

    @property
    def calibrated(self) -> bool:
        """Whether it was measured where "none" begins, by this version of memkit."""
        return self._calibrator.stored() is not None

    def calibration(self) -> Calibration | None:
        """Where "none" begins, and how far it can be relied on; None if nothing is held."""
        return self._current()

    def _measure(self, queries: Sequence[Query], without: Sequence[str | None]) -> list[Features]:
        """What speaks for the best fact of each query, one fact of each left out."""
        sets = self._search.search(queries, without)
        return [self._features(matches)[0] if matches.candidates else NO_FACTS for matches in sets]

    def _features(self, matches: CandidateSet) -> tuple[Features, Mismatch]:
        """What speaks for the best fact, and what is said in its place."""
        fact = matches.candidates[0]
        compared = self._search.compare(matches, [fact])[fact.record_id]
        tells = math.log1p(matches.mass(fact))
        mismatch = compared.mismatch
        return Features(fact.similarity, tells, compared.named, mismatch.weight), mismatch

    def _decide(
        self, matches: CandidateSet, placed: Mapping[str, str], calibration: Calibration | None
    ) -> Route:
        facts = matches.candidates
        support = tuple(
            Support(f.record_id, f.similarity, placed.get(f.record_id), f.score,
                    tuple(word for word in matches.words if word in f.words))
            for f in facts[: self._voting.facts]
        )  # fmt: skip
        if not facts:
            return Route({}, reason="this scope holds no facts")
        if calibration is None:
            return Route({}, support, 1.0, "no module was trained yet")
        features, mismatch = self._features(matches)
        evidence, threshold = calibration.evidence(features), calibration.threshold
        none = Route({}, support, threshold, evidence=evidence)
        if evidence < threshold:
            why = f"the evidence for the best fact is too weak ({evidence:.2f} < {threshold:.2f})"
            return replace(none, reason=why)
        if calibration.means_another(features):
            why = f"it says {mismatch.query_word!r} where the nearest fact has "
            reason = f"{why}{mismatch.stored_word!r}"
            return replace(none, reason=reason, mismatch=mismatch.query_word)
        return self._activate(matches, placed, calibration.probability(evidence), none)

    def _activate(
        self, matches: CandidateSet, placed: Mapping[str, str], sure: float, none: Route
    ) -> Route:
        """The modules that hold what a query needs, or `none` with the reason if they lack it.

        Args:
            matches: Of the query.
            placed: Record id to module.
            sure: Probability that the query is about what is stored.
            none: The route to no module, with what was measured.
        """
        needed = smallest_cover(matches, self._search, self._voting.parts)
        if len(needed) > 1 and any(fact.record_id in placed for fact in needed):
            return self._several(needed, placed, sure, none)
        if matches.candidates[0].record_id not in placed:
            return replace(none, reason="the nearest fact is not held in weights")
        return self._by_vote(matches, placed, sure, none)

    def _by_vote(
        self, matches: CandidateSet, placed: Mapping[str, str], sure: float, none: Route
    ) -> Route:
        """The module that the facts vote for; a second one is asked if the vote is split."""
        votes = _vote(matches.candidates, placed)
        weights = _weights(votes, self._voting.modules)
        asked = [name for name in votes if votes[name] >= SPLIT][:2] or list(weights)[:1]
        firsts = {placed[f.record_id]: f for f in reversed(matches.candidates)
                  if f.record_id in placed}  # fmt: skip
        parts = tuple(
            Part(matches.query.text, name, firsts[name].record_id, sure * votes[name])
            for name in asked
        )
        measured = f"evidence {none.evidence:.2f} >= {none.threshold:.2f}"
        reason = f"the nearest facts vote for {asked[0]} ({measured})"
        if len(asked) > 1:
            reason += f"; as {asked[1]} has {votes[asked[1]]:.0%} of the vote, it is asked, too"
        return replace(none, weights=weights, reason=reason, parts=parts)

    def _several(
        self, needed: Sequence[Candidate], placed: Mapping[str, str], sure: float, none: Route
    ) -> Route:
        """One part for each fact that is needed and held."""
        held = [fact for fact in needed if fact.record_id in placed]
        questions = self._search.questions([fact.record_id for fact in held])
        parts = tuple(
            Part(_closest(questions[fact.record_id], fact), placed[fact.record_id],
                 fact.record_id, sure)
            for fact in held if questions[fact.record_id]
        )  # fmt: skip
        asked = Counter(part.module for part in parts)
        weights = {name: count / len(parts) for name, count in asked.items()}
        reason = f"{len(needed)} facts are needed to cover the words of the question"
        if len(parts) < len(needed):
            reason += f", of which {len(parts)} in weights"
        return replace(none, weights=weights, reason=reason, parts=parts)


NO_FACTS = Features(-1.0, 0.0, 0.0)  # of a scope that holds no facts


def _vote(facts: Sequence[Candidate], placed: Mapping[str, str]) -> dict[str, float]:
    """Each module's share of the vote, most first: a softmax over scores, summed by module."""
    top = facts[0].score
    votes: dict[str, float] = {}
    for fact in facts:
        if module := placed.get(fact.record_id):
            votes[module] = votes.get(module, 0.0) + math.exp((fact.score - top) / TEMPERATURE)
    total = sum(votes.values())
    return {name: votes[name] / total for name in sorted(votes, key=lambda n: (-votes[n], n))}


def _weights(votes: Mapping[str, float], modules: int) -> dict[str, float]:
    """Weights of the first modules; sum to 1."""
    winners = list(votes)[:modules]
    total = sum(votes[name] for name in winners)
    return {name: votes[name] / total for name in winners}


def _closest(questions: Sequence[str], fact: Candidate) -> str:
    """The question of a record that has most of the words that it was found by."""
    return max(questions, key=lambda question: len(fact.words & set(content_stems(question))))
