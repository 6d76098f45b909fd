"""One search: candidates by meaning and by words, one score for each, the best ones as hits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

from memkit.errors import InvalidInputError, RecordNotFoundError
from memkit.ledger import Ledger, Passage
from memkit.ledger.turns.conversations import SpokenLine
from memkit.protocols import Reranker
from memkit.rag.chunks import beginning
from memkit.rag.embedding_space import EmbeddingSpace
from memkit.rag.fusion import Ranked, Ranking, Scored, rank
from memkit.rag.loaded_passages import LoadedPassages
from memkit.rag.near_passages import PLACES, Load, Row, near_passages
from memkit.rag.query_rewrite import RewrittenQuery
from memkit.rag.succession import newest_first
from memkit.rag.turn_scores import speaker_parts, spoken_lines, words_around
from memkit.text.dates import Days, Yearly, named_days, periods
from memkit.types import HITS, Hit, Query, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from memkit.protocols import Floats2d

RERANKED = 30  # records that a reranker reads, at least
DEPTH = 200  # candidate passages by meaning and by words each, at least
MOST = 2**31  # candidate passages at most, within what SQLite can count
BY_VECTOR = Ranking(meaning=1.0, words=0.0)  # the score is the cosine


@dataclass(frozen=True)
class Search:
    """A look at one state of the ledger, in one embedding space; see `CurrentSpace.run`."""

    ledger: Ledger
    space: EmbeddingSpace
    ranking: Ranking
    reranker: Reranker | None = None

    def nearest(
        self, vectors: Floats2d, queries: Sequence[Query]
    ) -> list[list[tuple[Passage, float]]]:
        """Passages near each query with their similarity, of at least ``k`` records; ties by id.

        The vectors of the queries have shape ``(b, dim)``; all queries share scope and filters.
        """
        passages: dict[int, Passage] = {}

        def load(keys: Iterable[int]) -> Mapping[int, Passage]:
            passages.update(self.ledger.passages.get(list(set(keys) - passages.keys())))
            return passages

        k = max(query.k for query in queries)
        fetch = min(PLACES * k, MOST)  # most records have two passages, text and question
        rows = self._near(vectors, queries[0], load, k=k, fetch=fetch)
        return [
            sorted(
                ((passages[key], similarity) for key, similarity in row if key in passages),
                key=lambda pair: (-pair[1], pair[0].record_id),
            )
            for row in rows
        ]

    def hits(self, query: Query, vector: Floats2d | None = None) -> list[Hit] | None:
        """The best ``query.k`` records; None if one was deleted or changed meanwhile.

        A ``vector``, shape ``(1, dim)``, is searched for alone, in place of the query's text.
        """
        if vector is None:
            best = self._by_text(query)
        else:
            (near,) = self.nearest(vector, [query])
            scored = [Scored(passage, similarity, 0.0) for passage, similarity in near]
            best = rank(scored, BY_VECTOR, {})
        best = best[: query.k]
        try:
            records = self.ledger.records.get(
                [ranked.record_id for ranked in best], scope=query.scope
            )
        except RecordNotFoundError:
            return None
        hits = [_hit(record, ranked) for record, ranked in zip(records, best, strict=True)]
        return [hit for hit in hits if hit] if all(hits) else None

    def _by_text(self, query: Query) -> list[Ranked]:
        """Rank the candidates for a query, all of them."""
        rewritten = RewrittenQuery.of(
            query.text, self.ledger.conversations.speakers(visible_to=query.scope)
        )
        vectors = self.space.embed_queries(
            list(dict.fromkeys([rewritten.text, rewritten.first_person]))
        )
        today = (query.period.as_of or self.ledger.now()).date()
        days = named_days(query.text, today) if self.ranking.time else []
        passages = LoadedPassages(self.ledger)
        words: dict[int, float] = {}
        for period in [query.period, *periods(days, today, query.period)]:
            words |= self._candidates(replace(query, period=period), rewritten, vectors, passages)
        lines: dict[str, SpokenLine] = {}
        if self.ledger.conversations.exist():
            lines = spoken_lines(self.ledger, query, passages, reach=self.ranking.reach)
        scored = self._scored(rewritten, vectors, passages, words, lines)
        parts = self._time_parts(passages.record_ids(), days)
        for id, line in lines.items():
            parts[id] = speaker_parts(rewritten, line, self.ranking) | parts.get(id, {})
        best = rank(scored, self.ranking, parts)
        if self.reranker is not None:
            best = _reranked(self.reranker, query, best)
        if days:  # it asks for what was said then, not for what holds now
            return best
        among = max(query.k, HITS)
        head = [ranked.record_id for ranked in best[:among]]
        said = self.ledger.conversations.statements([id for id in head if id not in lines])
        return newest_first(best, passages, lines | said, k=query.k, among=among)

    def _candidates(
        self, query: Query, rewritten: RewrittenQuery, vectors: Floats2d, passages: LoadedPassages
    ) -> dict[int, float]:
        """Load the nearest passages and the best by BM25; gives the BM25 scores by key."""
        fetch = min(max(DEPTH, 4 * query.k), MOST)
        allowed = self.space.vectors.allowed(query.scope, query.where, query.period)
        bm25: dict[int, float] = {}
        # What both find has the score of the query itself.
        for text in dict.fromkeys([rewritten.without_names, rewritten.text]):
            bm25 |= self.ledger.passages.by_words(text, k=fetch, among=allowed)

        def load(keys: Iterable[int]) -> Mapping[int, Passage]:
            passages.load(keys)
            return passages

        self._near(vectors, query, load, k=query.k, fetch=fetch)
        load(bm25)
        return {key: score for key, score in bm25.items() if key in passages}

    def _near(
        self, vectors: Floats2d, query: Query, load: Load, *, k: int, fetch: int
    ) -> list[list[tuple[int, float]]]:
        """`near_passages` of vectors, shape ``(b, dim)``, among what a query may find."""

        def find(
            rows: Sequence[int], without: NDArray[np.int64] | None, number: int
        ) -> Sequence[Row]:
            return self.space.vectors.search(
                vectors[rows],
                k=number,
                scope=query.scope,
                where=query.where,
                period=query.period,
                without=without,
            )

        keys_of = self.ledger.lexicon.keys
        return near_passages(len(vectors), find, load, keys_of, k=k, fetch=fetch)

    def _scored(
        self,
        rewritten: RewrittenQuery,
        vectors: Floats2d,
        passages: LoadedPassages,
        words: Mapping[int, float],
        lines: Mapping[str, SpokenLine],
    ) -> list[Scored]:
        """All candidates with similarity and words; turns are compared in the first person."""
        if not passages:
            return []
        turns = {key: lines[p.record_id] for key, p in passages.items() if p.record_id in lines}
        bm25 = {**words} | words_around(
            self.ledger, rewritten.without_names, turns, weight=self.ranking.around
        )
        scale = math.log(1 + max(1, self.ledger.passages.count()))  # all may be deleted by now
        keys, stored = passages.vectors()
        # Not a matrix product: there, equal rows may differ in the last digit.
        similarity = [(stored * vector).sum(axis=1) for vector in vectors] if len(keys) else []
        return [
            Scored(
                passages[key],
                float(similarity[-1 if key in turns else 0][row]),
                bm25.get(key, 0.0) / scale,
                spoken=key in turns,
            )
            for row, key in enumerate(keys.tolist())
        ]

    def _time_parts(
        self, ids: Sequence[str], named: Sequence[Days | Yearly]
    ) -> dict[str, dict[str, float]]:
        """The parts of records' scores that depend on when something was said."""
        parts: dict[str, dict[str, float]] = {id: {} for id in ids}
        if named:
            for id, day in self.ledger.conversations.days(ids).items():
                bonus = self.ranking.time_bonus(_distance(day, named))
                parts[id] |= {"time": bonus} if bonus else {}
        if self.ranking.recency:
            for id, age in self.ledger.records.ages(ids).items():
                parts[id]["recency"] = self.ranking.recency_bonus(age)
        return parts


def _distance(day: date, named: Sequence[Days | Yearly]) -> int:
    """Days to the nearest of the days that a question names."""
    return min(abs(days.gap(day)) for days in named)


def _reranked(reranker: Reranker, query: Query, best: Sequence[Ranked]) -> list[Ranked]:
    """Put the best in the order of their reranked scores; the others stay behind them."""
    head = [
        (ranked, ranked.passage.text)
        for ranked in best[: max(query.k, RERANKED)]
        if ranked.passage is not None
    ]
    scores = reranker(query.text, [text for _, text in head]) if head else []
    if len(scores) != len(head):
        raise InvalidInputError(
            f"expected one score for each of {len(head)} texts, got {len(scores)}",
            hint="A reranker returns one number per text, in order.",
        )
    judged = [
        replace(ranked, parts={"reranker": float(score)})
        for (ranked, _), score in zip(head, scores, strict=True)
    ]
    chosen = {ranked.record_id for ranked in judged}
    rest = [ranked for ranked in best if ranked.record_id not in chosen]
    return sorted(judged, key=lambda ranked: -ranked.score) + rest


def _hit(record: Record, ranked: Ranked) -> Hit | None:
    """What the user sees; None if the passage is of another version of the record."""
    passage = ranked.passage
    if passage is None:  # a question matched; it stands for the beginning of the text
        start, end = beginning(record.text)
    elif record.text[passage.start : passage.end] == passage.text:
        start, end = passage.start, passage.end
    else:
        return None
    text = record.text[start:end]
    return Hit(
        record, text, start, end, ranked.score, ranked.similarity, ranked.parts, ranked.order
    )
