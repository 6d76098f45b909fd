"""The ledger's file, its schema and its tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from memkit.errors import CorruptFileError
from memkit.ledger.engine import full_text, inspection
from memkit.ledger.engine.checksums import CHECKED, checked_columns, is_intact, mended
from memkit.ledger.engine.database import SCRUB_PENDING, Database, Row
from memkit.ledger.engine.dialect import in_list, in_numbers, is_object, list_parameter
from memkit.ledger.engine.inspector import Inspector
from memkit.ledger.engine.sqlite import SqliteDatabase
from memkit.ledger.ledger import Ledger
from memkit.ledger.modules.module_table import ModuleTable
from memkit.ledger.records.record_rows import content_hash
from memkit.types import CheckReport
from memkit.types.value import counted

_RESTORE = "restore the directory from a backup, or import an export into a new one"
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

_ONES_OWN_REMEDY = {
    "versions": "forget their records",
    "ttls": "set them again",
    "item_vectors": "write their items again",
}
# Tables whose key is a text, and those whose rows belong to rows of others.
_NAMED = {"meta", "ttls", "modules"}
_OWNERS = {
    "versions": "records",
    "examples": "syntheses",
    "item_vectors": "items",
    "module_versions": "modules",
    "members": "modules",
}
_UNLESS_MARK = {"meta": f"name <> '{SCRUB_PENDING}'"}  # see `memkit.ledger.engine.settings`
# How rows go that are not as they were written, by what names them, where they are made anew or
# nothing is lost with them.
_REMOVE = {
    "vectors": "DELETE FROM passages WHERE record = (SELECT record FROM passages WHERE key = ?)",
    "examples": "DELETE FROM syntheses WHERE number = ?",
    "syntheses": "DELETE FROM syntheses WHERE number = ?",
    "meta": "DELETE FROM meta WHERE name = ?",
    "events": "DELETE FROM events WHERE seq = ?",
}
# Those of modules, which are trained anew: the column that names it.
_OF_MODULES = {"modules": "name", "module_versions": "module", "members": "module"}

# What refers to something that is not there; what makes no sense without it goes, turns stay.
_NO_RECORD = "NOT IN (SELECT number FROM records)"
_NO_VERSION = "(module, version) NOT IN (SELECT module, version FROM module_versions)"
_PLACED_IN = (
    "SELECT module FROM placements JOIN records ON records.number = placements.record "
    f"WHERE {in_list('records.id')}"
)
_MEND = {
    "versions": f"DELETE FROM versions WHERE record {_NO_RECORD}",
    "turns": f"UPDATE turns SET record = NULL WHERE record {_NO_RECORD}",
    "syntheses": f"DELETE FROM syntheses WHERE record {_NO_RECORD}",
    "examples": "DELETE FROM examples WHERE synthesis NOT IN (SELECT number FROM syntheses)",
    "vectors": "DELETE FROM vectors WHERE passage NOT IN (SELECT key FROM passages)",
    "passages": f"DELETE FROM passages WHERE record {_NO_RECORD}",
    "placements": f"DELETE FROM placements WHERE record {_NO_RECORD} "
    "OR module NOT IN (SELECT name FROM modules)",
    "unindexed": f"DELETE FROM unindexed WHERE record {_NO_RECORD}",
    "failed_attempts": f"DELETE FROM failed_attempts WHERE record {_NO_RECORD}",
    "members": f"DELETE FROM members WHERE {_NO_VERSION}",
    "job_parts": "DELETE FROM job_parts WHERE job NOT IN (SELECT number FROM jobs)",
    "job_records": f"DELETE FROM job_records WHERE record {_NO_RECORD} "
    "OR part NOT IN (SELECT number FROM job_parts)",
    "item_vectors": "DELETE FROM item_vectors WHERE item NOT IN (SELECT number FROM items)",
}


def check_file(database: SqliteDatabase, report: CheckReport) -> bool:
    """SQLite's own check of the file; returns whether more can be looked at."""
    try:
        wrong = inspection.integrity(database)
    except CorruptFileError as exc:
        wrong = [exc.message]
    if not wrong:
        with report.looking_at("SQLite's check of the ledger's file"):
            return True
    mended = False
    if report.repair:
        with suppress(CorruptFileError):
            full_text.rebuild(database)
            inspection.reindex(database)
            mended = not inspection.integrity(database)
    for line in wrong[:5]:
        report.problem(f"the ledger's file is damaged: {line}", repaired=mended)
    if not mended and not report.repair and all("index" in line for line in wrong):
        return True
    if not mended:
        report.note(_RESTORE)
    return mended


def check_contents(
    ledger: Ledger, database: Database, inspector: Inspector, report: CheckReport
) -> None:
    """Schema, references between tables, word index, and checksums of records."""
    with report.looking_at("tables, indexes and triggers are those of this format"):
        _check_schema(inspector, report)
    with report.looking_at("scopes, metadata and other objects can be read"):
        _check_objects(database, report)
    with report.looking_at("what rows refer to is there"):
        _check_references(database, inspector, report)
    with report.looking_at("the word index has the words of the passages"):
        _check_words(inspector, report)
    with report.looking_at(f"the checksums of {counted(database.count('records'), 'record')}"):
        _check_hashes(database, report)
    with report.looking_at("no vectors of a former embedder are left"):
        if ledger.shadow_vectors.left_over and ledger.shadow_vectors.begun is None:
            if report.repair:
                ledger.shadow_vectors.drop()
            report.problem("vectors of the former embedder are left", repaired=report.repair)
    begun = ledger.shadow_vectors.begun
    if begun is not None:
        report.note(f"the change to the embedder {begun!r} is not finished; reembed() goes on")


def _check_schema(inspector: Inspector, report: CheckReport) -> None:
    for fault in inspector.schema_faults():
        mendable = report.repair and inspector.can_mend(fault)
        if mendable:
            inspector.remake(fault)
        report.problem(f"the {fault.kind} {fault.name!r} {fault.what}", repaired=mendable)


def _check_objects(database: Database, report: CheckReport) -> None:
    for table, columns in _OBJECTS.items():
        for column in columns:
            if count := database.count(table, f"NOT ({is_object(column)})"):
                report.problem(f"the {column} of {count} {table} is no JSON object; {_RESTORE}")


def _check_references(database: Database, inspector: Inspector, report: CheckReport) -> None:
    for table, count in inspector.broken_references().items():
        mendable = report.repair and table in _MEND
        if mendable:
            with database.transaction():
                if table == "members":  # which name modules that may hold what they do not say
                    for name in database.column(
                        f"SELECT DISTINCT module FROM members WHERE {_NO_VERSION}"
                    ):
                        ModuleTable(database).remove(name)
                if table == "turns":
                    with mended(database, table, f"record {_NO_RECORD}"):
                        database.execute(_MEND[table])
                else:
                    database.execute(_MEND[table])
        report.problem(
            f"{count} rows of {table!r} refer to what is not there",
            repaired=mendable and not inspector.broken_references()[table],
        )


def _check_words(inspector: Inspector, report: CheckReport) -> None:
    sound = inspector.words_are_sound()
    if sound is None:
        report.note("the word index was not looked at, as the directory cannot be written to")
    elif not sound:
        if report.repair:
            inspector.rebuild_words()
        report.problem("the word index is not that of the passages", repaired=report.repair)


def _check_hashes(database: Database, report: CheckReport) -> None:
    wrong = []
    columns = ("text", "question", "answer", "content_hash")
    for row, text, question, answer, stored in database.pages("number", columns, "records"):
        digest = content_hash(text, question, answer)
        if digest != stored:
            wrong.append(row)
            if report.repair:
                database.execute(
                    "UPDATE records SET content_hash = ? WHERE number = ?", digest, row
                )
    if wrong:
        ids = database.column(
            f"SELECT id FROM records WHERE {in_numbers('number')}",
            list_parameter("rows", wrong[:3]),
        )
        report.problem(
            f"{counted(len(wrong), 'record has', 'records have')} another checksum than the text, "
            f"such as {ids}; texts are taken as they are found",
            repaired=report.repair,
        )


def check_settings(database: Database, report: CheckReport) -> None:
    """Whether settings are as they were written: what they say is needed for what comes next."""
    with report.looking_at("settings are as they were written"):
        _check_rows(database, "meta", report)


def check_rows(database: Database, report: CheckReport) -> None:
    """Whether rows are as they were written, what was repaired included."""
    for table in (table for table in CHECKED if table != "meta"):
        with report.looking_at(f"{table} are as they were written"):
            _check_rows(database, table, report)


def _check_rows(database: Database, table: str, report: CheckReport) -> None:
    checked = CHECKED[table]
    place = checked.columns.index(checked.name)
    wrong = [row for row in _rows(database, table) if not is_intact(row)]
    damaged = [row[place] for row in wrong]
    if wrong and (table in _REMOVE or table in _OF_MODULES):
        if report.repair and table in _OF_MODULES:
            of = checked.columns.index(_OF_MODULES[table])
            names = [row[of] for row in wrong]
            if table == "members":  # of which the module may be what was changed
                names += database.column(_PLACED_IN, list_parameter("ids", damaged))
            for name in dict.fromkeys(names):
                ModuleTable(database).remove(name)
        elif report.repair:
            database.execute_many(_REMOVE[table], [(name,) for name in damaged])
        what = counted(len(wrong), f"row of {table!r} is", f"rows of {table!r} are")
        report.problem(
            f"{what} not as written, such as {damaged[:3]!r:.200}"
            + ("; removed, for what is needed to be made anew" if report.repair else ""),
            repaired=report.repair,
        )
    elif wrong:
        report.problem(
            f"{counted(len(damaged), f'row of {table!r} is', f'rows of {table!r} are')} not as "
            f"written, such as {damaged[:3]!r:.200}: they are not given to anybody; "
            + f"{_ONES_OWN_REMEDY.get(table, 'forget them')}, or {_RESTORE}"
        )


def _rows(database: Database, table: str) -> Iterator[Row]:
    columns, key = checked_columns(table), CHECKED[table].key
    if len(key) == 1:
        start = "" if table in _NAMED else 0
        rows = database.pages(
            key[0], [columns], table, _UNLESS_MARK.get(table, "TRUE"), after=start
        )
        yield from (tuple(row) for _, *row in rows)
        return
    owner = _OWNERS[table]
    [own] = CHECKED[owner].key
    there = f"EXISTS (SELECT 1 FROM {table} WHERE {key[0]} = {own})"
    first = "" if owner in _NAMED else 0
    for owning, _ in database.pages(own, [own], owner, there, after=first):
        yield from database.rows(f"SELECT {columns} FROM {table} WHERE {key[0]} = ?", owning)
