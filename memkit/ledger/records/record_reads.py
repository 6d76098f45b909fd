"""Looking at records: what is there, for whom, and what it was."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from memkit.errors import InvalidInputError, RecordNotFoundError
from memkit.ledger.engine.checksums import checked_columns
from memkit.ledger.engine.database import Database, Row
from memkit.ledger.engine.dialect import NOW, THEN_JOIN, holds_text, in_list, list_parameter
from memkit.ledger.records.record_rows import COLUMNS, current_version, record_of, version_of
from memkit.ledger.records.where import AT, EXPIRED, LIVE, beginning_sql, select_sql
from memkit.types import ALWAYS, Metadata, Page, Period, Record, Scope, Version
from memkit.types.validate import check_id, check_ids, check_limit, describe, normal_form

_NAMED = 5  # unknown ids in an error

# Where users' texts are; what is made of these is not listed.
_TEXTS = {
    "records": ("text", "question", "answer", "metadata", "scope", "id", "key"),
    "versions": ("text", "question", "answer", "metadata"),
    "turns": ("content",),
    "examples": ("question", "answer"),
    "items": ("value", "key"),
}


class RecordReads:
    """The part of `memkit.ledger.records.record_table.RecordTable` that changes nothing.

    What has expired is not there, unless it is asked for.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def ages(self, ids: Sequence[str]) -> dict[str, float]:
        """Seconds since each record was said or written; see `Record.at`."""
        rows = self._database.rows(
            f"SELECT id, {NOW} - {AT} FROM records WHERE {in_list('id')} AND {LIVE}",
            list_parameter("ids", ids),
        )
        return dict(rows)

    def get(
        self,
        ids: Sequence[str],
        *,
        scope: Scope | None = None,
        within: Scope | None = None,
        expired: bool = False,
    ) -> list[Record]:
        """Give records in the order asked.

        Args:
            ids: May repeat. The id of a turn gives the record that it became.
            scope: The scope of the query that wants to see them; None sees everything.
            within: Only records of this scope and narrower ones; None for all.
            expired: Also what has expired and waits for its destruction.

        Raises:
            RecordNotFoundError: If one is missing, expired or not visible; which is not told.
        """
        ids, rows = self._resolved(check_ids("ids", ids), scope, within, expired=expired)
        _refuse_missing(ids, rows)
        return [record_of(rows[id]) for id in ids]

    def resolve(
        self,
        ids: Sequence[str],
        *,
        scope: Scope | None = None,
        within: Scope | None = None,
        expired: bool = False,
    ) -> Sequence[str]:
        """Give the ids of the records that `get` would give, without reading what they say."""
        ids, rows = self._resolved(check_ids("ids", ids), scope, within, expired=expired)
        _refuse_missing(ids, rows)
        return ids

    def find(self, ids: Sequence[str], *, scope: Scope | None = None) -> list[Record]:
        """Like `get`, but what is missing or not visible is left out."""
        ids, rows = self._resolved(check_ids("ids", ids), scope)
        return [record_of(rows[id]) for id in ids if id in rows]

    def beginning(
        self, prefix: str, *, scope: Scope | None = None, limit: int = 100
    ) -> list[Record]:
        """List the first records, by id, whose id begins with a prefix; ``scope`` as for `get`.

        Raises:
            InvalidInputError: If the prefix or the limit is malformed.
        """
        check_limit("limit", limit)
        begins, bounds = beginning_sql("records.id", check_id("prefix", prefix))
        condition, parameters = select_sql(visible_to=scope)
        rows = self._database.rows(
            f"SELECT {COLUMNS} FROM records WHERE {begins} AND {condition} "
            "ORDER BY records.id LIMIT ?",
            *(*bounds, *parameters, limit),
        )
        return [record_of(row) for row in rows]

    def has(self, id: object, *, scope: Scope | None = None) -> bool:
        """Whether `get` would give a record; what cannot be an id is that of none."""
        try:
            return isinstance(id, str) and bool(self.find([id], scope=scope))
        except InvalidInputError:
            return False

    def history(self, id: str) -> list[Version]:
        """List the versions of a record, expired or not, oldest first, the current one last.

        Raises:
            RecordNotFoundError: If there is no such record.
        """
        [record] = self.get([id], expired=True)
        rows = self._database.rows(
            f"SELECT {checked_columns('versions')} FROM versions "
            "WHERE record = (SELECT number FROM records WHERE id = ?) ORDER BY version",
            record.id,
        )
        return [*(version_of(record.id, row) for row in rows), current_version(record)]

    def ever_said(self, ids: Sequence[str]) -> tuple[int, list[str]]:
        """Count the versions of records, and give all their texts, as they are found."""
        theirs, columns = in_list("id"), "text, question, answer"
        wanted = list_parameter("ids", ids)
        rows = self._database.rows(
            f"SELECT {columns} FROM versions "
            f"WHERE record IN (SELECT number FROM records WHERE {theirs}) "
            f"UNION ALL SELECT {columns} FROM records WHERE {theirs}",
            *(wanted, wanted),
        )
        return len(rows), [text for row in rows for text in row if text and isinstance(text, str)]

    def page(
        self,
        *,
        visible_to: Scope | None = None,
        within: Scope | None = None,
        where: Metadata | None = None,
        period: Period = ALWAYS,
        after: str | None = None,
        limit: int = 100,
    ) -> Page:
        """List records in the order they were added; what bounds them is as for `select_sql`.

        ``after`` is `Page.next` of the page before, of at most ``limit`` records.

        Raises:
            InvalidInputError: If the filter, cursor or limit is malformed.
        """
        check_limit("limit", limit)
        condition, parameters = select_sql(
            visible_to=visible_to, within=within, where=where, period=period
        )
        rows = self._database.rows(
            f"SELECT {COLUMNS}, records.number FROM records "
            f"WHERE {condition} AND records.number > ? ORDER BY records.number LIMIT ?",
            *(*parameters, _cursor(after), limit + 1),
        )
        more = len(rows) > limit
        rows = rows[:limit]
        return Page(tuple(map(record_of, rows)), str(rows[-1][-1]) if more else None)

    def ids(
        self,
        *,
        visible_to: Scope | None = None,
        within: Scope | None = None,
        where: Metadata | None = None,
        period: Period = ALWAYS,
        expired: bool = False,
    ) -> list[str]:
        """List ids in the order the records were added; arguments as for `page` and `get`."""
        condition, parameters = select_sql(
            visible_to=visible_to, within=within, where=where, period=period, expired=expired
        )
        return self._database.column(
            f"SELECT records.id FROM records WHERE {condition} ORDER BY records.number", *parameters
        )

    def existing(self, ids: Iterable[str], *, expired: bool = False) -> list[str]:
        """List those of the ids that records have; ``expired`` as for `get`."""
        condition, _ = select_sql(expired=expired)
        return self._database.column(
            f"SELECT id FROM records WHERE {condition} AND {in_list('id')} ORDER BY number",
            list_parameter("ids", (normal_form(id) for id in ids if "\0" not in id)),
        )

    def expired(self) -> list[str]:
        """List the ids of the records that have expired and wait for their destruction."""
        return self._database.column(f"SELECT id FROM records WHERE {EXPIRED} ORDER BY number")

    def pinned(
        self, *, visible_to: Scope, where: Metadata | None = None, period: Period = ALWAYS
    ) -> list[Record]:
        """List the pinned records that a query sees, by id; read once per change."""
        condition, parameters = select_sql(visible_to=visible_to, where=where, period=period)

        def read() -> list[Record]:
            sql = f"SELECT {COLUMNS} FROM records WHERE pinned AND {condition}"
            rows = self._database.rows(f"{sql} ORDER BY records.id", *parameters)
            return list(map(record_of, rows))

        key = ("pinned", condition, *parameters)
        return list(self._database.cache.get(key, read, expires=True))

    def has_text(self, text: str) -> bool:
        """Tell whether any record, version, turn, example, item or the schema has a text.

        Whatever is in the file counts, expired or not.
        """
        tables = (
            f"SELECT 1 FROM {table} WHERE {' OR '.join(map(holds_text, columns))}"
            for table, columns in _TEXTS.items()
        )
        texts = [text] * sum(map(len, _TEXTS.values()))
        match = self._database.value(f"{' UNION ALL '.join(tables)} LIMIT 1", *texts)
        return match is not None or self._database.schema_has(text)

    def count(
        self,
        *,
        visible_to: Scope | None = None,
        within: Scope | None = None,
        where: Metadata | None = None,
    ) -> int:
        """Count records; what bounds them is as for `page`."""
        if where is not None:
            return len(self.ids(visible_to=visible_to, within=within, where=where))
        condition, parameters = select_sql(visible_to=visible_to, within=within)
        return self._database.count("records", condition, *parameters)

    def scopes(self) -> set[str]:
        """Stored forms of the scopes that have records."""
        return set(self._database.column(f"SELECT DISTINCT scope FROM records WHERE {LIVE}"))

    def count_by_scope(self) -> dict[str, int]:
        """How many records each scope has itself, by its stored form."""
        rows = self._database.rows(
            f"SELECT scope, count(*) FROM records WHERE {LIVE} GROUP BY scope ORDER BY scope"
        )
        return dict(rows)

    def count_versions(self, *, within: Scope | None = None) -> int:
        """Count all versions of those records, the current ones included."""
        condition, parameters = select_sql(within=within)
        sources = "versions JOIN records ON records.number = versions.record"
        older = self._database.count(sources, condition, *parameters)
        return self.count(within=within) + older

    def count_expired(self, *, within: Scope | None = None) -> int:
        """Count what of a scope has expired and waits for its destruction."""
        condition, parameters = select_sql(within=within, expired=True)
        return self._database.count("records", f"{EXPIRED} AND {condition}", *parameters)

    def unindexed(self, limit: int) -> list[Record]:
        """List records that have no passage yet, oldest first."""
        check_limit("limit", limit)
        rows = self._database.rows(
            f"SELECT {COLUMNS} FROM unindexed {THEN_JOIN} records "
            f"ON records.number = unindexed.record WHERE {LIVE} ORDER BY unindexed.record LIMIT ?",
            limit,
        )
        return [record_of(row) for row in rows]

    def count_unindexed(self) -> int:
        """Count the records that have no passage yet, expired or not."""
        return self._database.count("unindexed")

    def _resolved(
        self,
        ids: Sequence[str],
        scope: Scope | None,
        within: Scope | None = None,
        *,
        expired: bool = False,
    ) -> tuple[Sequence[str], dict[str, Row]]:
        """The ids, those of turns replaced by those of their records; and the rows by id."""
        rows = self._rows(ids, scope, within, expired=expired)
        missing = [id for id in ids if id not in rows]
        if not missing:
            return ids, rows
        of_turns: dict[str, str] = dict(
            self._database.rows(
                "SELECT turns.id, records.id FROM turns "
                f"JOIN records ON records.number = turns.record WHERE {in_list('turns.id')}",
                list_parameter("ids", missing),
            )
        )
        rows |= self._rows(list(of_turns.values()), scope, within, expired=expired)
        return [of_turns.get(id, id) for id in ids], rows

    def _rows(
        self,
        ids: Sequence[str],
        scope: Scope | None,
        within: Scope | None = None,
        *,
        expired: bool = False,
    ) -> dict[str, Row]:
        """The rows of those of the ids that ``scope`` may see."""
        condition, parameters = select_sql(visible_to=scope, within=within, expired=expired)
        rows = self._database.rows(
            f"SELECT {COLUMNS} FROM records WHERE {condition} AND {in_list('id')}",
            *parameters,
            list_parameter("ids", ids),
        )
        return {row[0]: row for row in rows}


def _refuse_missing(ids: Sequence[str], rows: Mapping[str, Row]) -> None:
    if missing := list(dict.fromkeys(id for id in ids if id not in rows)):
        more = f" and {len(missing) - _NAMED} more" if missing[_NAMED:] else ""
        raise RecordNotFoundError(
            f"no record has the id {', nor '.join(map(repr, missing[:_NAMED]))}{more}",
            "Check the id and the scope; a forgotten record is gone for good, and not every "
            "turn became a record.",
        )


def _cursor(after: str | None) -> int:
    if after is None:
        return 0
    if not isinstance(after, str) or re.fullmatch("[0-9]{1,40}", after) is None:
        raise InvalidInputError(
            f"`after` must be the `next` of a page, got {describe(after)}", "Start without `after`."
        )
    return min(int(after), 2**63 - 1)
