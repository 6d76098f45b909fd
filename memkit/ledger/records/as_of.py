"""Records as they were: the versions that were current at some moment."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from memkit.ledger.engine.sqlite import Database
from memkit.ledger.records.filters import parse
from memkit.ledger.records.record_rows import COLUMNS, content_hash, record_of, time_of
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
        f"SELECT {COLUMNS}, versions.version, versions.text, versions.question, versions.answer, "
        "versions.metadata, versions.created_at, versions.said_at FROM records JOIN versions "
        "ON versions.record = records.number AND versions.version = (SELECT max(older.version) "
        "FROM versions AS older WHERE older.record = records.number AND older.created_at <= ?) "
        f"WHERE records.updated_at > ? AND {condition} AND {filtered} ORDER BY records.number",
        *(moment.timestamp(), moment.timestamp(), *parameters, *operands),
    )
    records = []
    for row in rows:
        version, text, question, answer, metadata, written, said_at = row[-7:]
        record = replace(
            record_of(row),
            text=text,
            question=question,
            answer=answer,
            metadata=json.loads(metadata),
            version=version,
            content_hash=content_hash(text, question, answer),
            updated_at=datetime.fromtimestamp(written, UTC),
            said_at=time_of(said_at),
        )
        if _within(record.at, period):
            records.append(record)
    return records


def _within(at: datetime, period: Period) -> bool:
    early = period.since is not None and at < period.since
    late = period.until is not None and at >= period.until
    return not early and not late
