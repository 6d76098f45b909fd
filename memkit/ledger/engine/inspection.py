"""What a database knows about itself: its schema, its counters, and whether it is sound."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

from memkit.ledger.engine.schema import migrate
from memkit.ledger.engine.sqlite import Database

Schema = dict[tuple[str, str], str]  # kind ("table", "index", "trigger") and name to SQL


def integrity(database: Database) -> list[str]:
    """SQLite's own check of the file: what is wrong, at most 20 lines."""
    lines = database.column("PRAGMA integrity_check(20)")
    return [] if lines == ["ok"] else lines


def reindex(database: Database) -> None:
    """Make all indexes of tables anew."""
    database.execute("REINDEX")


def enforce(database: Database) -> None:
    """Keep references intact, and overwrite what is deleted, in whatever is written from here."""
    database.execute("PRAGMA foreign_keys = ON")
    database.execute("PRAGMA secure_delete = ON")


def broken_references(database: Database) -> Counter[str]:
    """How many rows of each table refer to what is not there."""
    return Counter(row[0] for row in database.rows("PRAGMA foreign_key_check"))


def schema(database: Database) -> Schema:
    """The tables, indexes and triggers that there are."""
    rows = database.rows("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {(kind, name): sql for kind, name, sql in rows}


def schema_faults(database: Database) -> list[tuple[str, str, str]]:
    """Kind, name and right SQL of what is missing, or is not as this memkit makes it."""
    present = schema(database)
    memory = sqlite3.connect(":memory:")
    with closing(Database(memory, Path(":memory:"), wait=1.0, read_only=False)) as fresh:
        migrate(fresh, 0)
        expected = schema(fresh)
        columns = {name: _columns(fresh, name) for kind, name in expected if kind == "table"}
    return [
        (kind, name, sql)
        for (kind, name), sql in expected.items()
        # How a table came about, by renaming for example, makes no difference.
        if present.get((kind, name)) != sql
        and not (kind == "table" and _columns(database, name) == columns[name])
    ]


def remake(database: Database, kind: str, name: str, sql: str) -> None:
    """Make a part of the schema anew."""
    with database.transaction():
        database.execute(f"DROP {kind} IF EXISTS {name}")
        database.execute(sql)


def counter_is_behind(database: Database, table: str, column: str) -> bool:
    """Whether the next number of a table's key could be one that it has already."""
    last = "coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?), 0)"
    return bool(database.value(f"SELECT max({column}) > {last} FROM {table}", table))


def advance_counter(database: Database, table: str, column: str) -> None:
    """Let a table's numbers go on behind those that it has."""
    with database.transaction():
        database.execute("DELETE FROM sqlite_sequence WHERE name = ?", table)
        database.execute(f"INSERT INTO sqlite_sequence SELECT ?, max({column}) FROM {table}", table)


def _columns(database: Database, table: str) -> list[str]:
    return database.column("SELECT name FROM pragma_table_info(?) ORDER BY name", table)
