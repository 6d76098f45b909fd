"""Making one record of several."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from memkit.errors import InvalidInputError
from memkit.ledger.engine.checksums import amended, checked_columns, stamp, verify
from memkit.ledger.engine.database import Database
from memkit.ledger.engine.dialect import in_list, list_parameter
from memkit.types import Record
from memkit.types.scope import scope_key

_CHOSEN = f"SELECT number FROM records WHERE {in_list('id')}"


def survivor(records: Sequence[Record]) -> Record:
    """Choose of records, oldest first, the one that stays: the pinned one or the newest.

    Raises:
        InvalidInputError: If they do not go together.
    """
    if len(records) < 2:
        raise InvalidInputError(f"expected at least two records to merge, got {len(records)}")
    scopes = {tuple(sorted(record.scope.items())) for record in records}
    if len(scopes) > 1:
        raise InvalidInputError(
            f"expected records of one scope, got those of {sorted(map(dict, scopes), key=str)}",
            "Records of different scopes are for different readers.",
        )
    pinned = [record for record in records if record.pinned]
    if len(pinned) > 1:
        raise InvalidInputError(
            f"more than one of the records is pinned: {[record.id for record in pinned]}",
            "Unpin all but one.",
        )
    expiring = [record.id for record in records if record.expires_at is not None]
    if pinned and expiring:
        raise InvalidInputError(
            f"records {expiring} expire, and the pinned record {pinned[0].id!r} does not",
            "Their texts would outlive their time in its history; forget them instead.",
        )
    return pinned[0] if pinned else max(records[::-1], key=lambda record: record.updated_at)


def merge(database: Database, surviving: Record, others: Sequence[Record]) -> None:
    """Make other records part of the history of one; runs inside a transaction."""
    everyone = [surviving, *others]
    _put_into_history(database, surviving, everyone)
    merged = list_parameter("ids", [record.id for record in others])
    with amended(database, "turns", f"record IN ({_CHOSEN})", merged):
        database.execute(
            "UPDATE turns SET record = (SELECT number FROM records WHERE id = ?) "
            f"WHERE record IN ({_CHOSEN})",
            *(surviving.id, merged),
        )
    same_version = (
        "FROM members AS other WHERE other.module = members.module "
        "AND other.version = members.version"
    )
    # Weights that were trained on the others go when the one that is left is forgotten.
    everyones = list_parameter("ids", [record.id for record in everyone])
    for row in database.rows(
        f"SELECT {checked_columns('members')} FROM members WHERE {in_list('record')}", everyones
    ):
        verify("members", row)
    database.execute(
        f"UPDATE members SET record = ? WHERE {in_list('record')} "
        f"AND NOT EXISTS (SELECT 1 {same_version} AND other.record = ?) "
        f"AND position = (SELECT min(position) {same_version} AND {in_list('other.record')})",
        *(surviving.id, merged, surviving.id, merged),
    )
    stamp(database, "members", "record = ?", surviving.id)
    database.execute(f"DELETE FROM members WHERE {in_list('record')}", merged)
    database.execute(f"DELETE FROM records WHERE number IN ({_CHOSEN})", merged)
    ends = [record.expires_at for record in everyone if record.expires_at is not None]
    database.execute(
        "UPDATE records SET key = ?, created_at = ?, expires_at = ?, version = "
        "1 + (SELECT count(*) FROM versions WHERE record = records.number) WHERE id = ?",
        _key(database, surviving, others),
        min(record.created_at for record in everyone).timestamp(),
        min(ends).timestamp() if ends else None,
        surviving.id,
    )
    stamp(database, "records", "id = ?", surviving.id)


def _key(database: Database, surviving: Record, others: Sequence[Record]) -> str | None:
    """The key of the record that is left: its own, or else the first of the others'."""
    [own] = database.column("SELECT key FROM records WHERE id = ?", surviving.id)
    keys = [record.key for record in others if record.key is not None]
    if surviving.key is not None or not keys:
        return None if own is None else str(own)
    sql = "SELECT 1 FROM records WHERE scope = ? AND key = ?"
    taken = database.value(sql, scope_key(surviving.scope), keys[0]) is not None
    return own if taken else keys[0]


def _put_into_history(database: Database, surviving: Record, everyone: Sequence[Record]) -> None:
    """Number all that was ever said in the order in which it was."""
    chosen = list_parameter("ids", [record.id for record in everyone])
    columns = "said_at, text, question, answer, metadata"
    for row in database.rows(
        f"SELECT {checked_columns('versions')} FROM versions WHERE record IN ({_CHOSEN})", chosen
    ):
        verify("versions", row)
    rows = database.rows(
        f"SELECT created_at, {columns} FROM versions WHERE record IN ({_CHOSEN}) UNION ALL "
        f"SELECT updated_at, {columns} FROM records WHERE number IN ({_CHOSEN}) AND id <> ?",
        chosen,
        chosen,
        surviving.id,
    )
    database.execute(f"DELETE FROM versions WHERE record IN ({_CHOSEN})", chosen)
    record = database.value("SELECT number FROM records WHERE id = ?", surviving.id)
    database.execute_many(
        f"INSERT INTO versions (record, version, created_at, {columns}) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(record, place, *row) for place, row in enumerate(sorted(rows, key=itemgetter(0)), 1)],
    )
    stamp(database, "versions", "record = ?", record)
