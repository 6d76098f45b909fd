"""Which records have a word: what the adapter router weighs words by."""

# ruff: noqa: S608 - only constants are formatted into the SQL; what users say is a parameter

from __future__ import annotations

from collections.abc import Sequence

from memkit.ledger.engine.sqlite import Database, json_list
from memkit.ledger.records.where import select_sql
from memkit.types import Metadata, Period, Scope

_WORDS = 100  # looked up by one statement, well below SQLite's limit on compound ones


class Lexicon:
    """Words of records, as the full-text index of their passages knows them.

    Every look-up stops at a limit, so that a word that is in most records costs no more than
    one that is in a few.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def having(
        self,
        words: Sequence[str],
        *,
        limit: int,
        visible_to: Scope,
        where: Metadata | None,
        period: Period,
    ) -> dict[str, frozenset[str] | None]:
        """Ids of the records with each word, in any of its inflections; None for common words.

        Args:
            words: Each of letters, marks and figures only.
            limit: A word that is in more passages than this is common.
            visible_to: The query's scope.
            where: Metadata filter, or None.
            period: Only records of this time.
        """
        condition, parameters = select_sql(visible_to=visible_to, where=where, period=period)
        # CROSS JOIN keeps SQLite from starting with the records: the word comes first.
        with_word = (
            "SELECT * FROM (SELECT ?, records.id FROM passages_fts "
            "CROSS JOIN passages ON passages.key = passages_fts.rowid "
            "CROSS JOIN records ON records.rowid = passages.record "
            f"WHERE passages_fts MATCH ? AND {condition} LIMIT ?)"
        )
        having: dict[str, list[str]] = {word: [] for word in words}
        for start in range(0, len(words), _WORDS):
            some = words[start : start + _WORDS]
            rows = self._database.rows(
                " UNION ALL ".join([with_word] * len(some)),
                *(value for word in some for value in (word, f'"{word}"', *parameters, limit + 1)),
            )
            for word, id in rows:
                having[word].append(id)
        return {word: frozenset(ids) if len(ids) <= limit else None for word, ids in having.items()}

    def count(
        self, *, limit: int, visible_to: Scope, where: Metadata | None, period: Period
    ) -> int:
        """How many records a query may see; counts no further than ``limit``."""
        condition, parameters = select_sql(visible_to=visible_to, where=where, period=period)
        count = self._database.value(
            f"SELECT count(*) FROM (SELECT 1 FROM records WHERE {condition} LIMIT ?)",
            *parameters,
            limit,
        )
        return int(count)

    def keys(self, record_ids: Sequence[str]) -> dict[str, list[int]]:
        """The passages of those records that have any, by record."""
        rows = self._database.rows(
            "SELECT records.id, passages.key FROM records "
            "JOIN passages ON passages.record = records.rowid "
            "WHERE records.id IN (SELECT value FROM json_each(?)) ORDER BY passages.key",
            json_list("record_ids", record_ids),
        )
        found: dict[str, list[int]] = {}
        for id, key in rows:
            found.setdefault(id, []).append(key)
        return found
