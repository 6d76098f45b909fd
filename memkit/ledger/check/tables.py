"""The ledger's file, its schema and its tables."""

# ruff: noqa: S608 - only constants are formatted into the SQL; what users say is a parameter

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

from memkit.errors import CorruptFileError
from memkit.ledger import Ledger
from memkit.ledger.check.paging import rows_of
from memkit.ledger.engine.schema import migrate
from memkit.ledger.engine.sqlite import Database, json_list
from memkit.ledger.records.record_rows import content_hash
from memkit.types import CheckReport

_LOST = "restore the directory from a backup, or import an export into a new one"
_REMADE = {"bare", "metadata_terms", "misses"}  # tables that nothing is lost with
# Columns that hold a JSON object.
_OBJECTS = {
    "records": ("scope", "metadata"),
    "versions": ("metadata",),
    "turns": ("scope",),
    "ttls": ("scope",),
    "items": ("scope", "value"),
    "module_versions": ("scope", "manifest"),
    "events": ("detail",),
}

# What refers to something that is not there; what makes no sense without it goes, turns stay.
_NO_RECORD = "NOT IN (SELECT rowid FROM records)"
_MEND = {
    "versions": f"DELETE FROM versions WHERE record {_NO_RECORD}",
    "turns": f"UPDATE turns SET record = NULL WHERE record {_NO_RECORD}",
    "syntheses": f"DELETE FROM syntheses WHERE record {_NO_RECORD}",
    "examples": "DELETE FROM examples WHERE synthesis NOT IN (SELECT number FROM syntheses)",
    "vectors": "DELETE FROM vectors WHERE passage NOT IN (SELECT key FROM passages)",
    "passages": f"DELETE FROM passages WHERE record {_NO_RECORD}",
    "placements": f"DELETE FROM placements WHERE record {_NO_RECORD} "
    "OR module NOT IN (SELECT name FROM modules)",
    "bare": f"DELETE FROM bare WHERE record {_NO_RECORD}",
    "misses": f"DELETE FROM misses WHERE record {_NO_RECORD}",
    "members": "DELETE FROM members WHERE (module, version) NOT IN "
    "(SELECT module, version FROM module_versions)",
    "item_vectors": "DELETE FROM item_vectors WHERE item NOT IN (SELECT rowid FROM items)",
}


def check_file(database: Database, report: CheckReport) -> bool:
    """SQLite's own check of the file; returns whether more can be looked at."""
    try:
        wrong = _integrity(database)
    except CorruptFileError as exc:
        wrong = [exc.message]
    if not wrong:
        with report.looking_at("SQLite's check of the ledger's file"):
            return True
    mended = False
    if report.repair:
        with suppress(CorruptFileError):
            _rebuild_words(database)
            database.execute("REINDEX")
            mended = not _integrity(database)
    for line in wrong[:5]:
        report.problem(f"the ledger's file is damaged: {line}", repaired=mended)
    if not mended and not report.repair and all("index" in line for line in wrong):
        return True
    if not mended:
        report.note(_LOST)
    return mended


def check_contents(ledger: Ledger, database: Database, report: CheckReport) -> None:
    """Schema, references between tables, word index, and checksums of records."""
    with report.looking_at("tables, indexes and triggers are those of this format"):
        _check_schema(database, report)
    with report.looking_at("scopes, metadata and other objects can be read"):
        _check_objects(database, report)
    with report.looking_at("what rows refer to is there"):
        _check_references(database, report)
    with report.looking_at("the word index has the words of the passages"):
        _check_words(database, report)
    with report.looking_at(f"the checksums of {_count(database, 'records')} records"):
        _check_hashes(database, report)
    with report.looking_at("no vectors of a former embedder are left"):
        if ledger.shadow_vectors.left_over and ledger.shadow_vectors.begun is None:
            if report.repair:
                ledger.shadow_vectors.drop()
            report.problem("vectors of the former embedder are left", repaired=report.repair)
    begun = ledger.shadow_vectors.begun
    if begun is not None:
        report.note(f"the change to the embedder {begun!r} is not finished; reembed() goes on")


def _integrity(database: Database) -> list[str]:
    found = database.column("PRAGMA integrity_check(20)")
    return [] if found == ["ok"] else found


def _check_schema(database: Database, report: CheckReport) -> None:
    here = _schema(database)
    with closing(
        Database(sqlite3.connect(":memory:"), Path(":memory:"), wait=1.0, read_only=False)
    ) as fresh:
        migrate(fresh, 0)
        expected = _schema(fresh)
        columns = {name: _columns(fresh, name) for kind, name in expected if kind == "table"}
    for (kind, name), sql in expected.items():
        # How a table came about, by renaming for example, makes no difference.
        same = kind == "table" and _columns(database, name) == columns[name]
        if same or here.get((kind, name)) == sql:
            continue
        mendable = report.repair and (kind in {"index", "trigger"} or name in _REMADE)
        if mendable:
            with database.transaction():
                database.execute(f"DROP {kind} IF EXISTS {name}")
                database.execute(sql)
        report.problem(f"the {kind} {name!r} is missing or another one", repaired=mendable)


def _schema(database: Database) -> dict[tuple[str, str], str]:
    rows = database.rows("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {(kind, name): sql for kind, name, sql in rows}


def _columns(database: Database, table: str) -> list[str]:
    return database.column("SELECT name FROM pragma_table_info(?) ORDER BY name", table)


def _check_objects(database: Database, report: CheckReport) -> None:
    for table, columns in _OBJECTS.items():
        for column in columns:
            count = database.value(
                f"SELECT count(*) FROM {table} "
                f"WHERE iif(json_valid({column}), json_type({column}), '') <> 'object'"
            )
            if count:
                report.problem(f"the {column} of {count} {table} is no JSON object; {_LOST}")


def _check_references(database: Database, report: CheckReport) -> None:
    found = Counter(row[0] for row in database.rows("PRAGMA foreign_key_check"))
    for table, count in found.items():
        mendable = report.repair and table in _MEND
        if mendable:
            with database.transaction():
                database.execute(_MEND[table])
        left = database.rows(f"PRAGMA foreign_key_check({table})")
        report.problem(
            f"{count} rows of {table!r} refer to what is not there", repaired=mendable and not left
        )


def _check_words(database: Database, report: CheckReport) -> None:
    if database.read_only:
        report.note("the word index was not looked at, as the directory cannot be written to")
        return
    try:
        # The command writes nothing; with 1 it compares with the passages, too.
        database.execute(
            "INSERT INTO passages_fts (passages_fts, rank) VALUES ('integrity-check', 1)"
        )
    except CorruptFileError:
        if report.repair:
            _rebuild_words(database)
        report.problem("the word index is not that of the passages", repaired=report.repair)


def _rebuild_words(database: Database) -> None:
    with database.transaction():
        database.execute("INSERT INTO passages_fts (passages_fts) VALUES ('rebuild')")


def _check_hashes(database: Database, report: CheckReport) -> None:
    wrong = []
    columns = ("text", "question", "answer", "content_hash")
    for row, text, question, answer, said in rows_of(database, "records", "rowid", *columns):
        digest = content_hash(text, question, answer)
        if digest != said:
            wrong.append(row)
            if report.repair:
                database.execute("UPDATE records SET content_hash = ? WHERE rowid = ?", digest, row)
    if wrong:
        ids = database.column(
            "SELECT id FROM records WHERE rowid IN (SELECT value FROM json_each(?))",
            json_list("rows", wrong[:3]),
        )
        report.problem(
            f"{len(wrong)} records have another checksum than their text, such as {ids}; their "
            "texts are as they are found",
            repaired=report.repair,
        )


def _count(database: Database, table: str) -> int:
    return int(database.value(f"SELECT count(*) FROM {table}"))
