"""The words of passages: SQLite's FTS5.

It is given `memkit.text.scripts.terms`, which the column ``words`` of passages holds, and cuts
them at blanks; English endings are its own. So SQLite's idea of what a letter is plays no part.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing

from memkit.errors import CorruptFileError
from memkit.ledger.engine.dialect import in_list, list_parameter
from memkit.ledger.engine.sqlite import Database, Row

TABLE = """
    CREATE VIRTUAL TABLE passages_fts USING fts5(
        words, content='passages', content_rowid='key', tokenize='porter ascii'
    )
"""
SQLITE = sqlite3.sqlite_version
WORDS = 100  # that one statement looks up, well below SQLite's limit on compound ones
# What the triggers of passages do.
ADD = "INSERT INTO passages_fts (rowid, words) VALUES (new.key, new.words);"
REMOVE = (
    "INSERT INTO passages_fts (passages_fts, rowid, words) VALUES ('delete', old.key, old.words);"
)

# Passages that match a `query`, its parameter, as a table with their keys.
MATCHING = "(SELECT rowid AS key FROM passages_fts WHERE passages_fts MATCH ?) AS matching"


def query(words: Iterable[str]) -> str:
    """Write the query for any of some `memkit.text.words.search_words`, in any inflection."""
    return " OR ".join(f'"{word}"' for word in words)


def search(
    database: Database, weights: Mapping[str, float], among: Sequence[int] | None
) -> list[Row]:
    """Find the passages that have one of some words, among all or among those of some keys.

    Returns:
        Their keys and the sums of each word's BM25 score times its weight, a higher one is
        better, in no order.
    """
    alike: dict[float, list[str]] = {}
    for word, weight in weights.items():
        alike.setdefault(weight, []).append(word)
    # The plus sign keeps SQLite from asking the word index for each of the keys.
    chosen = "" if among is None else f" AND {in_list('+rowid')}"
    keys = [] if among is None else [list_parameter("among", among)]
    each = (
        "SELECT rowid AS key, ? * -bm25(passages_fts) AS score "
        f"FROM passages_fts WHERE passages_fts MATCH ?{chosen}"
    )
    # Materialized, as bm25() cannot be used where rows are grouped.
    return database.rows(
        f"WITH hits AS MATERIALIZED ({' UNION ALL '.join([each] * len(alike))}) "
        "SELECT key, sum(score) FROM hits GROUP BY key",
        *(value for weight in alike for value in (weight, query(alike[weight]), *keys)),
    )


def search_each(
    database: Database, words: Sequence[str], among: Sequence[int]
) -> list[list[tuple[int, float]]]:
    """Find for each of some words those of a few passages that have it, in one read.

    Returns:
        For each word, keys in ascending order and BM25 scores by the word alone.
    """
    keys = list_parameter("among", among)
    hits: list[list[tuple[int, float]]] = [[] for _ in words]
    rows = _for_each(
        database,
        words,
        "SELECT ?, rowid, -bm25(passages_fts) FROM passages_fts "
        f"WHERE passages_fts MATCH ? AND {in_list('+rowid')}",
        keys,
    )
    for place, key, score in sorted(rows):
        hits[place].append((key, score))
    return hits


def frequencies(database: Database, words: Sequence[str]) -> list[int]:
    """How many passages have each of some words in some form; far cheaper than their scores."""
    rows = _for_each(
        database, words, "SELECT ?, count(*) FROM passages_fts WHERE passages_fts MATCH ?"
    )
    return [count for _, count in sorted(rows)]


def _for_each(database: Database, words: Sequence[str], sql: str, *parameters: object) -> list[Row]:
    """Rows of one statement for each word; its first parameters are the word's place and query."""
    rows: list[Row] = []
    for start in range(0, len(words), WORDS):
        places = range(start, min(start + WORDS, len(words)))
        values = (value for at in places for value in (at, query([words[at]]), *parameters))
        rows += database.rows(" UNION ALL ".join([sql] * len(places)), *values)
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
