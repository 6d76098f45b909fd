"""Passages: the slices of records that retrieval works on, with vectors and word index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from memkit.errors import CorruptFileError
from memkit.ledger.engine.dialect import (
    THEN_JOIN,
    holds_text,
    in_numbers,
    list_parameter,
    listed,
    listed_numbers,
)
from memkit.ledger.passages.passage_writes import Kind, PassageWrites, digest, key_list
from memkit.ledger.records.where import LIVE, select_sql, visible_sql
from memkit.text.word_weights import word_weights
from memkit.text.words import search_words
from memkit.types import ALWAYS, Metadata, Period, Scope
from memkit.types.validate import check_limit

# As a rule, a search by words ... docs/decisions/0007-fusion.md has the measurements.
SCORED = 10_000  # computes scores for up to so many passages
FOUND = 20 * SCORED  # ... finds up to so many, among which are the few that it may score

_WITH_RECORDS = "passages JOIN records ON records.number = passages.record"
_VECTORS = "JOIN vectors ON vectors.passage = passages.key"
_COLUMNS = 'passages.key, records.id, kind, start, "end", passages.text'


@dataclass(frozen=True)
class Passage:
    """A stored passage; see `NewPassage`. Keys are never used twice."""

    key: int
    record_id: str
    kind: Kind
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Change:
    """One step in the life of a passage: it was added, or it was removed."""

    seq: int
    passage: int
    added: bool


class PassageTable(PassageWrites):
    """All passages of all records, each with one vector of the same dimension."""

    def embedded(self, texts: Iterable[str]) -> dict[str, NDArray[np.float32]]:
        """Give the vectors of those texts that some passage has: they need no embedding again."""
        asked = {digest(text): text for text in texts}
        rows = self._database.rows(
            f"SELECT passages.digest, passages.text, vectors.vector FROM {listed_numbers('asked')} "
            f"{THEN_JOIN} passages ON passages.digest = asked.value "
            f"{_VECTORS}",
            key_list(list(asked)),
        )
        return {
            text: np.frombuffer(vector, "<f4").astype(np.float32)
            for digest, text, vector in rows
            if asked[digest] == text
        }

    def changes(self, after: int, limit: int = 10_000) -> list[Change]:
        """List what happened to passages, in order, from behind change number ``after``."""
        rows = self._database.rows(
            "SELECT seq, passage, added FROM changes WHERE seq > ? ORDER BY seq LIMIT ?",
            *(after, limit),
        )
        return [Change(seq, passage, bool(added)) for seq, passage, added in rows]

    def last_change(self) -> int:
        """Give the number of the latest change; 0 if there was none. Read once per change."""
        return self._greatest("seq", "changes")

    def all_keys(self) -> NDArray[np.int64]:
        """List the keys of all passages, ascending, shape ``(n,)``."""
        # Sorted here, so that SQLite can read them from an index, without the texts.
        keys = self._database.column("SELECT key FROM passages")
        return np.sort(np.array(keys, dtype=np.int64))

    def existing(self, keys: Sequence[int]) -> NDArray[np.int64]:
        """List those of the keys that passages have, ascending."""
        present = self._database.column(
            f"SELECT key FROM passages WHERE {in_numbers('key')} ORDER BY key", key_list(keys)
        )
        return np.array(present, dtype=np.int64)

    def touched(self, after: int, until: int) -> NDArray[np.int64]:
        """Keys of the passages that changed from behind one change to another, ascending."""
        touched = self._database.column(
            "SELECT DISTINCT passage FROM changes WHERE seq > ? AND seq <= ? ORDER BY passage",
            *(after, until),
        )
        return np.array(touched, dtype=np.int64)

    def vectors(self, keys: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Read the vectors of those passages that exist.

        Returns:
            Their keys, ascending, shape ``(m,)``, and their vectors, shape ``(m, dim)``.
        """
        rows = self._database.rows(
            f"SELECT passage, vector FROM vectors WHERE {in_numbers('passage')} ORDER BY passage",
            key_list(keys),
        )
        present = np.array([key for key, _ in rows], dtype=np.int64)
        return present, _stacked(vector for _, vector in rows)

    def stored_vectors(self, keys: Sequence[int]) -> list[tuple[int, bytes | None]]:
        """Keys and vectors of passages as stored, damaged or not; None where there is no vector."""
        rows = self._database.rows(
            "SELECT key, vector FROM passages LEFT JOIN vectors ON passage = key "
            f"WHERE {in_numbers('key')}",
            key_list(keys),
        )
        return [(key, vector) for key, vector in rows]

    def has_vector(self, piece: bytes) -> bool:
        """Whether some passage has a vector of which these bytes are a part."""
        condition = holds_text("vector")
        return self._database.value(f"SELECT 1 FROM vectors WHERE {condition}", piece) is not None

    def vectors_of(self, records: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Read the vectors of records' passages: by record, shape ``(passages, dim)``."""
        rows = self._database.rows(
            f"SELECT records.id, vectors.vector FROM {listed('asked')} "
            "JOIN records ON records.id = asked.value "
            f"JOIN passages ON passages.record = records.number {_VECTORS} ORDER BY passages.key",
            list_parameter("ids", dict.fromkeys(records)),
        )
        vectors: dict[str, list[bytes]] = {}
        for id, vector in rows:
            vectors.setdefault(id, []).append(vector)
        return {id: _stacked(own) for id, own in vectors.items()}

    def by_scope(
        self,
        *,
        visible_to: Scope | None = None,
        within: Scope | None = None,
        where: Metadata | None = None,
    ) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Read the mean vector of each record's text passages, one scope after the other.

        Scope and filter are as for `RecordReads.page`.

        Yields:
            Ids in the order the records were added, and their vectors, shape ``(n, dim)``.
        """
        condition, parameters = select_sql(visible_to=visible_to, within=within, where=where)
        scopes = self._database.column(
            f"SELECT DISTINCT scope FROM records WHERE {condition} ORDER BY scope", *parameters
        )
        for scope in scopes:
            rows = self._database.rows(
                "SELECT records.id, vector FROM records "
                "JOIN passages ON passages.record = records.number AND passages.kind = 'text' "
                f"{_VECTORS} WHERE {condition} AND records.scope = ? ORDER BY records.number",
                *(*parameters, scope),
            )
            means = {
                id: np.mean([np.frombuffer(vector, "<f4") for _, vector in group], axis=0)
                for id, group in groupby(rows, key=itemgetter(0))
            }
            if means:
                yield list(means), np.stack(list(means.values())).astype(np.float32)

    def get(
        self,
        keys: Sequence[int],
        *,
        visible_to: Scope | None = None,
        where: Metadata | None = None,
        period: Period = ALWAYS,
    ) -> dict[int, Passage]:
        """Read those of some passages that a query may find, by key; not what has expired."""
        condition, parameters = select_sql(visible_to=visible_to, where=where, period=period)
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM {_WITH_RECORDS} "
            f"WHERE {in_numbers('passages.key')} AND {condition}",
            *(key_list(keys), *parameters),
        )
        return {row[0]: Passage(*row) for row in rows}

    def with_vectors(self, keys: Sequence[int]) -> tuple[dict[int, Passage], NDArray[np.float32]]:
        """Read passages as `get` does, by key, ascending, and their vectors, shape ``(n, dim)``."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS}, vectors.vector FROM {_WITH_RECORDS} {_VECTORS} "
            f"WHERE {LIVE} AND {in_numbers('passages.key')} ORDER BY passages.key",
            key_list(keys),
        )
        return {row[0]: Passage(*row[:-1]) for row in rows}, _stacked(row[-1] for row in rows)

    def keys(
        self, *, visible_to: Scope, where: Metadata | None, period: Period = ALWAYS
    ) -> NDArray[np.int64] | None:
        """Give the passages that a query may find, ascending; None if it may find all.

        What has expired is listed, too, so that the answer holds until something is written:
        `get` leaves it out.
        """
        if where is None and not period and not self._hides_any(visible_to):
            return None
        condition, parameters = select_sql(
            visible_to=visible_to, where=where, period=period, expired=True
        )
        keys = self._database.column(
            f"SELECT passages.key FROM {_WITH_RECORDS} WHERE {condition} ORDER BY passages.key",
            *parameters,
        )
        return np.array(keys, dtype=np.int64)

    def lexical(
        self,
        query: str,
        *,
        k: int,
        visible_to: Scope,
        where: Metadata | None,
        period: Period = ALWAYS,
    ) -> list[tuple[int, float]]:
        """`by_words` among what a query may find; see `keys`."""
        among = self.keys(visible_to=visible_to, where=where, period=period)
        return self.by_words(query, k=k, among=among)

    def by_words(
        self, query: str, *, k: int, among: NDArray[np.int64] | None
    ) -> list[tuple[int, float]]:
        """Find passages by their words, with BM25; common words of English count less.

        Where more than a few may be found, the most common words of the query count only as far
        as rarer ones leave room; docs/decisions/0007-fusion.md says what that costs.

        Args:
            query: Any text. A passage that has one of its words matches; English stop words
                count only if there is nothing else.
            k: At most this many.
            among: The passages that may be found, ascending, as `keys` gives them; None for all.

        Returns:
            Keys and scores, best first; a higher score is better, ties go by id of the record:
            a key would say when the record was last changed.
        """
        check_limit("k", k)
        few = among is not None and len(among) <= SCORED
        words = search_words(query)
        if not words:
            return []
        if self.count() > SCORED:
            words = self._rarest(words, FOUND if few else SCORED)
        chosen = among.tolist() if among is not None and few else None
        weights = dict(zip(words, word_weights(words), strict=True))
        rows = self._database.words.search(weights, chosen)
        keys = np.array([key for key, _ in rows], np.int64)
        scores = np.array([score for _, score in rows], np.float64)
        if among is not None and not few:
            allowed = np.isin(keys, among, assume_unique=True)
            keys, scores = keys[allowed], scores[allowed]
        best = np.lexsort((keys, -scores))
        if len(best) > k and scores[best[k - 1]] == (last := scores[best[k]]):
            best = np.concatenate(
                [best[scores[best] > last], self._by_record(keys, scores == last)]
            )
        best = best[:k]
        return list(zip(keys[best].tolist(), scores[best].tolist(), strict=True))

    def _by_record(self, keys: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Places of the chosen keys, in the order of their records' ids."""
        places = np.flatnonzero(chosen)
        ordered = self._database.column(
            f"SELECT passages.key FROM {_WITH_RECORDS} WHERE {in_numbers('passages.key')} "
            "ORDER BY records.id, kind, start",
            key_list(keys[places].tolist()),
        )
        place_of = dict(zip(keys[places].tolist(), places.tolist(), strict=True))
        return np.array([place_of[key] for key in ordered], np.int64)

    def each_word(
        self, words: Sequence[str], among: NDArray[np.int64]
    ) -> list[tuple[int, NDArray[np.int64], NDArray[np.float64]]]:
        """Look for each of some `search_words`, in some form, in a few passages; two reads.

        Returns:
            For each word: how many of all passages have it; the keys of those of the few that do,
            ascending, and their BM25 scores by the word alone, both of shape ``(n,)``.
        """
        counts = self._database.words.frequencies(words)
        hits = self._database.words.search_each(words, among.tolist())
        return [
            (
                count,
                np.array([key for key, _ in own], np.int64),
                np.array([score for _, score in own], np.float64),
            )
            for count, own in zip(counts, hits, strict=True)
        ]

    def _rarest(self, words: Sequence[str], room: int) -> list[str]:
        """The rarest of some words, at least one, that lead to so few passages together."""
        counts = self._database.words.frequencies(words)
        chosen: list[str] = []
        for count, word in sorted(zip(counts, words, strict=True)):
            room -= count
            if room < 0 and chosen:
                break
            chosen.append(word)
        return chosen

    def last_key(self) -> int:
        """Give the greatest key of all passages; 0 if there is none. Read once per change."""
        return self._greatest("key", "passages")

    def count(self, *, within: Scope | None = None) -> int:
        """Count the passages of a scope and narrower ones; None for all that are stored.

        All of them are counted once per change.
        """
        if within is None:
            count = self._database.count
            return self._database.cache.get("passages", lambda: count("passages"))
        condition, parameters = select_sql(within=within)
        return self._database.count(_WITH_RECORDS, condition, *parameters)

    def _greatest(self, column: str, table: str) -> int:
        sql = f"SELECT coalesce(max({column}), 0) FROM {table}"
        return self._database.cache.get(sql, lambda: int(self._database.value(sql)))

    def _hides_any(self, scope: Scope) -> bool:
        """Tell whether some record is invisible; jumps from scope to scope through the index."""
        condition, parameters = visible_sql("scope", scope)
        hidden = self._database.value(
            "WITH RECURSIVE scopes (scope) AS (SELECT min(scope) FROM records UNION ALL "
            "SELECT (SELECT min(scope) FROM records WHERE records.scope > scopes.scope) "
            "FROM scopes WHERE scopes.scope IS NOT NULL) "
            f"SELECT 1 FROM scopes WHERE scope IS NOT NULL AND NOT ({condition}) LIMIT 1",
            *parameters,
        )
        return hidden is not None


def _stacked(vectors: Iterable[bytes]) -> NDArray[np.float32]:
    """Stored vectors as an array, shape ``(n, dim)``; ``(0, 0)`` of none."""
    rows = list(vectors)
    if not all(isinstance(row, bytes) for row in rows) or len({len(row) for row in rows}) > 1:
        raise CorruptFileError(
            "expected vectors of one length in the ledger, it has something else in their place",
            "`memkit check --repair` embeds these records anew.",
        )
    flat = np.frombuffer(b"".join(rows), dtype="<f4")
    shape = (len(rows), len(flat) // len(rows)) if rows else (0, 0)
    return flat.astype(np.float32).reshape(shape)
