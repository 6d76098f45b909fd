"""What a database knows about itself: its schema, its counters, and whether it is sound."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from functools import cache
from pathlib import Path

from memkit.errors import CorruptFileError
from memkit.ledger.engine import full_text
from memkit.ledger.engine.inspector import Fault
from memkit.ledger.engine.schema import SHADOW_TABLES, migrate, statements, vectors_sql
from memkit.ledger.engine.sqlite import SqliteDatabase

Schema = dict[tuple[str, str], str]  # kind ("table", "index", "trigger", "view"), name to SQL
_STATISTICS = {"sqlite_stat1", "sqlite_stat4"}  # SQLite's own, of whoever asks it to analyze


def integrity(database: SqliteDatabase) -> list[str]:
    """SQLite's own check of the file: what is wrong, at most 20 lines."""
    lines = database.column("PRAGMA integrity_check(20)")
    return [] if lines == ["ok"] else lines


def reindex(database: SqliteDatabase) -> None:
    """Make all indexes of tables anew."""
    database.execute("REINDEX")


def enforce(database: SqliteDatabase) -> None:
    """Keep references intact, and overwrite what is deleted, in whatever is written from here."""
    database.execute("PRAGMA foreign_keys = ON")
    database.execute("PRAGMA secure_delete = ON")


# Tables that can be made anew, or that nothing is lost with.
_DERIVED = {"failed_attempts", "job_records", "metadata_terms", "unindexed"}


class SqliteInspector:
    """An `memkit.ledger.engine.inspector.Inspector` of a file."""

    has_metadata_index = True

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def schema_faults(self) -> list[Fault]:
        """As for every `Inspector`."""
        return schema_faults(self._database)

    def can_mend(self, fault: Fault) -> bool:
        """As for every `Inspector`."""
        return fault.kind != "table" or fault.name in _DERIVED

    def remake(self, fault: Fault) -> None:
        """As for every `Inspector`."""
        remake(self._database, fault)

    def broken_references(self) -> Counter[str]:
        """As for every `Inspector`."""
        return Counter(row[0] for row in self._database.rows("PRAGMA foreign_key_check"))

    def words_are_sound(self) -> bool | None:
        """As for every `Inspector`; the command that looks is one that writes."""
        return None if self._database.read_only else full_text.is_sound(self._database)

    def rebuild_words(self) -> None:
        """As for every `Inspector`."""
        full_text.rebuild(self._database)

    def counter_is_behind(self, table: str, column: str) -> bool:
        """As for every `Inspector`."""
        last = "coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?), 0)"
        return bool(self._database.value(f"SELECT max({column}) > {last} FROM {table}", table))

    def advance_counter(self, table: str, column: str) -> None:
        """As for every `Inspector`."""
        with self._database.transaction():
            self._database.execute("DELETE FROM sqlite_sequence WHERE name = ?", table)
            self._database.execute(
                f"INSERT INTO sqlite_sequence SELECT ?, max({column}) FROM {table}", table
            )


def schema(database: SqliteDatabase) -> Schema:
    """What was made in a database by statements: tables, indexes, triggers and views."""
    rows = database.rows("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {(kind, name): sql for kind, name, sql in rows}


def schema_faults(database: SqliteDatabase) -> list[Fault]:
    """What is missing, is not as this memkit makes it, or is made by somebody else."""
    present, expected = schema(database), _expected(statements())
    optional = {("table", name): vectors_sql(name) for name in SHADOW_TABLES}
    faults = [
        Fault(*part, sql, "is missing" if part not in present else "is another one")
        for part, sql in expected.items()
        if _normal(present.get(part, "")) != _normal(sql)
    ]
    faults += [
        Fault(kind, name, None, "is not memkit's")
        for (kind, name), sql in present.items()
        if (kind, name) not in expected
        and not (kind == "table" and name in _STATISTICS)
        and _normal(sql) != _normal(optional.get((kind, name), ""))
    ]
    return faults


def check_schema(database: SqliteDatabase) -> None:
    """Refuse a database with other tables, indexes, triggers or views than memkit's.

    A trigger that somebody has put there would change what is written, and nobody would notice.

    Raises:
        CorruptFileError: If there are such, or some are missing.
    """
    faults = schema_faults(database)
    if faults:
        raise CorruptFileError(
            f"expected the tables, indexes and triggers of memkit in {str(database.path)!r}: "
            + "; ".join(f"the {fault.kind} {fault.name!r} {fault.what}" for fault in faults[:3])
            + ("; and so on" if faults[3:] else ""),
            "`memkit check --repair` makes anew what can be made, and removes what is not "
            "memkit's unless it is a table.",
        )


@cache
def _expected(made_by: tuple[tuple[str, ...], ...]) -> Schema:  # noqa: ARG001 - what it is of
    memory = sqlite3.connect(":memory:")
    with closing(SqliteDatabase(memory, Path(":memory:"), wait=1.0, read_only=False)) as fresh:
        migrate(fresh, 0)
        return schema(fresh)


def _normal(sql: str) -> str:
    """A statement without what renaming a table changes in it, and without its layout."""
    return " ".join(sql.replace('"', "").split())


def remake(database: SqliteDatabase, fault: Fault) -> None:
    """Make a part of the schema anew, or remove it if it is not memkit's."""
    name = fault.name.replace('"', '""')
    with database.transaction():
        database.execute(f'DROP {fault.kind} IF EXISTS "{name}"')
        if fault.sql is not None:
            database.execute(fault.sql)
