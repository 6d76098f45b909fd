"""What speaks for each fact: how near it is to a query, and which of its words it has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from memkit.ledger import Ledger
from memkit.protocols import Example, Query, Synthesizer
from memkit.rag.index import FactIndex
from memkit.routing.mismatch import NOTHING, Mismatch, instead
from memkit.routing.term_weights import Vocabularies, Vocabulary
from memkit.text.words import content_stems, repeats_answer, stem_counts, total_weight


@dataclass(frozen=True)
class Candidate:
    """A fact that a query may be about.

    Attributes:
        record_id: The fact.
        similarity: Cosine similarity of the query with its best passage.
        words: The words of the query that the fact has, common ones left out.
        score: Both together; higher is better, in units of cosine similarity.
    """

    record_id: str
    similarity: float
    words: frozenset[str]
    score: float


@dataclass(frozen=True)
class Compared:
    """A query beside the question of a fact.

    Attributes:
        named: The share of the fact's question that the query has, in [0, 1], words by their
            weight; of several questions the best one counts.
        instead: What the query says in place of what singles the fact out; of several
            questions the one of which least is replaced counts.
    """

    named: float = 0.0
    instead: Mismatch = NOTHING


@dataclass(frozen=True)
class CandidateSet:
    """What was found for a query.

    Attributes:
        query: The query.
        words: Its telling words, each once, in order.
        times: How often it has each of them.
        vocabulary: Weighs them.
        weights: The weight of each.
        candidates: Best first.
    """

    query: Query
    words: Sequence[str]
    times: Mapping[str, int]
    vocabulary: Vocabulary
    weights: Mapping[str, float]
    candidates: tuple[Candidate, ...]

    def mass(self, candidate: Candidate) -> float:
        """What the words that a fact shares with the query tell together."""
        return total_weight(candidate.words, self.weights)


class CandidateSearch:
    """Finds the facts that a query may be about, by vector and by words.

    Args:
        index: Nearest facts by vector.
        ledger: Facts by word.
        facts: How many of either kind are looked at.
        words: How much common words count against similarity: a fact scores its cosine plus
            ``words * log(1 + mass)``, where the mass is the summed weight of its words that are
            in the query.
        synthesizer: Words what modules are asked for records.
    """

    def __init__(
        self,
        index: FactIndex,
        ledger: Ledger,
        *,
        facts: int,
        words: float,
        synthesizer: Synthesizer,
    ) -> None:
        self._index = index
        self._ledger = ledger
        self._facts = facts
        self._words = words
        self._synthesizer = synthesizer
        self._vocabularies = Vocabularies(ledger)

    def gather(
        self, queries: Sequence[Query], without: Sequence[str | None] | None = None
    ) -> list[CandidateSet]:
        """What is found for each query, in order.

        Args:
            queries: Their scopes bound what takes part.
            without: For each query a fact that is left out, as if it were not stored.
        """
        wide = [replace(query, k=self._facts + bool(without)) for query in queries]
        near = self._index.nearest(wide)
        vocabulary_of = self._vocabularies.batch()
        found = []
        for row, query in enumerate(queries):
            gone = without[row] if without else None
            vocabulary = vocabulary_of(query, gone)
            words = content_stems(query.text)
            weights = vocabulary.weights(words)
            nearest = {f.record_id: f.similarity for f in near[row] if f.record_id != gone}
            candidates = self._candidates(query, vocabulary, weights, nearest)
            times = stem_counts(query.text)
            found.append(CandidateSet(query, words, times, vocabulary, weights, candidates))
        return found

    def questions(self, ids: Sequence[str]) -> dict[str, Sequence[str]]:
        """What modules are asked for records: the first wording of each of their facts.

        Records that are gone are left out, and those that give no examples.
        """
        return {id: [e.question for e in first] for id, first in self._facts_of(ids).items()}

    def _facts_of(self, ids: Sequence[str]) -> dict[str, list[Example]]:
        """The first wording of each fact of each record."""
        here = self._ledger.records.existing(ids)
        records = self._ledger.records.get(here) if here else []
        found: dict[str, dict[str, Example]] = {}
        for example in self._synthesizer.examples(records):
            if example.record_id is not None and not example.held_out:
                found.setdefault(example.record_id, {}).setdefault(example.answer, example)
        return {id: list(first.values()) for id, first in found.items()}

    def compare(self, gathered: CandidateSet, facts: Sequence[Candidate]) -> dict[str, Compared]:
        """How far a query names each fact, or something else in its place.

        A question that is made of the words of its own answer, as prose is asked for, is not
        compared: nobody else would ask in these words.
        """
        of = self._facts_of([fact.record_id for fact in facts])
        return {
            fact.record_id: _compared(
                gathered,
                fact,
                [
                    e.question
                    for e in of.get(fact.record_id, ())
                    if not repeats_answer(e.question, e.answer)
                ],
            )
            for fact in facts
        }

    def _candidates(
        self,
        query: Query,
        vocabulary: Vocabulary,
        weights: Mapping[str, float],
        nearest: Mapping[str, float],
    ) -> tuple[Candidate, ...]:
        shared: dict[str, set[str]] = {}
        for word in weights:
            for id in vocabulary.having(word) or ():
                shared.setdefault(id, set()).add(word)
        by_words = sorted(shared, key=lambda fact: (-total_weight(shared[fact], weights), fact))[
            : self._facts
        ]
        further = self._similarities(query.text, [id for id in by_words if id not in nearest])
        candidates = [
            Candidate(
                id,
                similarity,
                frozenset(shared.get(id, ())),
                similarity + self._words * math.log1p(total_weight(shared.get(id, ()), weights)),
            )
            for id, similarity in {**nearest, **further}.items()
        ]
        return tuple(sorted(candidates, key=lambda c: (-c.score, c.record_id)))

    def _similarities(self, text: str, ids: Sequence[str]) -> dict[str, float]:
        """Cosine similarity of a query with facts that are not among the nearest."""
        if not ids:
            return {}
        keys = self._ledger.lexicon.keys(ids)
        found, vectors = self._ledger.passages.vectors([k for own in keys.values() for k in own])
        if not len(found):  # deleted meanwhile
            return {}
        similarity = vectors @ self._index.query_vector(text)
        cosine = dict(zip(found.tolist(), similarity.tolist(), strict=True))
        near = {id: [cosine[key] for key in own if key in cosine] for id, own in keys.items()}
        return {id: max(own) for id, own in near.items() if own}


def _compared(gathered: CandidateSet, fact: Candidate, questions: Sequence[str]) -> Compared:
    weighed = [gathered.vocabulary.weights(content_stems(question)) for question in questions]
    shares = [_share(gathered, weights) for weights in weighed]
    replaced = [instead(gathered.weights, weights, fact.words) for weights in weighed]
    return Compared(
        max(shares, default=0.0), min(replaced, key=lambda one: one.weight, default=NOTHING)
    )


def _share(gathered: CandidateSet, question: Mapping[str, float]) -> float:
    whole = sum(question.values())
    return (
        total_weight(gathered.weights.keys() & question.keys(), question) / whole if whole else 0.0
    )
