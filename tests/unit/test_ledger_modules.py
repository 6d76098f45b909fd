from __future__ import annotations

import pytest

from memkit.errors import InvalidInputError, ModuleNotFoundInMemoryError, RecordNotFoundError
from memkit.ledger import Ledger, ModuleFile
from memkit.types import Draft


def add(ledger, *texts, scope=None, metadata=None):
    return ledger.records.add(
        [Draft(text=text, scope=scope or {}, metadata=metadata or {}) for text in texts]
    )


def commit(ledger, name, held, missed=(), *, scope=None, file=None):
    """Commit a module that holds some records as they are now."""
    return ledger.modules.commit(
        name,
        scope or {},
        {"seed": 1},
        file=file or f"adapters/{name}-{len(ledger.modules.members(name))}-{id(held)}",
        digest="d",
        size=9,
        members=[record.id for record in (*held, *missed)],
        held={record.id: (record.version, 0.9) for record in held},
    )


def change(ledger, record, text):
    return ledger.records.update(record.id, text=text, question=None, answer=None, metadata={})


def ids(records):
    return [record.id for record in records]


def unplaced(ledger, **fields):
    fields = {"within": None, "where": None, "include_turns": True, **fields}
    return ledger.modules.unplaced(**fields)


def test_names_are_never_used_twice(ledger):
    names = [ledger.modules.next_name() for _ in range(3)]
    ledger.close()
    again = Ledger.open(ledger.directory)
    assert [*names, again.modules.next_name()] == ["m0001", "m0002", "m0003", "m0004"]
    again.close()


def test_a_committed_module_holds_its_records(ledger):
    a, b, c = add(ledger, "a", "b", "c", scope={"user": "u1"})
    module = commit(ledger, "m0001", [b, a], [c], scope={"user": "u1"}, file="adapters/x")
    assert (module.name, module.version, module.scope) == ("m0001", 1, {"user": "u1"})
    assert module.records == (a.id, b.id)
    assert module.manifest == {"seed": 1}
    assert ledger.modules.get("m0001") == module
    assert ledger.modules.active() == [module]
    assert ledger.modules.file("m0001") == ModuleFile("adapters/x", "d", 9)
    assert ledger.modules.members("m0001") == sorted(ids([a, b, c]))
    assert ledger.modules.placements(ids([a, b, c])) == {a.id: "m0001", b.id: "m0001"}
    assert unplaced(ledger) == [c]
    assert ledger.modules.holding([c.id]) == [module]
    assert ledger.modules.holding(["x"]) == []


def test_retraining_replaces_the_version_and_queues_its_file(ledger):
    a, b = add(ledger, "a", "b")
    commit(ledger, "m0001", [a, b], file="adapters/one")
    second = commit(ledger, "m0001", [b], file="adapters/two")
    assert (second.version, second.records) == (2, (b.id,))
    assert ledger.modules.active() == [second]
    assert ledger.modules.members("m0001") == [b.id]
    assert unplaced(ledger) == [a]
    assert ledger.erasures.pending() == ["adapters/one"]


def test_a_record_lives_in_one_module_but_stays_in_the_weights_of_another(ledger):
    a, b = add(ledger, "a", "b")
    commit(ledger, "m0001", [a, b])
    commit(ledger, "m0002", [a])
    assert ledger.modules.placements([a.id, b.id]) == {a.id: "m0002", b.id: "m0001"}
    assert ledger.modules.get("m0001").records == (b.id,)
    assert [m.name for m in ledger.modules.holding([a.id])] == ["m0001", "m0002"]


def test_an_updated_record_is_no_longer_held_but_still_in_the_weights(ledger):
    a, b = add(ledger, "a", "b")
    commit(ledger, "m0001", [a, b])
    a = change(ledger, a, "changed")
    assert ledger.modules.placements([a.id, b.id]) == {b.id: "m0001"}
    assert ledger.modules.get("m0001").records == (b.id,)
    assert unplaced(ledger) == [a]
    assert [m.name for m in ledger.modules.holding([a.id])] == ["m0001"]


def test_a_record_updated_during_training_is_not_held(ledger):
    [a] = add(ledger, "a")
    change(ledger, a, "changed")
    module = commit(ledger, "m0001", [a])
    assert module.records == ()
    assert ledger.modules.placements([a.id]) == {}


def test_a_record_deleted_during_training_refuses_the_module(ledger):
    a, b = add(ledger, "a", "b")
    commit(ledger, "m0001", [a], file="adapters/one")
    ledger.records.delete([b.id])
    with pytest.raises(RecordNotFoundError, match=f"record '{b.id}' was deleted while") as caught:
        commit(ledger, "m0001", [a], [b])
    assert "train again" in caught.value.hint
    assert ledger.modules.get("m0001").version == 1
    assert ledger.erasures.pending() == []


def test_deleted_records_stay_members_until_the_module_changes(ledger):
    a, b = add(ledger, "a", "b")
    commit(ledger, "m0001", [a, b])
    ledger.records.delete([a.id])
    assert ledger.modules.get("m0001").records == (b.id,)
    assert a.id in ledger.modules.members("m0001")
    assert [m.name for m in ledger.modules.holding([a.id])] == ["m0001"]
    commit(ledger, "m0001", [b])
    assert ledger.modules.holding([a.id]) == []


def test_dropping_queues_the_file_in_the_same_transaction(ledger, undone):
    [a] = add(ledger, "a")
    commit(ledger, "m0001", [a], file="adapters/one")
    with undone(ledger):
        ledger.modules.drop("m0001")
        assert ledger.erasures.pending() == ["adapters/one"]
    assert ledger.erasures.pending() == []
    ledger.modules.drop("m0001")
    assert ledger.modules.active() == []
    assert ledger.modules.members("m0001") == []
    assert unplaced(ledger) == [a]
    assert ledger.erasures.pending() == ["adapters/one"]
    for use in (ledger.modules.get, ledger.modules.file, ledger.modules.drop):
        with pytest.raises(ModuleNotFoundInMemoryError, match="no module has the name 'm0001'"):
            use("m0001")


def test_a_version_number_is_never_used_twice(ledger):
    [a] = add(ledger, "a")
    commit(ledger, "m0001", [a], file="f1")
    ledger.modules.drop("m0001")
    assert commit(ledger, "m0001", [a], file="f2").version == 2


def test_modules_are_seen_by_their_scope(ledger):
    [shared] = add(ledger, "a")
    [mine] = add(ledger, "a", scope={"user": "u1"})
    commit(ledger, "m0001", [shared])
    commit(ledger, "m0002", [mine], scope={"user": "u1"})

    def seen(scope):
        return [module.name for module in ledger.modules.active(visible_to=scope)]

    assert seen({}) == ["m0001"]
    assert seen({"user": "u2"}) == ["m0001"]
    assert seen({"user": "u1", "session": "s"}) == ["m0001", "m0002"]
    assert seen(None) == ["m0001", "m0002"]


def test_a_module_never_shows_a_record_to_more_than_its_scope(ledger):
    [mine] = add(ledger, "a", scope={"user": "u1"})
    [shared] = add(ledger, "a")
    for scope in ({}, {"user": "u2"}, {"session": "s"}):
        with pytest.raises(InvalidInputError, match=f"would show record '{mine.id}' of scope"):
            commit(ledger, "m0001", [mine], scope=scope)
    module = commit(ledger, "m0001", [mine, shared], scope={"user": "u1"})
    assert module.records == (mine.id, shared.id)


def test_what_cannot_be_committed_is_refused(ledger):
    a, b = add(ledger, "a", "b")
    fields = {"file": "f", "digest": "d", "size": 1}
    with pytest.raises(InvalidInputError, match="`held` must be part of `members`, got also"):
        ledger.modules.commit("m", {}, {}, **fields, members=[a.id], held={b.id: (1, 1.0)})
    for path in ("/etc/passwd", "../x", "adapters/../../x", "", "a\\b"):
        with pytest.raises(InvalidInputError, match="`file` must be a path below"):
            ledger.modules.commit("m", {}, {}, **{**fields, "file": path}, members=[], held={})
    commit(ledger, "m0001", [a], file="f")
    with pytest.raises(InvalidInputError, match="`file` 'f' belongs to a module already"):
        commit(ledger, "m0001", [a], file="f")
    ledger.erasures.queue("g")
    with pytest.raises(InvalidInputError, match=r"`file` 'g' .* queued for destruction"):
        commit(ledger, "m0001", [a], file="g")
    assert ledger.modules.get("m0001").version == 1


def test_unplaced_lists_in_order_and_narrows(ledger):
    a, b, c = add(ledger, "a", "b", "c", metadata={"n": 1})
    [d] = add(ledger, "d", scope={"user": "u1"})
    ledger.turns.add("user", "b", {}, record_id=b.id)
    commit(ledger, "m0001", [c])
    assert unplaced(ledger) == [a, b, d]
    assert unplaced(ledger, include_turns=False) == [a, d]
    assert unplaced(ledger, within={"user": "u1"}) == [d]
    assert unplaced(ledger, where={"n": 1}, include_turns=False) == [a]


def test_the_generation_grows_with_every_change_of_modules_or_placements(ledger):
    a, b = add(ledger, "a", "b")
    steps = [
        ("nothing", lambda: add(ledger, "c"), False),
        ("commit", lambda: commit(ledger, "m0001", [a, b]), True),
        ("move", lambda: commit(ledger, "m0002", [a]), True),
        ("update of a held record", lambda: change(ledger, a, "changed"), True),
        ("deletion of a held record", lambda: ledger.records.delete([b.id]), True),
        ("turn", lambda: ledger.turns.add("user", "x", {}, record_id=None), False),
        ("drop", lambda: ledger.modules.drop("m0002"), True),
    ]
    for name, step, grows in steps:
        before = ledger.modules.generation()
        step()
        assert (ledger.modules.generation() > before) is grows, name


def test_another_connection_notices(ledger):
    other = Ledger.open(ledger.directory)
    [a] = add(ledger, "a")
    before = other.modules.generation()
    commit(ledger, "m0001", [a])
    assert other.modules.generation() > before
    assert [module.name for module in other.modules.active()] == ["m0001"]
    other.close()


def test_a_thousand_records_in_a_module(ledger):
    records = add(ledger, *(f"fact {n}" for n in range(1000)))
    module = commit(ledger, "m0001", records)
    assert module.records == tuple(ids(records))
    assert len(ledger.modules.placements(ids(records))) == 1000


def test_erasures_survive_reopening(ledger):
    ledger.erasures.queue("adapters/b")
    ledger.erasures.queue("adapters/a")
    ledger.erasures.queue("adapters/a")
    ledger.close()
    again = Ledger.open(ledger.directory)
    assert again.erasures.pending() == ["adapters/a", "adapters/b"]
    again.erasures.done("adapters/a")
    again.erasures.done("unknown")
    assert again.erasures.pending() == ["adapters/b"]
    with pytest.raises(InvalidInputError, match="`path` must be a path below the memory's"):
        again.erasures.queue("../../etc/passwd")
    again.close()
