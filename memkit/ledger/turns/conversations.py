"""Who said what, and what was said around it: the ledger's turns as retrieval sees them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import get_args

from memkit.ledger.engine.database import Database, Row
from memkit.ledger.engine.dialect import THEN_JOIN, in_list, in_numbers, list_parameter, listed
from memkit.ledger.engine.readable import as_text, readable
from memkit.ledger.records.where import AT, LIVE
from memkit.text.question_form import ends_as_question
from memkit.types import Role, Scope
from memkit.types.scope import visible_keys


@dataclass(frozen=True)
class SpokenLine:
    """The turn that a record was said in; the latest, if it was said more than once."""

    speaker: str | None  # by name
    asks: bool  # whether it ends with a question mark
    by: tuple[str, str, str | None]  # scope, role and name of who speaks
    moment: tuple[float, int]  # orders turns by when they were said, or corrected since
    around: tuple[int, ...]  # keys of the text passages of the turns before and after it


class Conversations:
    """Turns and their neighbours."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def exist(self) -> bool:
        """Whether there is any turn at all; read once per change."""
        sql = "SELECT 1 FROM turns LIMIT 1"
        return self._database.cache.get("any turn", lambda: self._database.value(sql) is not None)

    def speakers(self, *, visible_to: Scope) -> list[str]:
        """List the names of those who speak in what a query may see; read once per change."""
        scopes = list_parameter("visible_to", visible_keys(visible_to))
        # Jumps from name to name through the index, however many turns each has.
        sql = (
            "WITH RECURSIVE speakers (scope, name) AS (SELECT asked.value, "
            "(SELECT min(name) FROM turns WHERE scope = asked.value) "
            f"FROM {listed('asked')} "
            "UNION ALL SELECT scope, (SELECT min(turns.name) FROM turns "
            "WHERE turns.scope = speakers.scope AND turns.name > speakers.name) "
            "FROM speakers WHERE name IS NOT NULL) "
            "SELECT DISTINCT name FROM speakers WHERE name IS NOT NULL ORDER BY name"
        )
        cache = self._database.cache
        return cache.get(("speakers", scopes), lambda: self._database.column(sql, scopes))

    def spoken_lines(self, record_ids: Sequence[str], *, reach: int) -> dict[str, SpokenLine]:
        """Find the turns that records were said in, and so many remembered turns on either side."""
        turns = self._database.rows(
            "SELECT records.id, turns.number, turns.name, turns.content, turns.scope, "
            "turns.role, "
            f"CASE WHEN records.text = turns.content THEN turns.created_at ELSE {AT} END "
            "FROM records JOIN turns ON turns.number = "
            "(SELECT max(number) FROM turns WHERE turns.record = records.number) "
            f"WHERE {in_list('records.id')}",
            list_parameter("record_ids", record_ids),
        )
        around: dict[int, list[int]] = {turn: [] for _, turn, *_ in turns}
        for turn, key in self._around(list(around), reach) if reach and around else ():
            around[turn].append(key)
        return {
            id: SpokenLine(
                speaker=name,
                asks=ends_as_question(content),
                by=(scope, role, name),
                moment=(said_at, turn),
                around=tuple(around[turn]),
            )
            for id, turn, name, content, scope, role, said_at in turns
        }

    def statements(self, record_ids: Sequence[str]) -> dict[str, SpokenLine]:
        """Find what was said in turns that are gone: their records know who said it, and when."""
        return self._database.cache.get_each("statements", record_ids, self._statements)

    def _statements(self, record_ids: Sequence[str]) -> dict[str, SpokenLine]:
        rows = self._database.rows(
            "SELECT id, number, text, scope, metadata, said_at FROM records "
            f"WHERE {in_list('id')} AND said_at IS NOT NULL "
            "AND NOT EXISTS (SELECT 1 FROM turns WHERE turns.record = records.number)",
            list_parameter("record_ids", record_ids),
        )
        lines = {row[0]: readable("records", row[0], _statement, row) for row in rows}
        return {id: line for id, line in lines.items() if line is not None}

    def days(self, record_ids: Sequence[str]) -> dict[str, date]:
        """On which day (UTC) records were said; without those of which nothing says that."""
        rows = self._database.rows(
            f"SELECT records.id, {AT} FROM records "
            f"WHERE {in_list('records.id')} AND (said_at IS NOT NULL "
            "OR EXISTS (SELECT 1 FROM turns WHERE turns.record = records.number))",
            list_parameter("record_ids", record_ids),
        )
        return {id: datetime.fromtimestamp(at, UTC).date() for id, at in rows}

    def _around(self, turns: Sequence[int], reach: int) -> list[tuple[int, int]]:
        """Pairs of a turn and a passage of a turn near it in the same conversation."""
        near = " UNION ALL ".join(
            "SELECT number FROM (SELECT number FROM turns WHERE turns.scope = centre.scope "
            f"AND turns.number {side} centre.number AND turns.record IS NOT NULL "
            f"ORDER BY turns.number {order} LIMIT ?) AS {name}"
            for name, side, order in (("earlier", "<", "DESC"), ("later", ">", "ASC"))
        )
        rows = self._database.rows(
            "SELECT centre.number, passages.key FROM turns AS centre "
            f"{THEN_JOIN} turns AS other ON other.number IN ({near}) "
            f"{THEN_JOIN} records ON records.number = other.record "
            f"{THEN_JOIN} passages ON passages.record = records.number "
            f"WHERE {in_numbers('centre.number')} AND passages.kind = 'text' AND {LIVE}",
            *(reach, reach, list_parameter("turns", turns)),
        )
        return [(turn, key) for turn, key in rows]


def _statement(row: Row) -> SpokenLine | None:
    _, number, text, scope, stored, said_at = row
    metadata = json.loads(stored)
    role, name = metadata.get("role"), metadata.get("name")
    if not isinstance(role, str) or role not in get_args(Role):
        return None
    speaker = name if isinstance(name, str) else None
    moment = (float(said_at), number)
    return SpokenLine(
        speaker, ends_as_question(as_text(text)), (scope, role, speaker), moment, around=()
    )
