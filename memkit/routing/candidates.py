"""What speaks for each fact: how near it is to a query, and which of its words it has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from memkit.ledger import Ledger
from memkit.rag.index import FactIndex
from memkit.routing.mismatch import NO_MISMATCH, Mismatch, find_mismatch
from memkit.routing.questions import CanonicalQuestions
from memkit.routing.term_weights import Vocabularies, Vocabulary
from memkit.text.words import content_stems, repeats_answer, stem_counts, total_weight
from memkit.types import Query


@dataclass(frozen=True)
class Candidate:
    """A fact that a query may be about.

    Attributes:
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
        mismatch: What the query says in place of what singles the fact out; of several
            questions the one of which least is replaced counts.
    """

    named: float = 0.0
    mismatch: Mismatch = NO_MISMATCH


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
        ledger: Facts by word, and the questions that they answer.
        facts: How many of either kind are looked at.
        words: How much common words count against similarity: a fact scores its cosine plus
            ``words * log(1 + mass)``, where the mass is the summed weight of its words that are
            in the query.
    """

    def __init__(self, index: FactIndex, ledger: Ledger, *, facts: int, words: float) -> None:
        self._index = index
        self._ledger = ledger
        self._facts = facts
        self._words = words
        self._vocabularies = Vocabularies(ledger)
        self._questions = CanonicalQuestions(ledger)

    def search(
        self, queries: Sequence[Query], without: Sequence[str | None] | None = None
    ) -> list[CandidateSet]:
        """What is found for each query, in order.

        Args:
            queries: Their scopes bound what takes part.
            without: For each query a fact that is left out, as if it were not stored.
        """
        wide = [replace(query, k=self._facts + bool(without)) for query in queries]
        vocabulary_of = self._vocabularies.batch()
        found = []
        for row, (query, hits) in enumerate(zip(queries, self._index.nearest(wide), strict=True)):
            left_out = without[row] if without else None
            vocabulary = vocabulary_of(query, left_out)
            weights = vocabulary.weights(content_stems(query.text))
            nearest = {hit.record_id: hit.similarity for hit in hits if hit.record_id != left_out}
            found.append(_Found(query, vocabulary, weights, _shared(vocabulary, weights), nearest))
        self._add_by_words(found)
        return [self._set_of(own) for own in found]

    def questions(self, ids: Sequence[str]) -> dict[str, Sequence[str]]:
        """What modules are asked for candidates: the first wording of each of their facts."""
        of = self._questions.of(ids)
        return {id: [example.question for example in examples] for id, examples in of.items()}

    def compare(self, matches: CandidateSet, facts: Sequence[Candidate]) -> dict[str, Compared]:
        """How far a query names each fact, or something else in its place.

        A question that is made of the words of its own answer, as prose is asked for, is not
        compared: nobody else would ask in these words. Nor is a fact that has no question.
        """
        of = self._questions.of([fact.record_id for fact in facts])
        words = {
            id: [content_stems(e.question) for e in examples
                 if not repeats_answer(e.question, e.answer)]
            for id, examples in of.items()
        }  # fmt: skip
        weights = matches.vocabulary.weights(
            list(chain.from_iterable(chain.from_iterable(words.values())))
        )
        compared = {}
        for fact in facts:
            questions = [{word: weights[word] for word in q} for q in words[fact.record_id]]
            compared[fact.record_id] = _compared(matches, fact, questions)
        return compared

    def _add_by_words(self, found: Sequence[_Found]) -> None:
        """Add the similarity of the facts that have most of the words of each query.

        The vectors of a fact are read once for all queries, as it may have thousands.
        """
        asking: dict[str, list[_Found]] = {}
        for own in found:
            mass = {id: total_weight(words, own.weights) for id, words in own.shared.items()}
            for id in sorted(mass, key=lambda fact: (-mass[fact], fact))[: self._facts]:
                if id not in own.similarity:
                    asking.setdefault(id, []).append(own)
        ids = list(asking)
        for start in range(0, len(ids), self._facts):
            vectors = self._ledger.passages.vectors_of(ids[start : start + self._facts])
            for id, passages in vectors.items():  # without what was deleted meanwhile
                for own in asking[id]:
                    query = self._index.query_vector(own.query.text)
                    own.similarity[id] = float((passages @ query).max())

    def _set_of(self, found: _Found) -> CandidateSet:
        query, weights, candidates = found.query, found.weights, []
        for id, similarity in found.similarity.items():
            words = frozenset(found.shared.get(id, ()))
            score = similarity + self._words * math.log1p(total_weight(words, weights))
            candidates.append(Candidate(id, similarity, words, score))
        best = tuple(sorted(candidates, key=lambda c: (-c.score, c.record_id)))
        times = stem_counts(query.text)
        return CandidateSet(query, list(weights), times, found.vocabulary, weights, best)


@dataclass(frozen=True)
class _Found:
    """What was found for a query so far: which facts have which of its words, and how near."""

    query: Query
    vocabulary: Vocabulary
    weights: Mapping[str, float]
    shared: Mapping[str, set[str]]
    similarity: dict[str, float]


def _shared(vocabulary: Vocabulary, weights: Mapping[str, float]) -> dict[str, set[str]]:
    """The words of a query that each fact has, common ones left out."""
    shared: dict[str, set[str]] = {}
    for word, ids in vocabulary.having(list(weights)).items():
        for id in ids or ():
            shared.setdefault(id, set()).add(word)
    return shared


def _compared(
    matches: CandidateSet, fact: Candidate, questions: Sequence[Mapping[str, float]]
) -> Compared:
    """Compare a query with the weighed words of each question of a fact."""
    shares = [
        total_weight(matches.weights.keys() & question.keys(), question) / whole
        for question in questions
        if (whole := sum(question.values()))
    ]
    mismatches = [find_mismatch(matches.weights, weights, fact.words) for weights in questions]
    least = min(mismatches, key=lambda mismatch: mismatch.weight, default=NO_MISMATCH)
    return Compared(max(shares, default=0.0), least)
