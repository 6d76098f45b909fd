"""The words of passages: SQLite's FTS5.

It is given `memkit.text.scripts.terms`, which the column ``words`` of passages holds, and cuts
them at blanks; English endings are its own. So SQLite's idea of what a letter is plays no part.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing

from memkit.errors import CorruptFileError
from memkit.ledger.engine.database import Database, Row
from memkit.ledger.engine.dialect import WORDS, in_numbers, list_parameter

TABLE = """
    CREATE VIRTUAL TABLE passages_fts USING fts5(
        words, content='passages', content_rowid='key', tokenize='porter ascii'
    )
"""
SQLITE = sqlite3.sqlite_version
# What the triggers of passages do.
ADD = "INSERT INTO passages_fts (rowid, words) VALUES (new.key, new.words);"
REMOVE = (
    "INSERT INTO passages_fts (passages_fts, rowid, words) VALUES ('delete', old.key, old.words);"
)


def query(words: Iterable[str]) -> str:
    """Write the query for any of some `memkit.text.words.search_words`, in any inflection."""
    return " OR ".join(f'"{word}"' for word in words)


class Fts5Words:
    """The words of the passages of a database in SQLite, as a `WordIndex`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, words: Sequence[tuple[int, str]]) -> None:
        """Nothing is left to do: triggers of the passages have taken them in."""

    def asked(self, word: str) -> str:
        """As for every `WordIndex`."""
        return query([word])

    def search(self, weights: Mapping[str, float], among: Sequence[int] | None) -> list[Row]:
        """As for every `WordIndex`."""
        alike: dict[float, list[str]] = {}
        for word, weight in weights.items():
            alike.setdefault(weight, []).append(word)
        # The plus sign keeps SQLite from asking the word index for each of the keys.
        chosen = "" if among is None else f" AND {in_numbers('+rowid')}"
        keys = [] if among is None else [list_parameter("among", among)]
        each = (
            "SELECT rowid AS key, ? * -bm25(passages_fts) AS score "
            f"FROM passages_fts WHERE passages_fts MATCH ?{chosen}"
        )
        # Materialized, as bm25() cannot be used where rows are grouped.
        return self._database.rows(
            f"WITH hits AS MATERIALIZED ({' UNION ALL '.join([each] * len(alike))}) "
            "SELECT key, sum(score) FROM hits GROUP BY key",
            *(value for weight in alike for value in (weight, query(alike[weight]), *keys)),
        )

    def search_each(
        self, words: Sequence[str], among: Sequence[int]
    ) -> list[list[tuple[int, float]]]:
        """As for every `WordIndex`."""
        keys = list_parameter("among", among)
        hits: list[list[tuple[int, float]]] = [[] for _ in words]
        rows = self._for_each(
            words,
            "SELECT ?, rowid, -bm25(passages_fts) FROM passages_fts "
            f"WHERE passages_fts MATCH ? AND {in_numbers('+rowid')}",
            keys,
        )
        for place, key, score in sorted(rows):
            hits[place].append((key, score))
        return hits

    def frequencies(self, words: Sequence[str]) -> list[int]:
        """As for every `WordIndex`."""
        rows = self._for_each(
            words, "SELECT ?, count(*) FROM passages_fts WHERE passages_fts MATCH ?"
        )
        return [count for _, count in sorted(rows)]

    def _for_each(self, words: Sequence[str], sql: str, *parameters: object) -> list[Row]:
        """Rows of one statement for each word; its first parameters are place and query."""
        rows: list[Row] = []
        for start in range(0, len(words), WORDS):
            places = range(start, min(start + WORDS, len(words)))
            values = (value for at in places for value in (at, query([words[at]]), *parameters))
            rows += self._database.rows(" UNION ALL ".join([sql] * len(places)), *values)
        return rows


def missing() -> str:
    """Say why this Python's SQLite cannot index words; empty if it can."""
    try:
        with closing(sqlite3.connect(":memory:")) as database:
            database.execute("CREATE VIRTUAL TABLE probe USING fts5(words)")
    except sqlite3.Error as error:
        return str(error)
    return ""


def optimize(database: Database) -> None:
    """Merge the index, so that the words of deleted texts leave it."""
    _command(database, "optimize")


def rebuild(database: Database) -> None:
    """Make the index anew from the passages."""
    _command(database, "rebuild")


def _command(database: Database, name: str) -> None:
    with database.transaction():
        database.execute("INSERT INTO passages_fts (passages_fts) VALUES (?)", name)


def is_sound(database: Database) -> bool:
    """Whether the index has the words of the passages; the database must be writable."""
    try:
        # The command writes nothing; with 1 it compares with the passages, too.
        database.execute(
            "INSERT INTO passages_fts (passages_fts, rank) VALUES ('integrity-check', 1)"
        )
    except CorruptFileError:
        return False
    return True
