"""The ledger's tables, and how older files are brought up to date."""

# ruff: noqa: S608 - only constants are formatted into the SQL; what users say is a parameter
from __future__ import annotations

from collections.abc import Sequence

from memkit.ledger.database import Database

APPLICATION_ID = 0x6D6B6974  # "mkit": tells our files from other SQLite databases

_BASE = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "INSERT INTO meta VALUES ('generation', '0'), ('last_module', '0')",
    """
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        detail TEXT NOT NULL,
        created_at REAL NOT NULL
    )
    """,
    # AUTOINCREMENT throughout: a number that was deleted must not come back as another row,
    # because indexes, caches and cursors outside of SQLite remember it.
    """
    CREATE TABLE records (
        rowid INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        scope TEXT NOT NULL,
        text TEXT NOT NULL,
        question TEXT,
        answer TEXT,
        metadata TEXT NOT NULL,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        version INTEGER NOT NULL,
        content_hash TEXT NOT NULL,
        UNIQUE (scope, content_hash)
    )
    """,
    # Older versions only; the current one is the record itself.
    """
    CREATE TABLE versions (
        record INTEGER NOT NULL REFERENCES records (rowid) ON DELETE CASCADE,
        version INTEGER NOT NULL,
        text TEXT NOT NULL,
        question TEXT,
        answer TEXT,
        metadata TEXT NOT NULL,
        created_at REAL NOT NULL,
        PRIMARY KEY (record, version)
    )
    """,
    """
    CREATE TABLE turns (
        rowid INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        scope TEXT NOT NULL,
        role TEXT NOT NULL,
        content TEXT NOT NULL,
        created_at REAL NOT NULL,
        record INTEGER REFERENCES records (rowid) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX turns_by_scope ON turns (scope)",
    "CREATE INDEX turns_by_record ON turns (record)",
    """
    CREATE TABLE passages (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        record INTEGER NOT NULL REFERENCES records (rowid) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        start INTEGER NOT NULL,
        end INTEGER NOT NULL,
        text TEXT NOT NULL
    )
    """,
    "CREATE INDEX passages_by_record ON passages (record)",
    # Apart from the passages, so that reading those does not drag the vectors along.
    """
    CREATE TABLE vectors (
        passage INTEGER PRIMARY KEY REFERENCES passages (key) ON DELETE CASCADE,
        vector BLOB NOT NULL
    )
    """,
    """
    CREATE VIRTUAL TABLE passages_fts USING fts5(
        text, content='passages', content_rowid='key', tokenize='porter unicode61'
    )
    """,
    # What happened to passages, for indexes outside of SQLite to follow. Numbers only, so
    # that nothing of a deleted text is kept.
    """
    CREATE TABLE changes (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        passage INTEGER NOT NULL,
        added INTEGER NOT NULL
    )
    """,
    """
    CREATE TRIGGER passage_added AFTER INSERT ON passages BEGIN
        INSERT INTO passages_fts (rowid, text) VALUES (new.key, new.text);
        INSERT INTO changes (passage, added) VALUES (new.key, 1);
    END
    """,
    """
    CREATE TRIGGER passage_removed AFTER DELETE ON passages BEGIN
        INSERT INTO passages_fts (passages_fts, rowid, text)
            VALUES ('delete', old.key, old.text);
        INSERT INTO changes (passage, added) VALUES (old.key, 0);
    END
    """,
    # One row per name: the active version. `module_names` remembers how many versions a name
    # has had, so that a version number is never used twice.
    "CREATE TABLE module_names (name TEXT PRIMARY KEY, versions INTEGER NOT NULL) WITHOUT ROWID",
    """
    CREATE TABLE modules (
        name TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        scope TEXT NOT NULL,
        manifest TEXT NOT NULL,
        file TEXT NOT NULL UNIQUE,
        digest TEXT NOT NULL,
        size INTEGER NOT NULL,
        created_at REAL NOT NULL
    ) WITHOUT ROWID
    """,
    # Record ids, not rows: weights still contain a record that was deleted.
    """
    CREATE TABLE members (
        module TEXT NOT NULL REFERENCES modules (name) ON DELETE CASCADE,
        record TEXT NOT NULL,
        PRIMARY KEY (module, record)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX members_by_record ON members (record)",
    # `version` is the version of the record that was trained; the placement counts only while
    # the record still has it.
    """
    CREATE TABLE placements (
        record INTEGER PRIMARY KEY REFERENCES records (rowid) ON DELETE CASCADE,
        module TEXT NOT NULL REFERENCES modules (name) ON DELETE CASCADE,
        version INTEGER NOT NULL,
        recall REAL NOT NULL
    )
    """,
    "CREATE INDEX placements_by_module ON placements (module)",
    *(
        f"""
        CREATE TRIGGER {name} AFTER {event} BEGIN
            UPDATE meta SET value = value + 1 WHERE name = 'generation';
        END
        """
        for name, event in (
            ("module_added", "INSERT ON modules"),
            ("module_removed", "DELETE ON modules"),
            ("placement_added", "INSERT ON placements"),
            ("placement_changed", "UPDATE ON placements"),
            ("placement_removed", "DELETE ON placements"),
            (
                "placement_outdated",
                "UPDATE OF version ON records "
                "WHEN EXISTS (SELECT 1 FROM placements WHERE record = new.rowid)",
            ),
        )
    ),
    "CREATE TABLE erasures (path TEXT PRIMARY KEY) WITHOUT ROWID",
)

# Each entry lifts a file by one version. Entries are never changed once released, only added.
MIGRATIONS: tuple[Sequence[str], ...] = (_BASE,)


def current_version() -> int:
    """Give the schema version that this memkit writes."""
    return len(MIGRATIONS)


def migrate(database: Database, version: int) -> None:
    """Bring a file from ``version`` (0: empty) up to date; runs inside a transaction."""
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        for statement in statements:
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {number}")
