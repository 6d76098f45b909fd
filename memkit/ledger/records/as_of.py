"""Records as they were: the versions that were current at some moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from memkit.ledger.engine.checksums import checked_columns
from memkit.ledger.engine.database import Database
from memkit.ledger.records.filters import parse
from memkit.ledger.records.record_rows import COLUMNS, WIDTH, content_hash, record_of, version_of
from memkit.ledger.records.where import select_sql
from memkit.types import Metadata, Period, Record, Scope


def changed_since(
    database: Database, moment: datetime, *, visible_to: Scope, where: Metadata, period: Period
) -> list[Record]:
    """List the records that have changed since a moment, as they were then.

    Scope, filter and time bound them as for `select_sql`, by the metadata and the time that they
    had.
    """
    condition, parameters = select_sql(visible_to=visible_to)
    filtered, operands = parse(where).sql("versions.metadata")
    rows = database.rows(
        f"SELECT {COLUMNS}, {checked_columns('versions')} FROM records JOIN versions "
        "ON versions.record = records.number AND versions.version = (SELECT max(older.version) "
        "FROM versions AS older WHERE older.record = records.number AND older.created_at <= ?) "
        f"WHERE records.updated_at > ? AND {condition} AND {filtered} ORDER BY records.number",
        *(moment.timestamp(), moment.timestamp(), *parameters, *operands),
    )
    records = []
    for row in rows:
        record = record_of(row)
        then = version_of(record.id, row[WIDTH:])
        record = replace(
            record,
            text=then.text,
            question=then.question,
            answer=then.answer,
            metadata=then.metadata,
            version=then.version,
            content_hash=content_hash(then.text, then.question, then.answer),
            updated_at=then.created_at,
            said_at=then.said_at,
        )
        if _within(record.at, period):
            records.append(record)
    return records


def _within(at: datetime, period: Period) -> bool:
    early = period.since is not None and at < period.since
    late = period.until is not None and at >= period.until
    return not early and not late
