"""The words of passages in PostgreSQL: counts in tables, and the BM25 of SQLite's FTS5.

What a word becomes without its English ending is asked of FTS5 itself, in memory. PostgreSQL's
dictionaries cut otherwise ("analogy": one "analog", the other "analogi"), and both engines are to
find the same (docs/decisions/0016-postgresql.md).
"""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import lru_cache

from memkit.ledger.engine.database import Database, Row

# The constants of FTS5 (https://sqlite.org/fts5.html#the_bm25_function).
_K1, _B = 1.2, 0.75
_LEAST = 1e-6  # weight of a word that more than half of the passages have

# The scores of one word each; parameters: words, passages in all, their mean length. Materialized,
# or else how many passages have a word would be counted again for each of them.
_SCORED = f"""
    WITH asked AS MATERIALIZED (
        SELECT word, weight, place, (
            SELECT count(*) FROM word_counts WHERE word_counts.word = each.word
        )::float8 AS found
        FROM unnest(?::text[], ?::float8[]) WITH ORDINALITY AS each (word, weight, place)
    ), hits AS (
        SELECT place, passage, weight * greatest(ln((? - found + 0.5) / (found + 0.5)), {_LEAST})
            * (times * {_K1 + 1}::float8)
            / (times + {_K1}::float8 * ({1 - _B}::float8 + {_B}::float8 * length / ?)) AS score
        FROM asked JOIN word_counts USING (word)
        WHERE ?::bigint[] IS NULL OR passage = ANY (?::bigint[])
    )
"""
_ADD = """
    WITH lengths AS (
        INSERT INTO word_lengths SELECT * FROM unnest(?::bigint[], ?::integer[])
    )
    INSERT INTO word_counts
    SELECT * FROM unnest(?::text[], ?::bigint[], ?::integer[], ?::integer[])
"""


class CountedWords:
    """The words of the passages of a database in PostgreSQL, as a `WordIndex`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, words: Sequence[tuple[int, str]]) -> None:
        """As for every `WordIndex`."""
        keys, terms = [key for key, _ in words], stems([text for _, text in words])
        lengths = [own.total() for own in terms]
        rows = [
            (word, key, times, length)
            for key, own, length in zip(keys, terms, lengths, strict=True)
            for word, times in own.items()
        ]
        self._database.execute(
            _ADD, keys, lengths, *([row[column] for row in rows] for column in range(4))
        )

    def asked(self, word: str) -> str:
        """As for every `WordIndex`."""
        return stem(word)

    def search(self, weights: Mapping[str, float], among: Sequence[int] | None) -> list[Row]:
        """As for every `WordIndex`."""
        sql = f"{_SCORED} SELECT passage, sum(score ORDER BY place) FROM hits GROUP BY passage"
        return self._scored(sql, list(weights), list(weights.values()), among)

    def search_each(
        self, words: Sequence[str], among: Sequence[int]
    ) -> list[list[tuple[int, float]]]:
        """As for every `WordIndex`."""
        hits: list[list[tuple[int, float]]] = [[] for _ in words]
        sql = f"{_SCORED} SELECT place, passage, score FROM hits ORDER BY place, passage"
        for place, key, score in self._scored(sql, words, [1.0] * len(words), among):
            hits[place - 1].append((key, score))
        return hits

    def frequencies(self, words: Sequence[str]) -> list[int]:
        """As for every `WordIndex`."""
        return self._database.column(
            "SELECT (SELECT count(*) FROM word_counts WHERE word_counts.word = each.word) "
            "FROM unnest(?::text[]) WITH ORDINALITY AS each (word, place) ORDER BY place",
            [stem(word) for word in words],
        )

    def _scored(
        self, sql: str, words: Sequence[str], weights: Sequence[float], among: Sequence[int] | None
    ) -> list[Row]:
        passages, length = self._database.cache.get("word totals", self._totals)
        if not passages:
            return []
        keys = None if among is None else list(among)
        asked = [stem(word) for word in words]
        return self._database.rows(sql, asked, list(weights), passages, length, keys, keys)

    def _totals(self) -> tuple[float, float]:
        """How many passages there are, and how many words they have on average."""
        passages, words = self._database.rows(
            "SELECT count(*), coalesce(sum(length), 0)::bigint FROM word_lengths"
        )[0]
        return float(passages), words / passages if words else math.inf


def stems(texts: Sequence[str]) -> list[Counter[str]]:
    """The words of texts without their English endings, with how often each is there."""
    counts: list[Counter[str]] = [Counter() for _ in texts]
    with closing(sqlite3.connect(":memory:")) as memory:
        memory.execute("CREATE VIRTUAL TABLE texts USING fts5(words, tokenize='porter ascii')")
        memory.execute("CREATE VIRTUAL TABLE found USING fts5vocab(texts, instance)")
        memory.executemany("INSERT INTO texts (rowid, words) VALUES (?, ?)", enumerate(texts))
        for place, word in memory.execute("SELECT doc, term FROM found"):
            counts[place][word] += 1
    return counts


@lru_cache(maxsize=4096)
def stem(word: str) -> str:
    """One word without its English ending."""
    return next(iter(stems([word])[0]), "")
