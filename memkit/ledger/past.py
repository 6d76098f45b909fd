"""Records as they were: the versions that were current at some moment."""

# ruff: noqa: S608 - only constants are formatted into the SQL; what users say is a parameter
from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from memkit.ledger import filters
from memkit.ledger.database import Database
from memkit.ledger.entries import COLUMNS, content_hash, record_of
from memkit.ledger.selection import select_sql
from memkit.types import Metadata, Period, Record, Scope


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
        "versions.metadata, versions.created_at FROM records JOIN versions "
        "ON versions.record = records.rowid AND versions.version = (SELECT max(older.version) "
        "FROM versions AS older WHERE older.record = records.rowid AND older.created_at <= ?1) "
        f"WHERE records.updated_at > ?1 AND {condition} AND {filtered} ORDER BY records.rowid",
        *(moment.timestamp(), *parameters, *operands),
    )
    found = []
    for row in rows:
        version, text, question, answer, metadata, written = row[-6:]
        record = replace(
            record_of(row),
            text=text,
            question=question,
            answer=answer,
            metadata=json.loads(metadata),
            version=version,
            content_hash=content_hash(text, question, answer),
            updated_at=datetime.fromtimestamp(written, UTC),
            said_at=None,
        )
        if _within(record.at, period):
            found.append(record)
    return found


def _within(at: datetime, period: Period) -> bool:
    early = period.since is not None and at < period.since
    late = period.until is not None and at >= period.until
    return not early and not late
