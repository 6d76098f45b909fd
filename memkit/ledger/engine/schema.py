"""The ledger's tables, and how older files are brought up to date."""

# ruff: noqa: S608 - only constants are formatted into the SQL; what users say is a parameter

from __future__ import annotations

from collections.abc import Sequence

from memkit.ledger import bare
from memkit.ledger.engine.sqlite import Database
from memkit.ledger.examples import example_table as examples
from memkit.ledger.records import as_of as past
from memkit.ledger.records import metadata_index as terms

APPLICATION_ID = 0x6D6B6974  # "mkit": tells our files from other SQLite databases

_OLD = ("modules", "members", "placements")  # remade for versions of modules

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

# Versions of modules: a version stays as it was trained, and `modules` says which one is active.
# The triggers on the renamed tables go with them.
_MODULE_VERSIONS = (
    "DROP TRIGGER placement_outdated",
    "DELETE FROM meta WHERE name = 'generation'",
    *(f"ALTER TABLE {table} RENAME TO old_{table}" for table in _OLD),
    "DROP INDEX members_by_record",
    "DROP INDEX placements_by_module",
    # `versions` counts all that a name has had, so that a number is never used twice; `active`
    # is NULL once the module was dropped.
    """
    CREATE TABLE modules (
        name TEXT PRIMARY KEY,
        versions INTEGER NOT NULL,
        active INTEGER
    ) WITHOUT ROWID
    """,
    # `file` is NULL where the weights were lost; such a version waits to be trained again.
    """
    CREATE TABLE module_versions (
        module TEXT NOT NULL REFERENCES modules (name),
        version INTEGER NOT NULL,
        scope TEXT NOT NULL,
        manifest TEXT NOT NULL,
        file TEXT UNIQUE,
        digest TEXT NOT NULL,
        size INTEGER NOT NULL,
        created_at REAL NOT NULL,
        PRIMARY KEY (module, version)
    ) WITHOUT ROWID
    """,
    # What a version was trained on, in order. Record ids, not rows: weights still contain a
    # record that was deleted. `content_hash` is that of the text that was trained ('' if it is
    # not known), `recall` is NULL for a record that was missed.
    """
    CREATE TABLE members (
        module TEXT NOT NULL,
        version INTEGER NOT NULL,
        record TEXT NOT NULL,
        position INTEGER NOT NULL,
        content_hash TEXT NOT NULL,
        recall REAL,
        PRIMARY KEY (module, version, record),
        FOREIGN KEY (module, version) REFERENCES module_versions ON DELETE CASCADE
    ) WITHOUT ROWID
    """,
    "CREATE INDEX members_by_record ON members (record)",
    # Which module a record is answered from. It counts only while the record's content is the
    # one that the module's active version was trained on; '' never is.
    """
    CREATE TABLE placements (
        record INTEGER PRIMARY KEY REFERENCES records (rowid) ON DELETE CASCADE,
        module TEXT NOT NULL REFERENCES modules (name),
        content_hash TEXT NOT NULL
    )
    """,
    "CREATE INDEX placements_by_module ON placements (module)",
    # Records that training has failed to make a module hold, and with which recipe.
    """
    CREATE TABLE misses (
        record INTEGER PRIMARY KEY REFERENCES records (rowid) ON DELETE CASCADE,
        content_hash TEXT NOT NULL,
        recipe TEXT NOT NULL
    )
    """,
    """
    INSERT INTO modules SELECT name, versions,
        (SELECT version FROM old_modules WHERE old_modules.name = module_names.name)
    FROM module_names
    """,
    """
    INSERT INTO module_versions
    SELECT name, version, scope, manifest, file, digest, size, created_at FROM old_modules
    """,
    # Which content was trained is known for what was held, and for what was never updated.
    """
    INSERT INTO members
    SELECT old_members.module, old_modules.version, old_members.record,
        row_number() OVER (PARTITION BY old_members.module ORDER BY records.rowid) - 1,
        CASE records.version WHEN coalesce(old_placements.version, 1)
            THEN records.content_hash ELSE '' END,
        old_placements.recall
    FROM old_members JOIN old_modules ON old_modules.name = old_members.module
    LEFT JOIN records ON records.id = old_members.record
    LEFT JOIN old_placements ON old_placements.record = records.rowid
        AND old_placements.module = old_members.module
    """,
    """
    INSERT INTO placements
    SELECT records.rowid, module,
        CASE old_placements.version WHEN records.version THEN content_hash ELSE '' END
    FROM old_placements JOIN records ON records.rowid = old_placements.record
    """,
    *(f"DROP TABLE old_{table}" for table in reversed(_OLD)),
    "DROP TABLE module_names",
)

# The life of a record: what it is about, when it ends, whether it is pinned, when it was said.
# The table is remade, as content may be there twice now, under different keys.
_LIVES = (
    """
    CREATE TABLE new_records (
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
        key TEXT,
        expires_at REAL,
        pinned INTEGER NOT NULL DEFAULT 0,
        said_at REAL
    )
    """,
    """
    INSERT INTO new_records (rowid, id, scope, text, question, answer, metadata, created_at,
        updated_at, version, content_hash)
    SELECT rowid, id, scope, text, question, answer, metadata, created_at, updated_at, version,
        content_hash FROM records
    """,
    # The highest number that was ever used, not the highest that is there.
    "DELETE FROM sqlite_sequence WHERE name = 'new_records'",
    """
    INSERT INTO sqlite_sequence
    SELECT 'new_records', seq FROM sqlite_sequence WHERE name = 'records'
    """,
    "DROP TABLE records",
    "ALTER TABLE new_records RENAME TO records",
    # Of several answers to a question the newest has the key; the others stay as they are.
    """
    UPDATE records SET key = newest.key FROM (
        SELECT max(rowid) AS record, scope, question_key(question) AS key FROM records
        WHERE question IS NOT NULL GROUP BY scope, question_key(question)
    ) AS newest WHERE records.rowid = newest.record
    """,
    "CREATE UNIQUE INDEX records_by_key ON records (scope, key) WHERE key IS NOT NULL",
    # Begins with the scope, so that scopes are listed without a look at the records.
    "CREATE UNIQUE INDEX records_by_content ON records (scope, content_hash, coalesce(key, ''))",
    "CREATE INDEX records_by_expiry ON records (expires_at) WHERE expires_at IS NOT NULL",
    "CREATE INDEX records_by_time ON records (coalesce(said_at, updated_at))",
    "CREATE INDEX records_pinned ON records (scope) WHERE pinned",
    "ALTER TABLE turns ADD COLUMN expires_at REAL",
    "CREATE INDEX turns_by_expiry ON turns (expires_at) WHERE expires_at IS NOT NULL",
    # Which message of an imported log a turn is; a digest.
    "ALTER TABLE turns ADD COLUMN source TEXT",
    "CREATE UNIQUE INDEX turns_by_source ON turns (scope, source) WHERE source IS NOT NULL",
    # How long what is written to a scope lives, in seconds.
    "CREATE TABLE ttls (scope TEXT PRIMARY KEY, seconds REAL NOT NULL) WITHOUT ROWID",
)

# JSON objects under a namespace (labels joined by ".") and a key, for stores that address what
# they keep. `expires_at` moves with every use by `ttl` seconds; both are NULL for what stays.
_ITEMS = (
    """
    CREATE TABLE items (
        rowid INTEGER PRIMARY KEY AUTOINCREMENT,
        namespace TEXT NOT NULL,
        key TEXT NOT NULL,
        scope TEXT NOT NULL,
        value TEXT NOT NULL,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        ttl REAL,
        expires_at REAL,
        UNIQUE (namespace, key)
    )
    """,
    "CREATE INDEX items_by_expiry ON items (expires_at) WHERE expires_at IS NOT NULL",
    """
    CREATE TABLE item_vectors (
        item INTEGER NOT NULL REFERENCES items (rowid) ON DELETE CASCADE,
        vector BLOB NOT NULL
    )
    """,
    "CREATE INDEX item_vectors_by_item ON item_vectors (item)",
)

# Who speaks, for questions that name somebody.
_SPEAKERS = (
    "ALTER TABLE turns ADD COLUMN name TEXT",
    "CREATE INDEX turns_by_speaker ON turns (scope, name)",
)

# Vectors are looked up by what was embedded. Passages from before have no digest, and are
# embedded once more where their text comes again.
_DIGESTS = (
    "ALTER TABLE passages ADD COLUMN digest INTEGER",
    "CREATE INDEX passages_by_digest ON passages (digest)",
)

# Each entry lifts a file by one version. Entries are never changed once released, only added.
MIGRATIONS: tuple[Sequence[str], ...] = (
    _BASE,
    _MODULE_VERSIONS,
    _LIVES,
    _ITEMS,
    _SPEAKERS,
    _DIGESTS,
    terms.MIGRATION,
    past.MIGRATION,
    bare.MIGRATION,
    examples.MIGRATION,
)


def current_version() -> int:
    """Give the schema version that this memkit writes."""
    return len(MIGRATIONS)


def migrate(database: Database, version: int) -> None:
    """Bring a file from ``version`` (0: empty) up to date.

    Runs inside a transaction, with foreign keys off: a table that is remade must not take along
    what refers to it.
    """
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        for statement in statements:
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {number}")
