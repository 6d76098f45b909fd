"""Conversations, message by message."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import get_args

from memkit.errors import InvalidInputError, NotFoundError, RecordNotFoundError
from memkit.ledger.engine.checksums import checked_columns, checksum, mended, verify
from memkit.ledger.engine.database import Database, Row
from memkit.ledger.engine.dialect import NOW, in_list, list_parameter, within_scope
from memkit.ledger.engine.ids import new_id
from memkit.ledger.engine.readable import as_text, readable
from memkit.ledger.records.ttls import TtlTable
from memkit.ledger.records.where import LIVE, period_sql, visible_sql
from memkit.types import ALWAYS, Period, Role, Scope, Turn
from memkit.types.scope import parse_scope_key, scope_key
from memkit.types.validate import check_id, check_limit, check_text, check_time, shown

_SOURCES = "turns LEFT JOIN records ON records.number = turns.record"
_SELECT = f"SELECT records.id, {checked_columns('turns')} FROM {_SOURCES}"
_OWN_EXPIRED = f"turns.expires_at <= {NOW}"
_LIVE = f"(turns.expires_at IS NULL OR NOT {_OWN_EXPIRED}) AND {LIVE}"


class TurnTable:
    """Turns of all conversations; a conversation is what shares one scope."""

    def __init__(self, database: Database, ttls: TtlTable) -> None:
        self._database = database
        self._ttls = ttls

    def add(
        self,
        role: Role,
        content: str,
        scope: Scope,
        *,
        record_id: str | None,
        source: str | None = None,
        name: str | None = None,
        at: datetime | None = None,
    ) -> Turn:
        """Append a turn.

        Args:
            role: Who speaks.
            content: What was said, verbatim.
            scope: The conversation.
            record_id: The record that keeps the same content for retrieval; the turn goes
                when it is deleted or expires. Without one, the default of the scope decides.
            source: Digest of the message of a log that it was imported from.
            name: Who speaks, by name.
            at: When it was said; None for now.

        Raises:
            InvalidInputError: If the content or the time cannot be stored.
            RecordNotFoundError: If there is no such record.
        """
        content = check_turn(role, content)
        name = None if name is None else check_id("name", name)
        if at is not None:
            check_time("at", at)
        key = scope_key(scope)
        with self._database.transaction():
            record = self._record(record_id)
            now = self._database.now()
            seconds = self._ttls.of(scope) if record is None else None
            ends = None if seconds is None else now + seconds
            said_at = None if at is None else at.astimezone(UTC)
            created_at = said_at or datetime.fromtimestamp(now, UTC)
            # Without `at`, the same as when it was said, to the bit.
            added_at = now if said_at else created_at.timestamp()
            turn = Turn(new_id(), role, content, parse_scope_key(key), created_at,
                        record_id, name, said_at)  # fmt: skip
            row = (
                *(turn.id, key, role, content, name, created_at.timestamp(), added_at),
                *(record, ends, source),
            )
            self._database.execute(
                "INSERT INTO turns (id, scope, role, content, name, created_at, added_at, record, "
                "expires_at, source, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(*row, checksum(row)),
            )
        return turn

    def recent(
        self, scope: Scope, limit: int, *, before: str | None = None, period: Period = ALWAYS
    ) -> list[Turn]:
        """List the latest turns of exactly this scope, newest first.

        Only what came before the turn with the id ``before`` is listed, and what was said within
        the period and added by its ``as_of``.

        Raises:
            NotFoundError: If there is no turn ``before``.
        """
        check_limit("limit", limit)
        in_time, times = period_sql(period, spoken="turns.created_at", written="turns.added_at")
        rows = self._database.rows(
            f"{_SELECT} WHERE turns.scope = ? AND turns.number < ? AND {_LIVE} AND {in_time} "
            "ORDER BY turns.number DESC LIMIT ?",
            *(scope_key(scope), self._position(before), *times, limit),
        )
        return [_turn(row) for row in rows]

    def delete(self, *, within: Scope) -> list[str]:
        """Delete the turns of this scope and of all that are narrower; returns what they said."""
        condition, parameters = within_scope("turns.scope", within)
        return self._database.erase("turns", condition, *parameters, giving="content")

    def loose(
        self, ids: Sequence[str], *, visible_to: Scope | None = None, within: Scope | None = None
    ) -> list[str]:
        """List those of the ids that turns without a record have; see `select_sql` for bounds."""
        if visible_to is not None:
            condition, parameters = visible_sql("turns.scope", visible_to)
        else:
            condition, parameters = within_scope("turns.scope", within or {})
        return self._database.column(
            f"SELECT id FROM turns WHERE record IS NULL AND {in_list('id')} AND {condition}",
            *(list_parameter("ids", ids), *parameters),
        )

    def drop(self, ids: Sequence[str]) -> list[str]:
        """Delete single turns; returns what they said."""
        return self._database.erase(
            "turns", in_list("id"), list_parameter("ids", ids), giving="content"
        )

    def clear(self, scope: Scope) -> list[str]:
        """Delete the turns of exactly this scope; returns what they said.

        Their records stay, and know from then on when they were said, or corrected since.
        """
        key = scope_key(scope)
        with self._database.transaction():
            undated = "said_at IS NULL AND number IN (SELECT record FROM turns WHERE scope = ?)"
            with mended(self._database, "records", undated, key):
                self._database.execute(
                    "UPDATE records SET said_at = (SELECT CASE WHEN turns.content = records.text "
                    "THEN turns.created_at ELSE records.updated_at END FROM turns "
                    "WHERE turns.number = (SELECT max(latest.number) FROM turns AS latest "
                    f"WHERE latest.record = records.number)) WHERE {undated}",
                    key,
                )
            return self._database.erase("turns", "scope = ?", key, giving="content")

    def scopes(self) -> set[str]:
        """Stored forms of the scopes that have turns."""
        return set(self._database.column("SELECT DISTINCT scope FROM turns"))

    def delete_expired(self) -> list[str]:
        """Delete the turns that have expired by themselves; returns what they said."""
        return self._database.erase("turns", _OWN_EXPIRED, giving="content")

    def sources(self, scope: Scope) -> set[str]:
        """Digests of the messages that were imported into exactly this scope."""
        return set(
            self._database.column(
                "SELECT source FROM turns WHERE scope = ? AND source IS NOT NULL", scope_key(scope)
            )
        )

    def count(self, *, within: Scope | None = None) -> int:
        """Count the turns of a scope and narrower ones; None for all."""
        condition, parameters = within_scope("turns.scope", within or {})
        return self._database.count(_SOURCES, f"{_LIVE} AND {condition}", *parameters)

    def _record(self, record_id: str | None) -> int | None:
        if record_id is None:
            return None
        record = self._database.value(
            f"SELECT number FROM records WHERE {LIVE} AND id = ?", record_id
        )
        if record is None:
            raise RecordNotFoundError(f"no record has the id {record_id!r}")
        return int(record)

    def _position(self, turn_id: str | None) -> int:
        if turn_id is None:
            return 2**63 - 1
        position = self._database.value("SELECT number FROM turns WHERE id = ?", turn_id)
        if position is None:
            raise NotFoundError(f"no turn has the id {turn_id!r}")
        return int(position)


def check_turn(role: object, content: object) -> str:
    """Check what a turn says, and give it in normal form."""
    if not isinstance(role, str) or role not in get_args(Role):
        raise InvalidInputError(f"`role` must be one of {get_args(Role)}, got {shown(role)}")
    return check_text("content", content)


def _turn(row: Row) -> Turn:
    return readable("turns", row[1], _readable_turn, row)


def _readable_turn(row: Row) -> Turn:
    record_id, id, scope, role, content, name, created_at, added_at, *_ = row
    at = datetime.fromtimestamp(created_at, UTC)
    said_at = at if added_at != created_at else None
    turn = Turn(
        as_text(id), role, as_text(content), parse_scope_key(scope), at, record_id, name, said_at
    )
    verify("turns", row[1:])
    return turn
