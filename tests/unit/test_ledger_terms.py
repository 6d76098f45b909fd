"""The lookup of metadata may give too many records, never too few, and keeps nothing."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from memkit.ledger import Ledger
from memkit.ledger.records import filters
from memkit.ledger.records.filters import matches
from memkit.types import Draft
from tests.unit.test_filters import FILTERS, METADATA

LONG = "x" * 70


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    ledger = Ledger.open(tmp_path_factory.mktemp("ledger"))
    yield ledger
    ledger.close()


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger.open(tmp_path)
    yield ledger
    ledger.close()


def terms(ledger):
    rows = ledger._database.rows("SELECT key, value FROM metadata_terms ORDER BY key, value")
    return [tuple(row) for row in rows]


@given(FILTERS, st.lists(METADATA, min_size=1, max_size=4))
@example({"a": LONG + "b"}, [{"a": LONG + "b"}, {"a": LONG + "c"}])
@example({"a": {"$gt": LONG + "b"}}, [{"a": LONG + "c"}, {"a": LONG}])
@example({"a": {"$lt": LONG + "b"}}, [{"a": LONG}, {"a": LONG + "c"}])
@example({"a": None}, [{"a": None}, {"a": []}, {"a": {}}, {}])
@example({"a.b": True}, [{"a": {"b": True}}, {"a": {"b": 1}}, {"a": [{"b": True}]}])
@example({"a": {"$lte": 2**53}}, [{"a": float(2**53)}, {"a": 2**53 + 1}])
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_ledger_finds_what_the_filter_means(shared, where, metadata):
    shared.records.delete(shared.records.ids(expired=True))
    records = shared.records.add([Draft(f"{n}", metadata=one) for n, one in enumerate(metadata)])
    expected = [r.id for r, one in zip(records, metadata, strict=True) if matches(where, one)]
    assert shared.records.ids(where=where) == expected


def test_only_filters_that_name_what_is_there_are_looked_up():
    assert filters.lookup({"a": 1}) is not None
    assert filters.lookup({"$or": [{"a": 1}, {"b": {"$gt": 2}}]}) is not None
    assert filters.lookup({"a": {"$ne": 1}, "b": 1}) is not None
    for where in ({}, {"a": {"$ne": 1}}, {"$not": {"a": 1}}, {"a": {"$exists": False}}):
        assert filters.lookup(where) is None
    assert filters.lookup({"$or": [{"a": 1}, {"b": {"$ne": 2}}]}) is None


def test_a_lookup_reads_an_index_and_no_other_record(ledger):
    sql, parameters = filters.lookup({"a": 1, "b": {"$gte": "x"}})
    plan = ledger._database.rows(f"EXPLAIN QUERY PLAN {sql}", *parameters)
    steps = [row[3] for row in plan if "metadata_terms" in row[3]]
    assert len(steps) == 2
    assert all(step.startswith("SEARCH") and "key=?" in step for step in steps)


def test_terms_follow_every_change(ledger):
    record = ledger.records.add([Draft("one", metadata={"a": {"b": [1, {"c": 2}]}, "n": 1.5})])[0]
    assert terms(ledger) == [("a", b""), ("b", b""), ("c", 2), ("n", 1.5)]
    ledger.records.update(record.id, text="one", question=None, answer=None, metadata={"n": True})
    assert terms(ledger) == [("n", 1)]
    ledger.records.delete([record.id])
    assert terms(ledger) == []


def test_a_forgotten_value_leaves_the_file(ledger):
    record = ledger.records.add([Draft("one", metadata={"name": "Persephone"})])[0]
    ledger.records.add([Draft("two", metadata={"name": "Orpheus"})])
    ledger.records.delete([record.id])
    assert ledger.scrub()
    held = b"".join(path.read_bytes() for path in ledger.directory.iterdir() if path.is_file())
    assert b"Persephone" not in held
    assert b"Orpheus" in held
