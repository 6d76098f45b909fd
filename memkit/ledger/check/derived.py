"""What the ledger keeps beside what was written, to find it by: all of it can be made again."""

from __future__ import annotations

import re
from collections.abc import Mapping

from memkit.ledger.engine import metadata_index
from memkit.ledger.engine.checksums import mended
from memkit.ledger.engine.database import Database
from memkit.ledger.engine.dialect import in_numbers, list_parameter, octets, same
from memkit.ledger.engine.inspector import Inspector
from memkit.ledger.engine.readable import whole
from memkit.ledger.engine.schema import UNINDEXED
from memkit.ledger.engine.settings import write_setting
from memkit.ledger.modules.module_table import ModuleTable
from memkit.ledger.passages.passage_writes import derived
from memkit.types import CheckReport
from memkit.types.value import counted

# Tables whose numbers never come back, because others remember them.
_NUMBERED = {
    "events": "seq",
    "records": "number",
    "turns": "number",
    "passages": "key",
    "syntheses": "number",
    "changes": "seq",
    "items": "number",
}

_SLICE = (
    "CASE kind WHEN 'question' THEN records.question "
    "ELSE substr(records.text, CAST(passages.start + 1 AS INTEGER), "
    "CAST(passages.end - passages.start AS INTEGER)) END"
)

# Placements that nothing in service bears out; those with '' wait to be trained anew.
_UNFOUNDED = (
    "content_hash <> '' AND NOT EXISTS (SELECT 1 FROM records "
    "JOIN members ON members.record = records.id JOIN modules ON modules.name = members.module "
    "AND modules.active = members.version "
    "JOIN module_versions AS own ON own.module = members.module AND own.version = members.version "
    "AND own.scope = records.scope WHERE records.number = placements.record "
    "AND members.module = placements.module AND members.recall IS NOT NULL "
    "AND members.content_hash = placements.content_hash)"
)
# Weights that were trained on what is for other readers by now.
_FOREIGN = (
    "SELECT DISTINCT records.id FROM members JOIN module_versions AS own USING (module, version) "
    "JOIN records ON records.id = members.record AND records.scope <> own.scope"
)
_NOWHERE = (
    "active IS NOT NULL AND NOT EXISTS (SELECT 1 FROM module_versions "
    "WHERE module = modules.name AND version = modules.active)"
)
_LAST = "coalesce((SELECT max(version) FROM module_versions WHERE module = name), 0)"
_OLDER = "(SELECT max(version) FROM versions WHERE versions.record = records.number)"


def check_derived(database: Database, inspector: Inspector, report: CheckReport) -> None:
    """Index of metadata, passages, counters, pointers and settings of the ledger."""
    if inspector.has_metadata_index:
        with report.looking_at("the index of metadata has the keys and values of the records"):
            _check_metadata(database, report)
    with report.looking_at("records without passages are known"):
        if wrong := sum(_compare(database, report, "unindexed", UNINDEXED)):
            report.problem(
                f"of {counted(wrong, 'record')} it is not right whether there are passages",
                repaired=report.repair,
            )
    with report.looking_at("passages are slices of their records"):
        _check_passages(database, inspector, report)
    with report.looking_at("counters are ahead of what they have counted"):
        _check_counters(database, inspector, report)
    with report.looking_at("what is said to be in service is"):
        _check_pointers(database, report)
    with report.looking_at("the settings of vectors and modules can be right"):
        _check_settings(database, report)


def _check_metadata(database: Database, report: CheckReport) -> None:
    # Where metadata is no JSON, that is a problem of its own, and none of the index.
    missing, extra = _compare(database, report, "metadata_terms", metadata_index.ALL)
    if missing or extra:
        problem = f"lacks {missing} entries, and has {extra} that no record has"
        report.problem(f"the index of metadata {problem}", repaired=report.repair)


def _compare(database: Database, report: CheckReport, table: str, right: str) -> tuple[int, int]:
    """How many rows a table lacks, and has too many, by a query of all; a repair makes it anew."""
    present = f"SELECT * FROM {table}"
    # EXCEPT and UNION are of one rank: without brackets, all behind the first UNION is added.
    missing, extra = (
        int(
            database.value(
                f"SELECT count(*) FROM ({rows} EXCEPT SELECT * FROM ({others})) AS different"
            )
        )
        for rows, others in ((right, present), (present, right))
    )
    if report.repair and (missing or extra):
        with database.transaction():
            database.execute(f"DELETE FROM {table}")
            database.execute(f"INSERT INTO {table} {right}")
    return missing, extra


def _check_passages(database: Database, inspector: Inspector, report: CheckReport) -> None:
    wrong = database.column(
        "SELECT DISTINCT record FROM passages JOIN records ON records.number = passages.record "
        f"WHERE NOT ({same('passages.text', _SLICE)})"
    )
    if wrong:
        if report.repair:
            theirs = list_parameter("wrong", wrong)
            database.execute(f"DELETE FROM passages WHERE {in_numbers('record')}", theirs)
        report.problem(
            f"{counted(len(wrong), 'record has', 'records have')} passages that are no slices of "
            "the text" + ("; they are embedded anew" if report.repair else ""),
            repaired=report.repair,
        )
    changed = [
        (*right[1:], key)
        for key, *stored in database.pages("key", ("text", "words", "digest"), "passages")
        if stored != (right := [*derived(stored[0])])
    ]
    if changed:
        if report.repair:
            with database.transaction():
                database.execute_many(
                    "UPDATE passages SET words = ?, digest = ? WHERE key = ?", changed
                )
                inspector.rebuild_words()
        report.problem(
            f"{counted(len(changed), 'passage has', 'passages have')} other words or another "
            "digest than the text",
            repaired=report.repair,
        )


def _check_counters(database: Database, inspector: Inspector, report: CheckReport) -> None:
    for table, column in _NUMBERED.items():
        if inspector.counter_is_behind(table, column):
            if report.repair:
                inspector.advance_counter(table, column)
            report.problem(f"the counter of {table!r} is behind", repaired=report.repair)
    if count := database.count("records", f"version <= {_OLDER}"):
        if report.repair:
            with database.transaction(), mended(database, "records", f"version <= {_OLDER}"):
                database.execute(
                    f"UPDATE records SET version = 1 + {_OLDER} WHERE version <= {_OLDER}"
                )
        report.problem(
            f"{counted(count, 'record has', 'records have')} a lower version than the history says",
            repaired=report.repair,
        )


def _check_pointers(database: Database, report: CheckReport) -> None:
    repaired = report.repair
    if names := database.column(f"SELECT name FROM modules WHERE {_NOWHERE}"):
        if repaired:
            with database.transaction(), mended(database, "modules", _NOWHERE):
                database.execute(f"UPDATE modules SET active = NULL WHERE {_NOWHERE}")
        report.problem(f"the active versions of modules {names} are not there", repaired=repaired)
    if count := database.count("placements", _UNFOUNDED):
        if repaired:
            database.execute(f"UPDATE placements SET content_hash = '' WHERE {_UNFOUNDED}")
        problem = (
            f"{counted(count, 'record is', 'records are')} placed in modules without "
            "a test of recall"
        )
        report.problem(problem, repaired=repaired)
    if ids := database.column(_FOREIGN):
        if repaired:
            modules = ModuleTable(database)
            modules.drop_trained_on(ids, modules.drop)
        report.problem(
            f"modules were trained on {counted(len(ids), 'record')} of other scopes, "
            f"such as {ids[:3]}"
            + ("; consolidate() trains those of their own scope anew" if repaired else ""),
            repaired=repaired,
        )
    if database.count("modules", f"versions < {_LAST}"):
        if repaired:
            with database.transaction(), mended(database, "modules", f"versions < {_LAST}"):
                database.execute(f"UPDATE modules SET versions = {_LAST} WHERE versions < {_LAST}")
        report.problem("modules have had more versions than they say", repaired=repaired)


def _check_settings(database: Database, report: CheckReport) -> None:
    settings: dict[str, str] = dict(database.rows("SELECT name, value FROM meta"))
    length = database.value(f"SELECT {octets('vector')} / 4 FROM vectors LIMIT 1")
    if length and "embedder" not in settings:
        if report.repair:
            with database.transaction():
                database.execute("DELETE FROM passages")
                database.execute("DELETE FROM meta WHERE name = 'embedder_dim'")
        report.problem(
            "nothing says which embedder the vectors are of"
            + ("; all records are embedded anew" if report.repair else ""),
            repaired=report.repair,
        )
    for name, right in _right_settings(database, settings, length).items():
        if report.repair:
            write_setting(database, name, right)
        report.problem(
            f"the setting {name!r} cannot be {settings.get(name)!r:.40}", repaired=report.repair
        )


def _right_settings(
    database: Database, settings: Mapping[str, str], length: int | None
) -> dict[str, str]:
    """What those settings have to be that cannot be right."""
    right = {}
    if "embedder" in settings and whole(settings.get("embedder_dim")) is None:
        right["embedder_dim"] = str(length or 0)
    names = database.column("SELECT name FROM modules")
    numbers = [int(name[1:]) for name in names if re.fullmatch(r"m[0-9]{4,15}", name)]
    highest = max(numbers, default=0)
    counted = whole(settings.get("last_module", "0"))
    if counted is None or counted < highest:
        right["last_module"] = str(highest)
    return right
