"""What a database in PostgreSQL knows about itself: its schema, its counters, its word index."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from memkit.ledger.engine.database import Row
from memkit.ledger.engine.inspector import Fault
from memkit.ledger.engine.postgres.pg_database import PostgresDatabase
from memkit.ledger.engine.postgres.pg_row_security import SCOPES
from memkit.ledger.engine.postgres.pg_schema import statements
from memkit.ledger.engine.postgres.pg_words import stems
from memkit.ledger.engine.schema import SHADOW_TABLES

_MADE = re.compile(
    r"CREATE (?:OR REPLACE |UNIQUE )?(TABLE|INDEX|FUNCTION|TRIGGER) (?:IF NOT EXISTS )?(\w+)"
)
# Indexes and functions of others change nothing that is written.
_FOREIGN = ("table", "trigger")
_PRESENT = """
    SELECT CASE relkind WHEN 'i' THEN 'index' ELSE 'table' END, relname FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'i')
    UNION ALL
    SELECT 'function', proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
    UNION ALL
    SELECT 'trigger', tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
        WHERE relnamespace = current_schema()::regnamespace AND NOT tgisinternal
        AND tgenabled <> 'D'
"""
_PAGE = 256  # passages whose words are compared at once


class PostgresInspector:
    """An `memkit.ledger.engine.inspector.Inspector` of a schema; references keep themselves."""

    has_metadata_index = False

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def schema_faults(self) -> list[Fault]:
        """As for every `Inspector`; parts are known by their names."""
        expected = {}
        for sql in statements(0):
            if made := _MADE.match(sql.strip()):
                expected[made[1].lower(), made[2]] = sql
        present = {(kind, name) for kind, name in self._database.rows(_PRESENT)}
        faults = [
            Fault(*part, sql, "is missing") for part, sql in expected.items() if part not in present
        ]
        faults += [
            Fault(kind, name, None, "is not memkit's")
            for kind, name in sorted(present - expected.keys())
            if kind in _FOREIGN and name not in {*SHADOW_TABLES, SCOPES}
        ]
        return faults

    def can_mend(self, fault: Fault) -> bool:
        """As for every `Inspector`; what others have made is for its owner to remove."""
        return fault.sql is not None and fault.kind != "table"

    def remake(self, fault: Fault) -> None:
        """As for every `Inspector`."""
        if fault.sql is not None:
            self._database.execute(fault.sql)

    def broken_references(self) -> Counter[str]:
        """None: PostgreSQL accepts no such rows."""
        return Counter()

    def words_are_sound(self) -> bool:
        """As for every `Inspector`."""
        keys = self._database.column("SELECT passage FROM word_lengths ORDER BY passage")
        if keys != self._database.column("SELECT key FROM passages ORDER BY key"):
            return False
        return all(map(self._has_words, self._pages()))

    def rebuild_words(self) -> None:
        """As for every `Inspector`."""
        with self._database.transaction():
            for table in ("word_counts", "word_lengths"):
                self._database.execute(f"DELETE FROM {table}")
            for page in self._pages():
                self._database.words.add(page)

    def counter_is_behind(self, table: str, column: str) -> bool:
        """As for every `Inspector`."""
        last = f"pg_sequence_last_value(pg_get_serial_sequence('{table}', '{column}')::regclass)"
        return bool(
            self._database.value(f"SELECT max({column}) > coalesce({last}, 0) FROM {table}")
        )

    def advance_counter(self, table: str, column: str) -> None:
        """As for every `Inspector`."""
        with self._database.transaction():
            self._database.value(
                f"SELECT setval(pg_get_serial_sequence('{table}', '{column}')::regclass, "
                f"max({column})) FROM {table}"
            )

    def _pages(self) -> Iterator[list[Row]]:
        """Keys and words of all passages, some at a time."""
        rows = self._database.pages("key", ("words",), "passages")
        while page := list(islice(rows, _PAGE)):
            yield page

    def _has_words(self, page: list[Row]) -> bool:
        """Whether the word index has exactly the words of some passages."""
        right = {
            (key, word, times, own.total())
            for (key, _), own in zip(page, stems([words for _, words in page]), strict=True)
            for word, times in own.items()
        }
        keys = [key for key, _ in page]
        stored = self._database.rows(
            "SELECT passage, word, times, length FROM word_counts "
            "WHERE passage = ANY (?::bigint[])",
            keys,
        )
        return set(stored) == right
