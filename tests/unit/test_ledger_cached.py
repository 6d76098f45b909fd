"""What is read once per change is never stale, whoever makes the change and however it ends."""

from __future__ import annotations

from contextlib import suppress

import pytest

from memkit.ledger import Ledger
from memkit.types import ALWAYS, Draft

pytestmark = pytest.mark.engines


@pytest.fixture
def clock(ledger):
    """The ledger's clock, to be set."""
    time = [1000.0]
    ledger._database.clock = lambda: time[0]
    return time


@pytest.fixture
def statements(ledger, monkeypatch):
    """All that is read, as it is read."""
    texts = []
    rows = ledger._database.rows
    monkeypatch.setattr(
        ledger._database, "rows", lambda sql, *values: texts.append(sql) or rows(sql, *values)
    )
    return texts


def train(ledger, name, *records, scope=None):
    return ledger.modules.commit(
        name, scope or {}, {"seed": 1}, file=f"adapters/{name}", digest="d", size=9,
        members=records, held={record.id: 1.0 for record in records},
    )  # fmt: skip


def test_settings_and_modules_are_read_once(ledger, statements):
    [record] = ledger.records.add([Draft("fact")])
    train(ledger, "m0001", record)
    ledger.set_meta("colour", "red")
    del statements[:]
    for _ in range(3):
        assert (ledger.get_meta("colour"), ledger.get_meta("none")) == ("red", None)
        assert [m.name for m in ledger.modules.active(visible_to={"user": "u1"})] == ["m0001"]
        assert ledger.modules.file("m0001").path == "adapters/m0001"
    assert len(statements) <= 4


def test_a_change_by_another_connection_is_seen(ledger):
    assert ledger.get_meta("colour") is None
    assert ledger.modules.active() == []
    other = Ledger.open(ledger.place)
    other.set_meta("colour", "red")
    train(other, "m0001", *other.records.add([Draft("fact")]))
    other.close()
    assert ledger.get_meta("colour") == "red"
    assert [module.name for module in ledger.modules.active()] == ["m0001"]


def test_what_is_rolled_back_is_not_remembered(ledger):
    ledger.set_meta("colour", "red")
    before = ledger.state()
    with suppress(ZeroDivisionError), ledger.transaction():
        ledger.set_meta("colour", "blue")
        assert ledger.get_meta("colour") == "blue"
        during = ledger.state()
        raise ZeroDivisionError
    assert ledger.get_meta("colour") == "red"
    assert len({before, during, ledger.state()}) == 3  # what was read meanwhile is stale


def test_reading_is_no_change(ledger):
    before = ledger.state()
    ledger.records.page()
    with ledger.transaction():
        ledger.get_meta("colour")
    assert ledger.state() == before


def test_a_module_is_out_of_service_once_a_record_has_expired(ledger, clock):
    [brief, other] = ledger.records.add([Draft("Gone soon.", ttl=60), Draft("Stays.")])
    train(ledger, "m0001", brief)
    train(ledger, "m0002", other)
    assert [module.name for module in ledger.modules.active()] == ["m0001", "m0002"]
    clock[0] += 59
    assert [module.name for module in ledger.modules.active()] == ["m0001", "m0002"]
    clock[0] += 1
    assert [module.name for module in ledger.modules.active()] == ["m0002"]
    clock[0] -= 1  # clocks are set back
    assert [module.name for module in ledger.modules.active()] == ["m0001", "m0002"]


def test_pinned_records_and_counts_are_those_of_now(ledger, clock, statements):
    ann, bob = {"user": "ann"}, {"user": "bob"}
    [record, _] = ledger.records.add(
        [Draft("Hers.", scope=ann, pinned=True), Draft("Gone soon.", scope=ann, ttl=60)]
    )
    bounds = {"where": None, "period": ALWAYS}

    def seen(scope):
        pinned = [r.text for r in ledger.records.pinned(visible_to=scope)]
        return pinned, ledger.lexicon.count(limit=9, visible_to=scope, **bounds)

    assert seen(ann) == (["Hers."], 2)
    assert seen(bob) == ([], 0)
    del statements[:]
    assert (seen(ann), seen(bob)) == ((["Hers."], 2), ([], 0))
    assert statements == []
    clock[0] += 60
    assert seen(ann) == (["Hers."], 1)
    ledger.records.pinned(visible_to=ann).clear()
    assert seen(ann) == (["Hers."], 1)
    ledger.records.unpin(record.id)
    assert seen(ann) == ([], 1)
    assert ledger.lexicon.count(limit=9, visible_to=ann, where={"a": 1}, period=ALWAYS) == 0


def test_modules_are_listed_by_scope(ledger):
    scopes = ({}, {"user": "u1"}, {"user": "u1", "session": "s1"}, {"user": "u2"})
    for number, scope in enumerate(scopes):
        records = ledger.records.add([Draft(f"fact {number}", scope=scope)])
        train(ledger, f"m{number}", *records, scope=scope)

    def names(**which):
        return [module.name for module in ledger.modules.active(**which)]

    assert names(visible_to={"user": "u1"}) == ["m0", "m1"]
    assert names(within={"user": "u1"}) == ["m1", "m2"]
    assert names(visible_to={"user": "u1", "session": "s1"}, within={"session": "s1"}) == ["m2"]
    assert names() == ["m0", "m1", "m2", "m3"]


def test_old_values_go_when_there_are_too_many(ledger):
    cache, reads = ledger._database.cache, []
    for key in range(1200):
        assert cache.get(key, lambda key=key: reads.append(key) or key) == key
    assert cache.get(1199, lambda: reads.append("again")) == 1199
    assert len(reads) == 1200
    assert cache.get(0, lambda: "again") == "again"


def test_nothing_deleted_stays_in_memory(ledger):
    [record] = ledger.records.add([Draft("Persephone's code is 8812.", pinned=True)])
    assert ledger.records.pinned(visible_to={}) == [record]
    assert "Persephone" in repr(vars(ledger._database.cache))
    ledger.records.delete([record.id])
    assert "Persephone" not in repr(vars(ledger._database.cache))


def test_one_look_sees_what_was_there_at_its_beginning_and_the_next_one_what_came(ledger):
    ledger.set_meta("colour", "red")
    other = Ledger.open(ledger.place)
    with ledger.one_look() as state:
        assert ledger.get_meta("colour") == "red"
        other.set_meta("colour", "blue")
        assert (ledger.state(), ledger.get_meta("colour")) == (state, "red")
        with ledger.one_look() as later:  # looks for itself
            assert (later != state, ledger.get_meta("colour")) == (True, "blue")
        assert ledger.state() == state
    assert (ledger.state(), ledger.get_meta("colour")) == (later, "blue")
    other.close()


def test_what_is_read_by_id_is_read_once_for_each_id_until_something_changes(ledger):
    asked = []

    def read(ids):
        asked.append(list(ids))
        return {id: id.upper() for id in ids if id != "none"}

    def values(*ids):
        return ledger.cache.get_each("upper", ids, read)

    assert values("b", "none", "a", "b") == {"b": "B", "a": "A"}
    assert list(values("c", "none", "b").items()) == [("c", "C"), ("b", "B")]
    assert asked == [["b", "none", "a"], ["c"]]
    ledger.set_meta("colour", "red")
    assert values("a") == {"a": "A"}
    assert asked[2:] == [["a"]]
    many = [str(number) for number in range(5000)]
    assert values(*many) == {id: id for id in many}
    assert values(*many) == {id: id for id in many}  # too many to be held
    assert [len(ids) for ids in asked[3:]] == [5000, 5000]
