"""What examples were made of, and what modules hold, is read as it was written or not at all."""

from __future__ import annotations

import hashlib
import json

import pytest

from memkit.errors import CorruptFileError
from memkit.ledger.records.merge import merge
from memkit.memory.check import check
from memkit.types import Draft, Example

pytestmark = pytest.mark.engines

# Columns, what they are changed to, and what names the row. Foreign keys hold on a server, so
# that numbers and names become others that are there.
COLUMNS = {
    "syntheses": {"record": "2", "content_hash": "'x'", "synthesizer": "'x'"},
    "modules": {"versions": "7", "active": "1"},
    "module_versions": {
        "scope": "'{\"user\":\"u1\"}'", "manifest": "'{}'", "digest": "'x'", "size": "8",
        "created_at": "1.5",
    },
    "members": {
        "module": "'m0002'", "version": "1", "record": "'other'", "position": "9",
        "content_hash": "'x'", "recall": "0.5",
    },
}  # fmt: skip
NAMES = {
    "syntheses": "synthesis 1",
    "modules": "module 'm0001'",
    "module_versions": "version of a module 'm0001'",
    "members": "member 'a'",
}
WHICH = {
    "syntheses": "number = 1",
    "modules": "name = 'm0001'",
    "module_versions": "module = 'm0001' AND version = 2",
    "members": "module = 'm0001' AND version = 2 AND record = 'a'",
}


def read_syntheses(ledger):
    ledger.examples.ever(["a", "b"])


READS = {
    "syntheses": [read_syntheses],
    "modules": [
        lambda ledger: ledger.modules.active(),
        lambda ledger: ledger.modules.get("m0001"),
        lambda ledger: ledger.modules.members("m0001"),
        lambda ledger: ledger.modules.last_version("m0001"),
        lambda ledger: ledger.modules.activate("m0001", 1),
    ],
    "module_versions": [
        lambda ledger: ledger.modules.active(),
        lambda ledger: ledger.modules.get("m0001"),
        lambda ledger: ledger.modules.holding(["a"]),
    ],
    "members": [
        lambda ledger: [ledger.modules.members(name) for name in ("m0001", "m0002")],
        lambda ledger: [ledger.modules.activate(*each) for each in MEMBERS_OF],
        lambda ledger: ledger.modules.holding(["a"]),
    ],
}
MEMBERS_OF = (("m0001", 2), ("m0001", 1), ("m0002", 2))


@pytest.fixture
def filled(ledger):
    """Two modules with two versions each, and examples of their records."""
    a, b = ledger.records.add([Draft("a", id="a"), Draft("b", id="b")])
    ledger.examples.put("by hand", {"a": [Example("Who?", "Ann", "a", False, origin="said")]})
    ledger.examples.put("by hand", {"b": []})
    for name, version, members in (
        ("m0001", 1, [b]), ("m0002", 1, [b]), ("m0001", 2, [a, b]), ("m0002", 2, [b]),
    ):  # fmt: skip
        ledger.modules.commit(
            name, {}, {"seed": version}, file=f"adapters/{name}-{version}", digest=str(version),
            size=9, members=members, held={members[0].id: 1},
        )  # fmt: skip
    return ledger


def merge_all(ledger):
    a, b = ledger.records.find(["a", "b"])
    with ledger.transaction():
        merge(ledger._database, b, [a])


def problems(ledger, table):
    report = check(ledger.place)
    return [p for p in report.problems if f"of {table!r} is not as written" in p]


@pytest.mark.parametrize(
    ("table", "column"), [(table, column) for table, of in COLUMNS.items() for column in of]
)
def test_a_value_that_was_changed_is_not_given(filled, table, column):
    for read in READS[table]:
        read(filled)
    filled.modules.activate("m0001", 2)
    filled._database.execute(
        f"UPDATE {table} SET {column} = {COLUMNS[table][column]} WHERE {WHICH[table]}"
    )
    name = "member 'other'" if column == "record" and table == "members" else NAMES[table]
    for read in READS[table]:
        with pytest.raises(
            CorruptFileError,
            match=f"expected {name} as it was stored, its row in '{table}' has another checksum",
        ):
            read(filled)
    assert len(problems(filled, table)) == 1


@pytest.mark.parametrize("table", COLUMNS)
def test_every_column_is_covered(filled, table):
    """Computed here of what the tables say, in the order that the code names."""
    names = {
        "syntheses": "number, record, content_hash, synthesizer",
        "modules": "name, versions, active",
        "module_versions": "module, version, scope, manifest, digest, size, created_at",
        "members": "module, version, record, position, content_hash, recall",
    }[table]
    rows = filled._database.rows(f"SELECT {names}, checksum FROM {table}")
    assert rows
    for *values, stored in rows:
        content = json.dumps(values, ensure_ascii=False).encode()
        assert stored == hashlib.blake2b(content, digest_size=16).hexdigest()


def test_what_changes_these_rows_keeps_them_right(filled):
    modules = filled.modules
    modules.activate("m0001", 1)
    modules.activate("m0001", 2)
    merge_all(filled)
    modules.discard_weights("adapters/m0001-2")
    modules.drop("m0002", 1)
    modules.drop("m0002")
    modules.repoint("adapters/m0001-1", "adapters/elsewhere")
    for table in COLUMNS:
        assert problems(filled, table) == []
    assert modules.members("m0001") == ["b"]
    assert modules.last_version("m0002") == 2


def test_merging_does_not_make_damage_look_right(filled):
    filled._database.execute("UPDATE members SET recall = 0.5 WHERE record = 'b' AND version = 1")
    with pytest.raises(CorruptFileError, match="expected member 'b' as it was stored"):
        merge_all(filled)


@pytest.mark.parametrize("table", ["modules", "module_versions", "members"])
def test_a_module_that_is_damaged_can_be_dropped(filled, table):
    column = {"modules": "active", "module_versions": "size", "members": "position"}[table]
    filled._database.execute(f"UPDATE {table} SET {column} = 1 WHERE {WHICH[table]}")
    filled._database.execute(f"UPDATE {table} SET {column} = 7 WHERE {WHICH[table]}")
    filled.modules.drop("m0001")
    assert [module.name for module in filled.modules.active()] == ["m0002"]
    assert problems(filled, table) == []


def test_reading_what_is_in_service_again_costs_no_statement(filled):
    filled.modules.active()
    before = filled.modules.active()
    filled._database.rows = None  # nothing may ask it
    assert filled.modules.active() is not None
    assert filled.modules.last_version("m0001") == 2
    del filled._database.rows
    assert filled.modules.active() == before
