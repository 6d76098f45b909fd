"""One search: candidates by meaning and by words, then one score for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from memkit.errors import InvalidInputError, RecordNotFoundError
from memkit.ledger import Ledger, Passage
from memkit.ledger.turns.conversations import SpokenLine
from memkit.protocols import Query
from memkit.rag.chunks import split
from memkit.rag.fusion import Ranked, Ranking, Scored, around, rank
from memkit.rag.query_rewrite import RewrittenQuery
from memkit.rag.reranker import Reranker
from memkit.rag.vectors.synced_index import SyncedIndex
from memkit.text.dates import Days, Yearly, named_days, periods
from memkit.text.words import search_words
from memkit.types import Hit, Record

if TYPE_CHECKING:
    from memkit.protocols import Floats2d

    Embed = Callable[[Sequence[str]], Floats2d]

RERANKED = 30  # records that a reranker looks at, at least
DEPTH = 200  # passages that meaning and words contribute each, at least
BY_VECTOR = Ranking(meaning=1.0, words=0.0)  # the score is the cosine


class Search:
    """Finds what speaks for a query in the ledger's passages, and puts it in order.

    Args:
        ledger: Where the passages are.
        mirror: Their vectors, searchable.
        embed: Embeds queries, shape ``(n, dim)``.
        ranking: What weighs how much.
        rerank: Puts the best in their final order; None leaves them as they are.
    """

    def __init__(
        self,
        ledger: Ledger,
        mirror: SyncedIndex,
        embed: Embed,
        ranking: Ranking,
        rerank: Reranker | None = None,
    ) -> None:
        self._ledger = ledger
        self._mirror = mirror
        self._embed = embed
        self._ranking = ranking
        self._rerank = rerank

    def nearest(
        self, vectors: Floats2d, queries: Sequence[Query], *, depth: int = 1
    ) -> list[list[tuple[Passage, float]]]:
        """Passages near each query, of at least ``k`` records; all share scope and filters.

        Args:
            vectors: Of the queries, shape ``(b, dim)``.
            queries: Say what may be found.
            depth: How many passages to give at least, if there are so many.
        """
        k = max(query.k for query in queries)
        shared = queries[0]
        # Most records have two passages, their text and their question.
        fetch = min(max(2 * k, depth), 2**31)  # within what SQLite can count
        while True:
            rows = self._mirror.search(
                vectors, k=fetch, scope=shared.scope, where=shared.where, period=shared.period
            )
            passages = self._ledger.passages.get(list({key for row in rows for key, _ in row}))
            found = [[(passages[key], s) for key, s in row if key in passages] for row in rows]
            if all(
                len(row) < fetch or len({passage.record_id for passage, _ in kept}) >= k
                for row, kept in zip(rows, found, strict=True)
            ):
                return found
            fetch *= 4

    def hits(self, query: Query, vector: Floats2d | None = None) -> list[Hit] | None:
        """The best ``query.k`` records; None if one was deleted or changed meanwhile.

        Args:
            query: What is searched for.
            vector: Search by this vector alone, shape ``(1, dim)``; None for the query's text.
        """
        if vector is None:
            best = self._by_text(query)
        else:
            (near,) = self.nearest(vector, [query])  # words move none of them up
            scored = [Scored(passage, similarity, 0.0) for passage, similarity in near]
            best = rank(scored, BY_VECTOR, {})
        try:
            return self._show(best, query)
        except RecordNotFoundError:
            return None

    def _by_text(self, query: Query) -> list[Ranked]:
        """Rank what the query's meaning and words lead to."""
        asked = RewrittenQuery.of(
            query.text, self._ledger.conversations.speakers(visible_to=query.scope)
        )
        today = (query.period.as_of or self._ledger.now()).date()
        days = named_days(query.text, today) if self._ranking.time else []
        forms = list(dict.fromkeys([asked.text, asked.first_person]))
        vectors = self._embed(forms)
        found: dict[int, Passage] = {}
        words: dict[int, float] = {}
        for period in [query.period, *periods(days, today, query.period)]:
            part = replace(query, period=period)
            near = self.nearest(vectors, [part] * len(forms), depth=_depth(query.k))
            found |= {passage.key: passage for row in near for passage, _ in row}
            words |= self._words(part, asked, found)
        said = self._said(query, found)
        scored = self._scored(asked, vectors, found, words, said)
        extra = {id: self._turn(asked, one) for id, one in said.items()}
        for id, parts in self._times(_records_of(found), days).items():
            extra[id] = extra.get(id, {}) | parts
        best = rank(scored, self._ranking, extra)
        return best if self._rerank is None else self._reranked(self._rerank, query, best)

    def _reranked(self, rerank: Reranker, query: Query, best: Sequence[Ranked]) -> list[Ranked]:
        """Let the reranker put the best in order; the others stay behind them."""
        head = [one for one in best[: max(query.k, RERANKED)] if one.passage is not None]
        texts = [one.passage.text for one in head if one.passage is not None]
        scores = rerank(query.text, texts) if head else []
        if len(scores) != len(head):
            raise InvalidInputError(
                f"expected one score for each of {len(head)} texts, got {len(scores)}",
                hint="A reranker returns one number per text, in order.",
            )
        judged = [
            replace(one, parts={"reranker": float(score)})
            for one, score in zip(head, scores, strict=True)
        ]
        chosen = {one.record_id for one in head}
        rest = [one for one in best if one.record_id not in chosen]
        return sorted(judged, key=lambda one: -one.score) + rest

    def _words(
        self, query: Query, asked: RewrittenQuery, found: dict[int, Passage]
    ) -> dict[int, float]:
        """BM25 of the whole query; adds the best passages, also of its words without names."""
        scores: dict[int, float] = {}
        among = self._mirror.allowed(query.scope, query.where, query.period)
        for text in dict.fromkeys(
            [asked.without_names, asked.text]
        ):  # the query itself has the last word
            scores |= self._ledger.passages.by_words(text, k=_depth(query.k), among=among)
        new = self._ledger.passages.get([key for key in scores if key not in found])
        found |= new
        return {key: score for key, score in scores.items() if key in found}

    def _said(self, query: Query, found: dict[int, Passage]) -> dict[str, SpokenLine]:
        """The turns among what was found; adds their neighbours to it, where the query may."""
        conversations, reach = self._ledger.conversations, self._ranking.reach
        ids = _records_of(found)
        said = conversations.said(ids, reach=reach)
        near = {key for one in said.values() for key in one.around} - found.keys()
        if near:
            found |= self._ledger.passages.passing(
                sorted(near), visible_to=query.scope, where=query.where, period=query.period
            )
            new = {passage.record_id for passage in found.values()} - set(ids)
            said |= conversations.said(sorted(new), reach=reach)
        return said

    def _scored(
        self,
        asked: RewrittenQuery,
        vectors: Floats2d,
        found: Mapping[int, Passage],
        words: Mapping[int, float],
        said: Mapping[str, SpokenLine],
    ) -> list[Scored]:
        """Every candidate with its similarity and its words, turns as the question is spoken."""
        if not found:
            return []
        scale = math.log(1 + self._ledger.passages.ever())
        turns = {key: said[p.record_id] for key, p in found.items() if p.record_id in said}
        counted = {**words, **self._around(asked.without_names, turns)}
        keys, stored = self._ledger.passages.vectors(list(found))
        # Not a matrix product: there, equal rows may differ in the last digit.
        similar = [(stored * vector).sum(axis=1) for vector in vectors] if len(keys) else []
        scored = []
        for place, key in enumerate(keys.tolist()):
            form = -1 if key in turns else 0
            similarity = float(similar[form][place])
            scored.append(Scored(found[key], similarity, counted.get(key, 0.0) / scale))
        return scored

    def _around(self, words: str, turns: Mapping[int, SpokenLine]) -> dict[int, float]:
        """BM25 of turns, in which the words of the turns around them count, too."""
        if not turns:
            return {}
        passages = self._ledger.passages
        keys = np.array(sorted(turns.keys() | {k for t in turns.values() for k in t.around}))
        place = {key: row for row, key in enumerate(keys.tolist())}
        total = passages.ever()
        columns, rarity = [], []
        for word in search_words(words):
            count, having, scores = passages.word(word, keys)
            # As SQLite's bm25() has it.
            idf = max(math.log((total - count + 0.5) / (count + 0.5)), 1e-6)
            column = np.zeros(len(keys))
            column[np.searchsorted(keys, having)] = scores / idf
            columns.append(column)
            rarity.append(idf)
        if not columns:
            return {}
        near = [(place[key], place[other]) for key, turn in turns.items() for other in turn.around]
        counted = around(np.stack(columns, axis=1), near, self._ranking.around) @ np.array(rarity)
        return {key: float(counted[place[key]]) for key in turns}

    def _turn(self, asked: RewrittenQuery, said: SpokenLine) -> dict[str, float]:
        """The parts of a score that only what was said has."""
        parts = {}
        if asked.speakers and said.speaker is not None and said.speaker not in asked.speakers:
            parts["stranger"] = -self._ranking.stranger
        if said.asks:
            parts["question"] = -self._ranking.question
        return parts

    def _times(
        self, ids: Sequence[str], named: Sequence[Days | Yearly]
    ) -> dict[str, dict[str, float]]:
        """The parts of a score that come of when something was said."""
        parts: dict[str, dict[str, float]] = {id: {} for id in ids}
        if named:
            for id, day in self._ledger.conversations.days(ids).items():
                near = self._ranking.timely(min(abs(one.gap(day)) for one in named))
                parts[id] |= {"time": near} if near else {}
        if self._ranking.recency:
            for id, age in self._ledger.records.ages(ids).items():
                parts[id]["recency"] = self._ranking.recent(age)
        return parts

    def _show(self, best: Sequence[Ranked], query: Query) -> list[Hit] | None:
        best = best[: query.k]
        records = self._ledger.records.get([one.record_id for one in best], scope=query.scope)
        hits = [_hit(record, ranked) for record, ranked in zip(records, best, strict=True)]
        return [hit for hit in hits if hit] if all(hits) else None


def _records_of(found: Mapping[int, Passage]) -> list[str]:
    """Ids of the records of passages, each once."""
    return list(dict.fromkeys(passage.record_id for passage in found.values()))


def _hit(record: Record, ranked: Ranked) -> Hit | None:
    """What the user sees; None if the passage is of another version of the record."""
    passage = ranked.passage
    if passage is None:  # a question matched; it stands for the beginning of the text
        start, end = split(record.text)[0]
    elif record.text[passage.start : passage.end] == passage.text:
        start, end = passage.start, passage.end
    else:
        return None
    text = record.text[start:end]
    return Hit(record, text, start, end, ranked.score, ranked.similarity, ranked.parts)


def _depth(k: int) -> int:
    """How many passages to look at for ``k`` records; within what SQLite can count."""
    return min(max(DEPTH, 4 * k), 2**31)
