"""What a filter selects, in SQL and in Python; its lookup gives no record too few."""

from __future__ import annotations

import operator as op
from unicodedata import normalize

import pytest
from hypothesis import HealthCheck, example, given, reject, settings
from hypothesis import strategies as st

from memkit.errors import InvalidInputError
from memkit.ledger import Ledger
from memkit.ledger.check.derived import check_derived
from memkit.ledger.engine.inspection import SqliteInspector
from memkit.ledger.records.filters import MAX_CONDITIONS, MAX_DEPTH, parse
from memkit.types import CheckReport, Draft
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


@pytest.mark.parametrize("value", [["x"], ["x", "x"], [1, [2]], [None], {"b": ["x"]}, [], {}, None])
def test_a_check_finds_the_terms_of_whatever_metadata_there_is(ledger, value):
    ledger.records.add([Draft("a", metadata={"a": value})])
    report = CheckReport(ledger.directory, repair=False)
    check_derived(ledger._database, SqliteInspector(ledger._database), report)
    assert not report.problems


def passes(where, metadata):
    """What the language means, written down a second time, over a flat list of names."""
    return all(of_part(key, value, metadata) for key, value in where.items())


def of_part(key, value, metadata):
    if key == "$and":
        return all(passes(part, metadata) for part in value)
    if key == "$or":
        return any(passes(part, metadata) for part in value)
    if key == "$not":
        return not passes(value, metadata)
    return of_key(value, normalize("NFC", key), dict(names("", metadata)))


def names(prefix, metadata):
    for key, value in metadata.items():
        yield prefix + key, value
        if isinstance(value, dict):
            yield from names(f"{prefix}{key}.", value)


def of_key(tests, key, flat):
    tests = tests if isinstance(tests, dict) else {"$eq": tests}
    return all(of_operator(operator, operand, key, flat) for operator, operand in tests.items())


def of_operator(operator, operand, key, flat):
    if operator == "$exists":
        return (key in flat) == operand
    if operator in {"$ne", "$nin"}:
        return not of_operator({"$ne": "$eq", "$nin": "$in"}[operator], operand, key, flat)
    if operator == "$in":
        return any(of_operator("$eq", choice, key, flat) for choice in operand)
    if key not in flat:
        return False
    value = flat[key]
    elements = value if isinstance(value, list) else []
    wanted = typed(operand)
    if operator == "$contains":
        part = isinstance(value, str) and isinstance(operand, str) and wanted[1] in value
        return part or wanted in map(typed, elements)
    compare = {"$eq": op.eq, "$gt": op.gt, "$gte": op.ge, "$lt": op.lt, "$lte": op.le}[operator]
    held = map(typed, [value, *elements])
    return any(kind == wanted[0] and compare(each, wanted[1]) for kind, each in held)


def typed(value):
    if isinstance(value, str):
        return "text", normalize("NFC", value)
    kind = "number" if type(value) in {int, float} else type(value).__name__
    return kind, value


@pytest.mark.slow
@given(FILTERS, st.lists(METADATA, min_size=1, max_size=4))
@example({"a": LONG + "b"}, [{"a": LONG + "b"}, {"a": LONG + "c"}])
@example({"a": {"$gt": LONG + "b"}}, [{"a": LONG + "c"}, {"a": LONG}])
@example({"a": {"$lt": LONG + "b"}}, [{"a": LONG}, {"a": LONG + "c"}])
@example({"a": {"$contains": LONG}}, [{"a": "b" + LONG}, {"a": [LONG, "b"]}, {"a": [LONG + "b"]}])
@example({"b.c": 1}, [{"a": {"b.c": 1}}, {"b.c": [1]}, {"b": {"c": [[1]]}}, {"b": {"c": 1.0}}])
@example({"a": {"$nin": [1, None]}}, [{"a": [None]}, {"a": [2]}, {"a": True}, {}, {"a": {}}])
@example({"e\u0301": "e\u0301"}, [{"\u00e9": "\u00e9"}, {"e\u0301": ["e\u0301"]}, {"e": "e"}])
@example({"a": None}, [{"a": None}, {"a": []}, {"a": {}}, {}])
@example({"a.b": True}, [{"a": {"b": True}}, {"a": {"b": 1}}, {"a": [{"b": True}]}])
@example({"a": {"$lte": 2**53}}, [{"a": float(2**53)}, {"a": 2**53 + 1}])
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_ledger_finds_what_the_filter_means(shared, where, metadata):
    shared.records.delete(shared.records.ids(expired=True))
    try:
        drafts = [Draft(f"{n}", metadata=each) for n, each in enumerate(metadata)]
        records = shared.records.add(drafts)
    except InvalidInputError:  # two of the keys are one, for a filter
        reject()
    expected = [r.id for r in records if passes(where, r.metadata)]
    assert shared.records.ids(where=where) == expected
    assert [r.id for r in records if parse(where).matches(r.metadata)] == expected


def nested(connectives, leaf):
    """As deep as filters may be, with a condition beside each filter in a filter."""
    where = leaf
    for depth in range(MAX_DEPTH):
        connective = connectives[depth % len(connectives)]
        beside = {"x.y": depth} if connective == "$or" else {"a.b": {"$gte": 2}}
        where = {"$not": where} if connective == "$not" else {connective: [beside, where]}
    return where


def full(leaf, width):
    """A balanced tree of conditions, alternately all and any of its branches."""
    level, connective = [leaf] * MAX_CONDITIONS, "$and"
    while len(level) > 1:
        starts = range(0, len(level), width)
        level = [{connective: level[start : start + width]} for start in starts]
        connective = "$or" if connective == "$and" else "$and"
    return level[0]


DEEP = [
    *(["$or"], ["$and"], ["$not"], ["$or", "$and"], ["$and", "$or"], ["$or", "$not"]),
    *(["$and", "$not"], ["$or", "$and", "$not"], ["$not", "$not", "$or"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "where",
    [
        *(nested(connectives, {"a.b": 2}) for connectives in DEEP),
        *(full({"a.b": {"$in": [1, 2]}}, width) for width in (2, 3, 15, 200)),
        *({"$or": [{}] * 200}, {"$and": [{}] * 200}, {"$or": [{"a.b": n} for n in range(200)]}),
        {f"x{n}": {"$exists": False} for n in range(200)},
    ],
)
def test_filters_are_read_up_to_their_limits(shared, where):
    shared.records.delete(shared.records.ids(expired=True))
    shared.records.add([Draft("1", metadata={"a": {"b": 2}}), Draft("2", metadata={"a.b": 3})])
    records = shared.records.get(shared.records.ids())
    assert shared.records.ids(where=where) == [r.id for r in records if passes(where, r.metadata)]
    with pytest.raises(InvalidInputError, match=r"at most (16 levels|200 conditions)"):
        parse({"$or": [{"b": 1}, *[where] * 200], "c": 1})


def test_only_filters_that_name_what_is_there_are_looked_up():
    assert parse({"a": 1}).lookup() is not None
    assert parse({"$or": [{"a": 1}, {"b": {"$gt": 2}}]}).lookup() is not None
    assert parse({"a": {"$ne": 1}, "b": 1}).lookup() is not None
    for where in ({}, {"a": {"$ne": 1}}, {"$not": {"a": 1}}, {"a": {"$exists": False}}):
        assert parse(where).lookup() is None
    assert parse({"$or": [{"a": 1}, {"b": {"$ne": 2}}]}).lookup() is None


def test_a_lookup_reads_an_index_and_no_other_record(ledger):
    sql, parameters = parse({"a": 1, "b": {"$gte": "x"}}).lookup()
    plan = ledger._database.rows(f"EXPLAIN QUERY PLAN {sql}", *parameters)
    steps = [row[3] for row in plan if "metadata_terms" in row[3]]
    assert len(steps) == 2
    assert all(step.startswith("SEARCH") and "key=?" in step for step in steps)


def test_terms_follow_every_change(ledger):
    record = ledger.records.add([Draft("one", metadata={"a": {"b": [1, {"c": 2}]}, "n": 1.5})])[0]
    assert terms(ledger) == [("a", b""), ("b", 1), ("b", b""), ("c", 2), ("n", 1.5)]
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
