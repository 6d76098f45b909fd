"""Records as they were: the versions that were current at some moment."""

# ruff: noqa: S608 - only constants are formatted into the SQL; what users say is a parameter

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from memkit.ledger.engine.sqlite import Database
from memkit.ledger.records import filters
from memkit.ledger.records.record_rows import COLUMNS, content_hash, record_of, time_of
from memkit.ledger.records.where import select_sql
from memkit.types import Metadata, Period, Record, Scope

# When a version was said, and when a turn was added. Of ledgers from before, older versions know
# the former as far as something else still does: the current version, if all from then on differ
# from it in their metadata alone, or the turn in which it was said.
MIGRATION = (
    "ALTER TABLE versions ADD COLUMN said_at REAL",
    """
    UPDATE versions SET said_at = records.said_at FROM records
    WHERE records.rowid = versions.record AND NOT EXISTS (
        SELECT 1 FROM versions AS later
        WHERE later.record = versions.record AND later.version >= versions.version
        AND (later.text, later.question, later.answer)
            IS NOT (records.text, records.question, records.answer)
    )
    """,
    """
    UPDATE versions SET said_at = (
        SELECT created_at FROM turns
        WHERE turns.record = versions.record AND turns.content = versions.text
        ORDER BY turns.rowid LIMIT 1
    ) WHERE said_at IS NULL AND question IS NULL
    """,
    "ALTER TABLE turns ADD COLUMN added_at REAL",
    # A record's time has more digits than that of the turn that was added with it.
    """
    UPDATE turns SET added_at = coalesce((
        SELECT records.created_at FROM records
        WHERE records.rowid = turns.record AND records.created_at > turns.created_at + 0.001
    ), created_at)
    """,
)


def changed_since(
    database: Database, moment: datetime, *, visible_to: Scope, where: Metadata, period: Period
) -> list[Record]:
    """List the records that have changed since a moment, as they were then.

    Args:
        database: The ledger's.
        moment: What was written then counts.
        visible_to: Only what a query of this scope sees.
        where: Must hold for the metadata that they had.
        period: What they said has to be of this time.
    """
    condition, parameters = select_sql(visible_to=visible_to)
    filtered, operands = filters.compile(where, column="versions.metadata")
    rows = database.rows(
        f"SELECT {COLUMNS}, versions.version, versions.text, versions.question, versions.answer, "
        "versions.metadata, versions.created_at, versions.said_at FROM records JOIN versions "
        "ON versions.record = records.rowid AND versions.version = (SELECT max(older.version) "
        "FROM versions AS older WHERE older.record = records.rowid AND older.created_at <= ?1) "
        f"WHERE records.updated_at > ?1 AND {condition} AND {filtered} ORDER BY records.rowid",
        *(moment.timestamp(), *parameters, *operands),
    )
    found = []
    for row in rows:
        version, text, question, answer, metadata, written, said = row[-7:]
        record = replace(
            record_of(row),
            text=text,
            question=question,
            answer=answer,
            metadata=json.loads(metadata),
            version=version,
            content_hash=content_hash(text, question, answer),
            updated_at=datetime.fromtimestamp(written, UTC),
            said_at=time_of(said),
        )
        if _within(record.at, period):
            found.append(record)
    return found


def _within(at: datetime, period: Period) -> bool:
    early = period.since is not None and at < period.since
    late = period.until is not None and at >= period.until
    return not early and not late
