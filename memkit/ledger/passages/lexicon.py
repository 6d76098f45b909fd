"""Which records have a word: what the adapter router weighs words by."""

from __future__ import annotations

from collections.abc import Sequence

from memkit.ledger.engine.database import Database
from memkit.ledger.engine.dialect import MATCHING, THEN_JOIN, WORDS, in_list, list_parameter
from memkit.ledger.records.where import select_sql
from memkit.types import Metadata, Period, Scope


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
        """Ids of the records with each word, in any of its inflections, in one read.

        A word, letters and figures only, that is in more than ``limit`` passages is common and has
        None. Scope, filter and time bound what is counted as for `select_sql`.
        """
        condition, bounds = select_sql(visible_to=visible_to, where=where, period=period)
        with_word = (
            f"SELECT * FROM (SELECT ? AS word, records.id FROM {MATCHING} "
            f"{THEN_JOIN} passages ON passages.key = matching.key "
            f"{THEN_JOIN} records ON records.number = passages.record "
            f"WHERE {condition} LIMIT ?) AS hits"
        )
        ids: dict[str, list[str]] = {word: [] for word in words}
        asked = self._database.words.asked
        for start in range(0, len(words), WORDS):
            batch = words[start : start + WORDS]
            rows = self._database.rows(
                " UNION ALL ".join([with_word] * len(batch)),
                *(v for w in batch for v in (w, asked(w), *bounds, limit + 1)),
            )
            for word, id in rows:
                ids[word].append(id)
        return {w: frozenset(own) if len(own) <= limit else None for w, own in ids.items()}

    def count(
        self, *, limit: int, visible_to: Scope, where: Metadata | None, period: Period
    ) -> int:
        """How many records a query may see, at most ``limit``; counted once per change."""
        condition, parameters = select_sql(visible_to=visible_to, where=where, period=period)
        sql = f"SELECT count(*) FROM (SELECT 1 FROM records WHERE {condition} LIMIT ?) AS records"
        key = ("count", condition, *parameters, limit)
        return self._database.cache.get(
            key, lambda: int(self._database.value(sql, *parameters, limit)), expires=True
        )

    def keys(self, record_ids: Sequence[str]) -> dict[str, list[int]]:
        """The passages of those records that have any, by record."""
        rows = self._database.rows(
            "SELECT records.id, passages.key FROM records "
            "JOIN passages ON passages.record = records.number "
            f"WHERE {in_list('records.id')} ORDER BY passages.key",
            list_parameter("record_ids", record_ids),
        )
        keys: dict[str, list[int]] = {}
        for id, key in rows:
            keys.setdefault(id, []).append(key)
        return keys
