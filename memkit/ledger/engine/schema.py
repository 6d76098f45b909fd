"""The ledger's tables, and how files of an older version are brought up to date.

Keys of tables are called ``number``, or by what they number. They are AUTOINCREMENT throughout: a
number that was deleted must not come back as another row, because indexes, caches and cursors
outside of the database remember it.
"""

from __future__ import annotations

from collections.abc import Sequence

from memkit.ledger.engine import full_text, metadata_index
from memkit.ledger.engine.checksums import CHECKED, stamp
from memkit.ledger.engine.database import Database

APPLICATION_ID = 0x6D6B6974  # "mkit": tells our files from other SQLite databases

_GENERAL = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        detail TEXT NOT NULL,
        created_at REAL NOT NULL
    )
    """,
    # Files that are to be destroyed.
    "CREATE TABLE erasures (path TEXT PRIMARY KEY) WITHOUT ROWID",
    # How long what is written to a scope lives, in seconds.
    "CREATE TABLE ttls (scope TEXT PRIMARY KEY, seconds REAL NOT NULL) WITHOUT ROWID",
)

_RECORDS = (
    # `key` is what a record is about; `said_at` when it was said, if anybody told.
    """
    CREATE TABLE records (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
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
    "CREATE UNIQUE INDEX records_by_key ON records (scope, key) WHERE key IS NOT NULL",
    # Begins with the scope, so that scopes are listed without a look at the records.
    "CREATE UNIQUE INDEX records_by_content ON records (scope, content_hash, coalesce(key, ''))",
    # The beginning of a text leads to those that say the same with or without a question.
    "CREATE INDEX records_by_text ON records (scope, substr(text, 1, 64))",
    "CREATE INDEX records_by_expiry ON records (expires_at) WHERE expires_at IS NOT NULL",
    "CREATE INDEX records_by_time ON records (coalesce(said_at, updated_at))",
    "CREATE INDEX records_pinned ON records (scope) WHERE pinned",
    # Older versions only; the current one is the record itself.
    """
    CREATE TABLE versions (
        record INTEGER NOT NULL REFERENCES records (number) ON DELETE CASCADE,
        version INTEGER NOT NULL,
        text TEXT NOT NULL,
        question TEXT,
        answer TEXT,
        metadata TEXT NOT NULL,
        created_at REAL NOT NULL,
        said_at REAL,
        PRIMARY KEY (record, version)
    )
    """,
)

_TURNS = (
    # `source` is a digest of the message of an imported log.
    """
    CREATE TABLE turns (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        scope TEXT NOT NULL,
        role TEXT NOT NULL,
        content TEXT NOT NULL,
        name TEXT,
        created_at REAL NOT NULL,
        added_at REAL NOT NULL,
        record INTEGER REFERENCES records (number) ON DELETE CASCADE,
        expires_at REAL,
        source TEXT
    )
    """,
    "CREATE INDEX turns_by_scope ON turns (scope)",
    "CREATE INDEX turns_by_record ON turns (record)",
    "CREATE INDEX turns_by_expiry ON turns (expires_at) WHERE expires_at IS NOT NULL",
    "CREATE INDEX turns_by_speaker ON turns (scope, name)",
    "CREATE UNIQUE INDEX turns_by_source ON turns (scope, source) WHERE source IS NOT NULL",
)

# Records without passages, so that nobody has to look for them among all.
_WITHOUT_PASSAGES = "NOT EXISTS (SELECT 1 FROM passages WHERE record = records.number)"
UNINDEXED = f"SELECT number FROM records WHERE {_WITHOUT_PASSAGES}"  # all rows that it is to have
# The vectors of the embedder that is to follow, while it is being changed, and then those of the
# former one until they are removed.
SHADOW_TABLES = NEXT_VECTORS, OLD_VECTORS = "next_vectors", "old_vectors"
# Apart from the passages, so that reading those does not drag the vectors along.
_VECTORS = """
    CREATE TABLE {} (
        passage INTEGER PRIMARY KEY REFERENCES passages (key) ON DELETE CASCADE,
        vector BLOB NOT NULL
    )
"""

_PASSAGES = (
    # `words` is what the word index has of the text; `digest` is a number that vectors are looked
    # up by: of the text that was embedded.
    """
    CREATE TABLE passages (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        record INTEGER NOT NULL REFERENCES records (number) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        start INTEGER NOT NULL,
        end INTEGER NOT NULL,
        text TEXT NOT NULL,
        words TEXT NOT NULL,
        digest INTEGER NOT NULL
    )
    """,
    "CREATE INDEX passages_by_record ON passages (record)",
    "CREATE INDEX passages_by_digest ON passages (digest)",
    _VECTORS.format("vectors"),
    # What happened to passages, for indexes outside of the database to follow. Numbers only, so
    # that nothing of a deleted text is kept.
    """
    CREATE TABLE changes (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        passage INTEGER NOT NULL,
        added INTEGER NOT NULL
    )
    """,
    full_text.TABLE,
    f"""
    CREATE TRIGGER passage_added AFTER INSERT ON passages BEGIN
        {full_text.ADD}
        INSERT INTO changes (passage, added) VALUES (new.key, 1);
    END
    """,
    f"""
    CREATE TRIGGER passage_removed AFTER DELETE ON passages BEGIN
        {full_text.REMOVE}
        INSERT INTO changes (passage, added) VALUES (old.key, 0);
    END
    """,
    """
    CREATE TABLE unindexed (
        record INTEGER PRIMARY KEY REFERENCES records (number) ON DELETE CASCADE
    )
    """,
    """
    CREATE TRIGGER record_added AFTER INSERT ON records BEGIN
        INSERT INTO unindexed VALUES (new.number);
    END
    """,
    """
    CREATE TRIGGER record_indexed AFTER INSERT ON passages BEGIN
        DELETE FROM unindexed WHERE record = new.record;
    END
    """,
    # Nothing where the passages go with their record.
    f"""
    CREATE TRIGGER record_unindexed AFTER DELETE ON passages BEGIN
        INSERT OR IGNORE INTO unindexed
            SELECT number FROM records WHERE number = old.record AND {_WITHOUT_PASSAGES};
    END
    """,
)

_EXAMPLES = (
    # One call of a synthesizer for one record as it was then; it may have given no examples.
    """
    CREATE TABLE syntheses (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        record INTEGER NOT NULL REFERENCES records (number) ON DELETE CASCADE,
        content_hash TEXT NOT NULL,
        synthesizer TEXT NOT NULL,
        UNIQUE (record, content_hash, synthesizer)
    )
    """,
    """
    CREATE TABLE examples (
        synthesis INTEGER NOT NULL REFERENCES syntheses (number) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        question TEXT NOT NULL,
        answer TEXT NOT NULL,
        held_out INTEGER NOT NULL,
        origin TEXT NOT NULL,
        PRIMARY KEY (synthesis, position)
    ) WITHOUT ROWID
    """,
)

_MODULES = (
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
    # What a version was trained on, in order. Record ids, not numbers: weights still contain a
    # record that was deleted. `content_hash` is that of the text that was trained, `recall` is
    # NULL for a record that the version does not hold.
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
        record INTEGER PRIMARY KEY REFERENCES records (number) ON DELETE CASCADE,
        module TEXT NOT NULL REFERENCES modules (name),
        content_hash TEXT NOT NULL
    )
    """,
    "CREATE INDEX placements_by_module ON placements (module)",
    # Records that training has failed to make a module hold, and with which recipe.
    """
    CREATE TABLE failed_attempts (
        record INTEGER PRIMARY KEY REFERENCES records (number) ON DELETE CASCADE,
        content_hash TEXT NOT NULL,
        recipe TEXT NOT NULL
    )
    """,
)

# JSON objects under a namespace (labels joined by ".") and a key, for stores that address what
# they keep. `expires_at` moves with every use by `ttl` seconds; both are NULL for what stays.
_ITEMS = (
    """
    CREATE TABLE items (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
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
        item INTEGER NOT NULL REFERENCES items (number) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        vector BLOB NOT NULL,
        PRIMARY KEY (item, position)
    )
    """,
)

# What is to be trained in the background.
_JOBS = (
    # `trainer` names the base model and the recipe that a worker must have.
    """
    CREATE TABLE jobs (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        trainer TEXT NOT NULL,
        retry_missed INTEGER NOT NULL,
        priority INTEGER NOT NULL,
        created_at REAL NOT NULL
    )
    """,
    # The records of one scope, which is NULL once it has ended. `due_at` is when it may be taken;
    # while a worker, `holder`, is at it, when its lease runs out.
    """
    CREATE TABLE job_parts (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        job INTEGER NOT NULL REFERENCES jobs (number) ON DELETE CASCADE,
        scope TEXT,
        state TEXT NOT NULL,
        records INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        due_at REAL NOT NULL,
        holder TEXT,
        progress TEXT,
        started_at REAL,
        ended_at REAL,
        held INTEGER NOT NULL DEFAULT 0,
        missed INTEGER NOT NULL DEFAULT 0,
        modules INTEGER NOT NULL DEFAULT 0,
        error TEXT
    )
    """,
    "CREATE INDEX job_parts_by_job ON job_parts (job)",
    "CREATE INDEX job_parts_open ON job_parts (scope) WHERE state IN ('queued', 'running')",
    # Until the part has ended.
    """
    CREATE TABLE job_records (
        part INTEGER NOT NULL REFERENCES job_parts (number) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        record INTEGER NOT NULL REFERENCES records (number) ON DELETE CASCADE,
        PRIMARY KEY (part, position)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX job_records_by_record ON job_records (record)",
)

_CHECKSUM = "checksum TEXT NOT NULL DEFAULT ''"


def _with_checksums(*tables: str) -> tuple[str, ...]:
    """What rows say is compared with it when they are read or checked; '' is that of none."""
    return tuple(f"ALTER TABLE {table} ADD COLUMN {_CHECKSUM}" for table in tables)


# Each entry lifts a file by one version. Entries are never changed once released, only added.
MIGRATIONS: tuple[Sequence[str], ...] = (
    (
        *_GENERAL,
        *_RECORDS,
        *_TURNS,
        *_PASSAGES,
        *metadata_index.TABLES,
        *_EXAMPLES,
        *_MODULES,
        *_ITEMS,
    ),
    _with_checksums("records", "versions", "turns", "items"),
    (
        # A change of the embedder that is under way begins again.
        *(f"DROP TABLE IF EXISTS {table}" for table in SHADOW_TABLES),
        "DELETE FROM meta WHERE name = 'next_embedder'",
        *_with_checksums("item_vectors", "vectors", "examples", "meta", "ttls", "events"),
    ),
    _JOBS,
    _with_checksums("syntheses", "modules", "module_versions", "members"),
)


def statements() -> tuple[tuple[str, ...], ...]:
    """Give the statements that make the schema, by version."""
    return tuple(map(tuple, MIGRATIONS))


def current_version() -> int:
    """Give the schema version that this memkit writes."""
    return len(MIGRATIONS)


def migrate(database: Database, version: int) -> None:
    """Bring a file from ``version`` (0: empty) up to date, in a transaction.

    Foreign keys are off: a table that is remade must not take along what refers to it.
    """
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        for statement in statements:
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {number}")
    for table in CHECKED:
        stamp(database, table, "checksum = ''")


def vectors_sql(table: str) -> str:
    """Write the statement that makes such a table."""
    return f"{_VECTORS.format(table).rstrip().removesuffix(')')}, {_CHECKSUM})"
