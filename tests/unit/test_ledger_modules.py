from __future__ import annotations

from itertools import count

import pytest

from memkit.errors import (
    InvalidInputError,
    ModuleNotFoundInMemoryError,
    RecordNotFoundError,
    UnsafePathError,
)
from memkit.ledger import Ledger, ModuleFile
from memkit.ledger.engine.checksums import stamp
from memkit.types import Draft

pytestmark = pytest.mark.engines


def add(ledger, *texts, scope=None, metadata=None):
    return ledger.records.add(
        [Draft(text=text, scope=scope or {}, metadata=metadata or {}) for text in texts]
    )


FILES = count()


def commit(ledger, name, held, missed=(), *, scope=None, file=None, digest="d"):
    """Commit a module that holds some records as they are here."""
    return ledger.modules.commit(
        name,
        scope or {},
        {"seed": 1},
        file=file or f"adapters/{next(FILES)}",
        digest=digest,
        size=9,
        members=[*held, *missed],
        held={record.id: 0.9 for record in held},
    )


def change(ledger, record, text=None, metadata=None):
    return ledger.records.update(
        record.id,
        text=text or record.text,
        question=None,
        answer=None,
        metadata=metadata or record.metadata,
    )


def paths(files):
    return [file.path for file in files]


def ids(records):
    return [record.id for record in records]


def unplaced(ledger, **fields):
    fields = {"within": None, "where": None, "include_turns": True, **fields}
    return ledger.modules.unplaced(**fields)


def test_names_are_never_used_twice(ledger):
    names = [ledger.modules.next_name() for _ in range(3)]
    ledger.close()
    again = Ledger.open(ledger.place)
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
    assert ledger.modules.members("m0001") == ids([b, a, c])  # in the order of training
    assert ledger.modules.placements(ids([a, b, c])) == {a.id: "m0001", b.id: "m0001"}
    assert unplaced(ledger) == [c]
    assert ledger.modules.holding([c.id]) == [module]
    assert ledger.modules.holding(["x"]) == []


def test_retraining_makes_the_next_version_and_keeps_the_older_ones(ledger):
    a, b = add(ledger, "a", "b")
    first = commit(ledger, "m0001", [a, b], file="adapters/one")
    second = commit(ledger, "m0001", [b], file="adapters/two")
    assert (first.versions, first.active) == ((1,), True)
    assert (second.version, second.records, second.versions) == (2, (b.id,), (1, 2))
    assert ledger.modules.active() == [second]
    assert ledger.modules.members("m0001") == [b.id]
    assert unplaced(ledger) == [a]
    assert ledger.modules.file("m0001").path == "adapters/two"
    assert ledger.modules.file("m0001", 1).path == "adapters/one"
    assert paths(ledger.modules.files("m0001")) == ["adapters/one", "adapters/two"]
    older = ledger.modules.in_file("adapters/one")
    assert (older.version, older.records, older.active) == (1, (), False)
    assert ledger.erasures.pending() == []


def test_old_versions_are_destroyed_when_there_are_too_many(ledger):
    [a] = add(ledger, "a")
    for n in range(1, 6):
        commit(ledger, "m0001", [a], file=f"adapters/{n}", digest=str(n))
    assert ledger.modules.get("m0001").versions == (3, 4, 5)
    assert ledger.erasures.pending() == ["adapters/1", "adapters/2"]


def test_the_version_that_was_active_before_is_kept(ledger):
    [a] = add(ledger, "a")
    for n in range(1, 4):
        commit(ledger, "m0001", [a], file=f"adapters/{n}", digest=str(n))
    ledger.modules.activate("m0001", 1)
    commit(ledger, "m0001", [a], file="adapters/4", digest="4")
    assert ledger.modules.get("m0001").versions == (1, 3, 4)
    assert ledger.erasures.pending() == ["adapters/2"]


def test_an_older_version_takes_its_records_back(ledger):
    a, b, c, d = add(ledger, "a", "b", "c", "d")
    commit(ledger, "m0001", [a, b, c])
    commit(ledger, "m0001", [c, d])
    commit(ledger, "m0002", [b])
    module = ledger.modules.activate("m0001", 1)
    assert (module.version, module.records, module.versions) == (1, (a.id, c.id), (1, 2))
    assert ledger.modules.get("m0001") == module
    # What another module holds stays there; what only the newer version held is held no more.
    assert ledger.modules.placements(ids([a, b, c, d])) == {
        a.id: "m0001", b.id: "m0002", c.id: "m0001",
    }  # fmt: skip
    assert unplaced(ledger) == [d]
    assert ledger.modules.former_placements([d.id]) == {}
    assert ledger.modules.activate("m0001", 1) == module
    assert ledger.modules.activate("m0001", 2).records == (c.id, d.id)
    assert commit(ledger, "m0001", [a]).version == 3


def test_activating_is_one_transaction_that_others_see(ledger, undone):
    other = Ledger.open(ledger.place)
    a, b = add(ledger, "a", "b")
    commit(ledger, "m0001", [a])
    commit(ledger, "m0001", [b])
    with undone(ledger):
        ledger.modules.activate("m0001", 1)
        assert ledger.modules.placements(ids([a, b])) == {a.id: "m0001"}
        assert other.modules.placements(ids([a, b])) == {b.id: "m0001"}
    assert ledger.modules.get("m0001").version == other.modules.get("m0001").version == 2
    ledger.modules.activate("m0001", 1)
    assert other.modules.get("m0001").version == 1
    assert other.modules.placements(ids([a, b])) == {a.id: "m0001"}
    other.close()


def test_a_version_that_is_not_there_cannot_be_activated(ledger):
    [a] = add(ledger, "a")
    for n in range(1, 5):
        commit(ledger, "m0001", [a], digest=str(n))
    for version in (0, 1, 5, -1):
        with pytest.raises(
            ModuleNotFoundInMemoryError, match=f"module 'm0001' has no version {version}"
        ) as caught:
            ledger.modules.activate("m0001", version)
        assert caught.value.hint == "These are kept: 2, 3, 4."
    with pytest.raises(ModuleNotFoundInMemoryError, match="no module has the name 'm0002'"):
        ledger.modules.activate("m0002", 1)
    assert ledger.modules.get("m0001").version == 4


def test_the_same_weights_make_no_new_version(ledger):
    a, b = add(ledger, "a", "b")
    commit(ledger, "m0001", [a], [b], file="adapters/one", digest="same")
    again = commit(ledger, "m0001", [a], [b], file="adapters/two", digest="same")
    assert (again.version, again.versions) == (1, (1,))
    assert ledger.modules.file("m0001") == ModuleFile("adapters/two", "same", 9)
    assert ledger.erasures.pending() == ["adapters/one"]


def test_an_older_version_that_is_trained_again_becomes_active(ledger):
    a, b = add(ledger, "a", "b")
    commit(ledger, "m0001", [a], digest="one")
    commit(ledger, "m0001", [b], digest="two")
    commit(ledger, "m0002", [a], digest="one")  # weights are compared within a module only
    again = commit(ledger, "m0001", [a], digest="one")
    assert (again.version, again.versions) == (1, (1, 2))
    assert again.records == ()  # another module has taken the record over meanwhile


def test_weights_that_differ_in_what_they_stand_for_are_versions(ledger):
    a, b = add(ledger, "a", "b")
    for n, (held, missed) in enumerate([([a, b], []), ([b, a], []), ([a], [b]), ([a], [])], 1):
        assert commit(ledger, "m0001", held, missed, digest="same").version == n
    a = change(ledger, a, "changed")
    assert commit(ledger, "m0001", [a], digest="same").version == 5


def test_lost_weights_put_a_module_out_of_service_until_it_is_trained_again(ledger):
    a, b = add(ledger, "a", "b")
    first = commit(ledger, "m0001", [b, a], file="adapters/one", digest="one")
    ledger.modules.discard_weights("adapters/one")
    assert ledger.modules.active() == []
    assert ledger.modules.files() == []
    assert ledger.erasures.pending() == ["adapters/one"]
    [lost] = ledger.modules.without_weights()
    assert (lost.name, lost.version, lost.records, lost.versions) == ("m0001", 1, (), ())
    assert ledger.modules.members("m0001") == ids([b, a])
    assert unplaced(ledger) == [a, b]
    assert ledger.modules.placements(ids([a, b])) == {}
    assert ledger.modules.former_placements(ids([a, b])) == {a.id: "m0001", b.id: "m0001"}
    for use in (ledger.modules.get, ledger.modules.file):
        with pytest.raises(ModuleNotFoundInMemoryError, match="no module has the name 'm0001'"):
            use("m0001")
    again = commit(ledger, "m0001", [b, a], file="adapters/two", digest="one")
    assert (again, ledger.modules.without_weights()) == (first, [])
    assert ledger.modules.file("m0001").path == "adapters/two"


def test_of_a_version_that_cannot_be_had_again_nothing_is_left(ledger):
    a, b = add(ledger, "a", "b")
    commit(ledger, "m0001", [a], file="adapters/one")
    commit(ledger, "m0001", [b], file="adapters/two")
    commit(ledger, "m0001", [a, b], file="adapters/three")
    ledger.modules.discard_weights("adapters/one")  # not active
    assert ledger.modules.get("m0001").versions == (2, 3)
    ledger.modules.discard_weights("adapters/three")
    assert ledger.modules.activate("m0001", 2).versions == (2,)
    assert ledger.modules.without_weights() == []
    assert [module.version for module in ledger.modules.holding([a.id])] == []
    ledger.modules.discard_weights("adapters/two")
    assert commit(ledger, "m0001", [a], file="adapters/four").versions == (4,)
    for path in ("adapters/one", "adapters/three", "adapters/x"):
        with pytest.raises(ModuleNotFoundInMemoryError, match=f"no module has .* in '{path}'"):
            ledger.modules.discard_weights(path)


def test_an_older_version_can_be_dropped_alone(ledger):
    a, b = add(ledger, "a", "b")
    commit(ledger, "m0001", [a], file="adapters/one")
    commit(ledger, "m0001", [b], file="adapters/two")
    assert [(m.version, m.active) for m in ledger.modules.holding(ids([a, b]))] == [
        (1, False), (2, True),
    ]  # fmt: skip
    ledger.modules.drop("m0001", 1)
    assert ledger.modules.get("m0001").versions == (2,)
    assert ledger.modules.holding([a.id]) == []
    assert ledger.erasures.pending() == ["adapters/one"]
    with pytest.raises(ModuleNotFoundInMemoryError, match="no module has the name 'm0001'"):
        ledger.modules.drop("m0001", 1)
    ledger.modules.drop("m0001", 2)  # the active one: the module goes
    assert ledger.modules.active() == []


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
    changed = change(ledger, a, "changed")
    assert ledger.modules.placements([a.id, b.id]) == {b.id: "m0001"}
    assert ledger.modules.former_placements([a.id, b.id]) == {a.id: "m0001"}
    assert ledger.modules.get("m0001").records == (b.id,)
    assert unplaced(ledger) == [changed]
    assert [m.name for m in ledger.modules.holding([a.id])] == ["m0001"]
    change(ledger, changed, "a")  # back to what was trained
    assert ledger.modules.placements([a.id]) == {a.id: "m0001"}
    assert ledger.modules.former_placements([a.id]) == {}


def test_metadata_are_not_in_the_weights(ledger):
    [a] = add(ledger, "a")
    commit(ledger, "m0001", [a])
    assert change(ledger, a, metadata={"source": "hr"}).version == 2
    assert ledger.modules.placements([a.id]) == {a.id: "m0001"}
    assert unplaced(ledger) == []


def test_an_older_version_knows_which_records_were_updated_since(ledger):
    """They are not answered from it, but lead to the module that is to be trained again."""
    a, b = add(ledger, "a", "b")
    commit(ledger, "m0001", [a, b], digest="1")
    changed = change(ledger, a, "changed")
    commit(ledger, "m0001", [changed, b], digest="2")
    assert ledger.modules.activate("m0001", 1).records == (b.id,)
    assert unplaced(ledger) == [changed]
    assert ledger.modules.former_placements([a.id]) == {a.id: "m0001"}
    commit(ledger, "m0002", [changed])
    ledger.modules.activate("m0001", 1)
    assert ledger.modules.placements([a.id]) == {a.id: "m0002"}
    # The older version is the one whose text counts again.
    change(ledger, changed, "a")
    assert ledger.modules.activate("m0001", 1).records == (a.id, b.id)


def test_a_record_updated_during_training_is_not_held(ledger):
    [a] = add(ledger, "a")
    commit(ledger, "m0001", [a])
    changed = change(ledger, a, "changed")
    commit(ledger, "m0002", [changed])
    module = commit(ledger, "m0003", [a])
    assert module.records == ()
    assert ledger.modules.placements([a.id]) == {a.id: "m0002"}


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
    assert [m.version for m in ledger.modules.holding([a.id])] == [1]
    ledger.modules.drop("m0001", 1)
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
    commit(ledger, "m0001", [a], file="adapters/f1")
    ledger.modules.drop("m0001")
    assert commit(ledger, "m0001", [a], file="adapters/f2").version == 2


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


def test_a_module_and_its_records_are_of_one_scope(ledger):
    mine = {"user": "u1"}
    [record] = add(ledger, "a", scope=mine)
    for scope in ({}, {"user": "u2"}, {"session": "s"}, mine | {"session": "s"}):
        with pytest.raises(InvalidInputError, match=f"record '{record.id}' is of .*u1"):
            commit(ledger, "m0001", [record], scope=scope)
    assert commit(ledger, "m0001", [record], scope=mine).records == (record.id,)
    [shared] = add(ledger, "b")
    with pytest.raises(InvalidInputError, match="must be that of its other versions"):
        commit(ledger, "m0001", [shared])
    assert commit(ledger, "m0002", [shared]).records == (shared.id,)


def test_a_record_that_is_for_others_by_now_is_held_by_no_module(ledger):
    """As an older memkit left it, or a program that wrote to the file itself."""
    mine = {"user": "u1"}
    a, b = add(ledger, "a", "b", scope=mine)
    commit(ledger, "m0001", [a, b], scope=mine)
    ledger._database.execute("UPDATE records SET scope = '{}' WHERE id = ?", a.id)
    stamp(ledger._database, "records", "id = ?", a.id)
    ids = [a.id, b.id]
    assert ledger.modules.placements(ids) == {b.id: "m0001"}
    assert ledger.modules.former_placements(ids) == {}
    assert ledger.modules.get("m0001").records == (b.id,)
    unplaced = ledger.modules.unplaced(within=None, where=None, include_turns=True)
    assert [record.id for record in unplaced] == [a.id]
    assert ledger.modules.activate("m0001", 1).records == (b.id,)
    with pytest.raises(InvalidInputError, match="must be of the module's `scope`"):
        commit(ledger, "m0001", [a, b], scope=mine)  # as they were when the training began


def test_what_cannot_be_committed_is_refused(ledger):
    a, b = add(ledger, "a", "b")
    fields = {"file": "adapters/f", "digest": "d", "size": 1}
    with pytest.raises(InvalidInputError, match="`held` must be part of `members`, got also"):
        ledger.modules.commit("m", {}, {}, **fields, members=[a], held={b.id: 1.0})
    for path in ("/etc/passwd", "../x", "adapters/../../x", "", "a\\b"):
        with pytest.raises(UnsafePathError, match="expected a file below adapters/"):
            ledger.modules.commit("m", {}, {}, **{**fields, "file": path}, members=[], held={})
    commit(ledger, "m0001", [a], file="adapters/f")
    with pytest.raises(InvalidInputError, match="`file` 'adapters/f' belongs to a module already"):
        commit(ledger, "m0001", [a], file="adapters/f")
    ledger.erasures.queue("adapters/g")
    with pytest.raises(InvalidInputError, match=r"`file` 'adapters/g' .* queued for destruction"):
        commit(ledger, "m0001", [a], file="adapters/g")
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


def test_a_thousand_records_in_a_module(ledger):
    records = add(ledger, *(f"fact {n}" for n in range(1000)))
    module = commit(ledger, "m0001", records)
    assert module.records == tuple(ids(records))
    assert len(ledger.modules.placements(ids(records))) == 1000


def test_a_miss_counts_while_the_record_says_the_same(ledger):
    a, b, c = add(ledger, "a", "b", "c")
    ledger.records.delete([c.id])
    ledger.failed_attempts.note([a, b, c], "one way")
    assert ledger.failed_attempts.recipes(ids([a, b, c])) == {a.id: "one way", b.id: "one way"}
    ledger.failed_attempts.note([a], "another way")
    assert ledger.failed_attempts.recipes(ids([a, b])) == {a.id: "another way", b.id: "one way"}
    assert ledger.failed_attempts.recipes([b.id]) == {b.id: "one way"}
    change(ledger, a, metadata={"n": 1})
    assert a.id in ledger.failed_attempts.recipes([a.id])
    changed = change(ledger, a, "changed")
    assert ledger.failed_attempts.recipes([a.id]) == {}
    ledger.failed_attempts.note([a], "too late")  # the attempt was at the older text
    assert ledger.failed_attempts.recipes([a.id]) == {}
    ledger.failed_attempts.note([changed, b], "one way")
    commit(ledger, "m0001", [changed], [b])
    ledger.modules.drop("m0001")
    assert ledger.failed_attempts.recipes(ids([a, b])) == {b.id: "one way"}


def test_erasures_survive_reopening(ledger):
    ledger.erasures.queue("adapters/b")
    ledger.erasures.queue("adapters/a")
    ledger.erasures.queue("adapters/a")
    ledger.close()
    again = Ledger.open(ledger.place)
    assert again.erasures.pending() == ["adapters/a", "adapters/b"]
    again.erasures.done("adapters/a")
    again.erasures.done("unknown")
    assert again.erasures.pending() == ["adapters/b"]
    with pytest.raises(UnsafePathError, match="expected a file below adapters/ or index/"):
        again.erasures.queue("../../etc/passwd")
    again.close()
