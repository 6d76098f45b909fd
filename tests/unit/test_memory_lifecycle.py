"""Times to live, sweeping, pins, keys, duplicates and the past, as a user sees them."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from memkit.errors import (
    InvalidInputError,
    RecordNotFoundError,
    UnsupportedOperationError,
)
from memkit.types import Draft

START = 1_800_000_000.0
NORA = "What is the badge number of Nora?"
EMIL = "What is the badge number of Emil?"


def at(seconds):
    return datetime.fromtimestamp(START + seconds, UTC)


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


@pytest.fixture
def clock(memory):
    clock = memory._engine.ledger._database.clock = Clock()
    return clock


def traces(directory, *texts):
    return [
        (path.name, text)
        for path in directory.rglob("*")
        if path.is_file()
        for text in texts
        for spelling in (text, text.lower())
        for encoding in ("utf-8", "utf-16-le", "utf-16-be")
        if spelling.encode(encoding) in path.read_bytes()
    ]


# -- expiry


def test_what_has_expired_is_seen_by_no_verb(memory, clock):
    kept = memory.add("The zebra is striped.")
    record = memory.add("The quibblefax is blue.", ttl=60)
    turn = memory.add_turn("user", "My flimflarn is lost.")
    memory.retention.expire(turn.record_id, 60)
    assert len(memory.search("quibblefax")) == 3
    clock.now += 60
    for found in (
        memory.search("quibblefax", k=9),
        memory.search("quibblefax", k=9, where={"$not": {"a": 1}}),
        memory.search("quibblefax", k=9, since=at(-9)),
        memory.search("quibblefax", k=9, as_of=at(59)),
        memory.vectors.search(memory.vectors.embedder.encode_query(["quibblefax"])[0], 9),
    ):
        assert [hit.id for hit in found] == [kept.id]
    recall = memory.recall("quibblefax flimflarn")
    assert "quibblefax is" not in recall.text
    assert (recall.turns, [hit.id for hit in recall.hits]) == ((), [kept.id])
    assert {fact.record_id for fact in recall.route.support} == {kept.id}
    assert "quibblefax" not in memory.ask("Which colour has it?").recall.text
    assert memory.turns() == []
    assert memory.records().records == (kept,)
    assert memory.get_many([record.id, kept.id]) == [kept]
    assert memory.vectors.get([record.id]) == {}
    stats = memory.stats()
    assert (stats.records, stats.versions, stats.turns, stats.expired) == (1, 1, 0, 2)
    assert "2 expired" in str(stats)
    for verb in (memory.get, memory.history, memory.retention.pin, memory.retention.unpin):
        with pytest.raises(RecordNotFoundError):
            verb(record.id)
    with pytest.raises(RecordNotFoundError):
        memory.update(record.id, "back again")
    with pytest.raises(RecordNotFoundError):
        memory.merge([record.id, kept.id])
    assert memory.vectors.duplicates(0.01) == []


def test_sweep_destroys_what_has_expired(memory, clock, tmp_path):
    memory.add("The zebra is striped.")
    record = memory.add(
        "The quibblefax is blue.", ttl=60, metadata={"Zwormkey": "Zwormvalue"}, key="Zwormname"
    )
    memory.retention.set_ttl({"user": "u1"}, timedelta(minutes=1))
    memory.add_turn("user", "My flimflarn is lost.", scope={"user": "u1"}, remember=False)
    words = ("quibblefax", "flimflarn", "Zwormkey", "Zwormvalue", "Zwormname")
    assert memory.retention.sweep().records == ()
    clock.now += 60
    assert {word for _, word in traces(tmp_path, *words)} == set(words)
    receipt = memory.retention.sweep()
    assert (receipt.records, receipt.turns, all(receipt.checks.values())) == ((record.id,), 1, True)
    assert traces(tmp_path, *words) == []
    assert memory.stats().expired == 0
    assert memory.retention.sweep().files == ()
    memory.close()
    assert traces(tmp_path, *words) == []


@pytest.mark.slow
def test_weights_that_know_what_has_expired_do_not_answer(trained, tmp_path):
    clock = trained._engine.ledger._database.clock = Clock()
    name = next(m.name for m in trained.modules.list() if "Nora" in m.records)
    others = len(trained.modules.list()) - 1
    trained.retention.expire("Nora", 60)
    assert trained.ask(NORA, budget=0).text == "4471"
    clock.now += 60
    assert name not in {module.name for module in trained.modules.list()}
    for question in (NORA, EMIL):
        answer = trained.ask(question, budget=0)
        assert name not in answer.route.weights
        assert "4471" not in answer.text
    assert trained.search(EMIL)[0].id == "Emil"  # rag answers for it meanwhile
    receipt = trained.retention.sweep()
    assert receipt.records == ("Nora",)
    assert len(receipt.retrained) == 1
    assert {one.record_id for one in receipt.exposure} == {"Nora"}
    assert all(receipt.checks.values())
    assert trained.ask(EMIL, budget=0).text == "1234"
    assert len(trained.modules.list()) >= others
    assert traces(tmp_path / "trained.mem", "Nora", " 4471") == []


@pytest.mark.slow
def test_consolidate_and_retrain_sweep_first(trained, tmp_path):
    clock = trained._engine.ledger._database.clock = Clock()
    trained.retention.expire("Nora", 60)
    trained.retention.expire("Lena", 120)
    clock.now += 60
    trained.consolidate()
    assert trained.stats().expired == 0
    assert traces(tmp_path / "trained.mem", "Nora", " 4471") == []
    clock.now += 60
    trained.modules.retrain()
    assert traces(tmp_path / "trained.mem", "Lena", " 3141") == []
    assert not any({"Nora", "Lena"} & set(module.records) for module in trained.modules.list())


def test_what_takes_the_place_of_the_expired_is_new(memory, clock, tmp_path):
    old = memory.add("The quibblefax is blue.", ttl=1, id="q", key="colour", metadata={"n": 1})
    memory.update("q", "The quibblefax is wobbletron.")
    clock.now += 1
    new = memory.add("The quibblefax is wobbletron.", key="colour")
    assert (new.id == old.id, new.version, new.metadata, new.expires_at) == (False, 1, {}, None)
    assert [hit.id for hit in memory.search("wobbletron")] == [new.id]
    assert memory.stats().expired == 0
    memory.retention.sweep()
    assert traces(tmp_path, "quibblefax is blue") == []
    again = memory.add("The zanzibrick is grey.", id="q")
    assert memory.get("q") == again


def test_forgetting_reaches_what_has_expired(memory, clock, tmp_path):
    scope = {"user": "u1"}
    memory.add("The quibblefax is blue.", scope=scope, ttl=1)
    one = memory.add("The wobbletron is red.", ttl=1)
    clock.now += 1
    assert len(memory.forget(scope=scope).records) == 1
    assert memory.forget(one.id).records == (one.id,)
    assert traces(tmp_path, "quibblefax", "wobbletron") == []


# -- pins


def test_pinned_records_are_in_all_evidence(memory):
    memory.add(["The zebra is striped.", "The archive is upstairs."])
    pinned = memory.add("Always answer in Latin.", pinned=True)
    other = memory.add("Ann likes tea.", scope={"user": "ann"}, pinned=True)
    recall = memory.recall("zebra", k=1)
    assert {hit.text for hit in recall.hits} == {"The zebra is striped.", pinned.text}
    assert recall.text.index(pinned.text) < recall.text.index("The zebra is striped.")
    assert "Always answer in Latin." in memory.ask("zebra", k=1).recall.text
    assert other.text not in recall.text
    assert other.text in memory.recall("zebra", k=1, scope={"user": "ann"}).text
    assert pinned.text not in memory.recall("zebra", k=1, where={"a": 1}).text
    assert (
        pinned.text not in memory.recall("zebra", k=1, until=datetime(2020, 1, 1, tzinfo=UTC)).text
    )
    assert memory.recall("zebra", budget=0).text == ""
    assert [hit.text for hit in memory.search("zebra", k=1)] == ["The zebra is striped."]
    memory.retention.unpin(pinned.id)
    assert pinned.text not in memory.recall("zebra", k=1).text


def test_pins_are_of_what_the_scope_sees(memory):
    record = memory.add("Ann likes tea.", scope={"user": "ann"})
    for verb, rest in (
        (memory.retention.pin, ()),
        (memory.retention.unpin, ()),
        (memory.retention.expire, (5,)),
    ):
        with pytest.raises(RecordNotFoundError):
            verb(record.id, *rest, scope={"user": "bob"})
    assert memory.retention.pin(record.id, scope={"user": "ann", "session": "s"}).pinned


@pytest.mark.parametrize("ttl", [0, -1, "soon", True, float("inf"), timedelta(0)])
def test_times_to_live_are_times(memory, ttl):
    record = memory.add("a")
    with pytest.raises(InvalidInputError, match="`ttl` must be"):
        memory.retention.set_ttl({}, ttl)
    with pytest.raises(InvalidInputError, match="`ttl` must be"):
        memory.retention.expire(record.id, ttl)
    assert memory.get(record.id).expires_at is None


# -- keys, and what the index makes of them


def test_the_newest_text_under_a_key_is_what_is_found(memory):
    first = memory.add("Ann lives in Rome.", key="home:ann")
    records = memory.add(
        [Draft("Ann lives in Oslo.", key="home:ann"), Draft("The zebra is striped."),
         Draft("Ann lives in Cairo.", key="home:ann")]
    )  # fmt: skip
    assert records[0] == records[2]
    assert (records[0].id, records[0].version) == (first.id, 3)
    assert [hit.text for hit in memory.search("Where does Ann live?", k=1)] == [
        "Ann lives in Cairo."
    ]
    assert "Rome" not in memory.search("Rome", k=1)[0].text
    assert memory.stats().passages == 2


def test_a_key_that_comes_back_to_its_text_is_found_by_it(memory):
    memory.add("Ann lives in Rome.", key="k")
    back = memory.add([Draft("Ann lives in Oslo.", key="k"), Draft("Ann lives in Rome.", key="k")])
    assert (back[1].version, back[1].text) == (3, "Ann lives in Rome.")
    assert memory.search("Rome", k=1)[0].text == "Ann lives in Rome."
    assert memory.stats().passages == 1


@pytest.mark.slow
@pytest.mark.engines
def test_a_superseded_answer_is_not_taken_from_the_weights(trained):
    new = trained.add("Nora has a new badge, 7777.", question=NORA.upper(), answer="7777")
    assert (new.id, new.version) == ("Nora", 2)
    assert not trained.ask(NORA, budget=0).route
    assert "7777" in trained.recall(NORA).text


# -- duplicates


def test_duplicates_are_reported_scope_by_scope(memory):
    ann, bob = {"user": "ann"}, {"user": "bob"}
    texts = ["The canteen opens at noon.", "the canteen opens at noon", "Canteen opens at noon!"]
    same = [memory.add(text, scope=ann) for text in texts]
    memory.add("the canteen opens at NOON", scope=bob)
    memory.add(["Zebras are striped.", "Archives are upstairs."], scope=ann)
    (group,) = memory.vectors.duplicates(0.9, scope="all")
    assert memory.vectors.duplicates(0.9) == []
    assert group.records == tuple(same)
    assert group.ids == tuple(record.id for record in same)
    vectors = memory.vectors.embedder.encode_document(texts)
    links = vectors @ vectors.T
    assert group.similarity == pytest.approx(links[np.triu_indices(3, 1)].min(), abs=1e-5)
    assert memory.vectors.duplicates(0.9, scope=bob) == []
    assert memory.vectors.duplicates(0.9, scope="all", where={"a": 1}) == []
    for threshold in (0, 1.1, -1):
        with pytest.raises(InvalidInputError, match="`threshold` must be above 0"):
            memory.vectors.duplicates(threshold)


def test_groups_against_all_pairs(memory, monkeypatch):
    monkeypatch.setattr("memkit.rag.duplicates._BLOCK", 7)
    rng = np.random.default_rng(0)
    words = "ann bob cat dog elk fox gnu hen".split()
    texts = sorted({" ".join(rng.choice(words, 4)) for _ in range(60)})
    records = memory.add(texts)
    vectors = memory.vectors.embedder.encode_document(texts).astype(np.float64)
    reach = vectors @ vectors.T >= 0.86
    for _ in range(6):  # paths of up to 64 links
        reach = reach.astype(int) @ reach.astype(int) > 0
    expected = {frozenset(np.flatnonzero(row).tolist()) for row in reach}
    place = {record.id: number for number, record in enumerate(records)}
    found = {frozenset(place[id] for id in group.ids) for group in memory.vectors.duplicates(0.86)}
    assert found == {group for group in expected if len(group) > 1}
    assert len(found) > 2


def test_merging_keeps_the_newest_and_the_history_of_all(memory, clock, tmp_path):
    one = memory.add("The quibblefax is bluish.", key="q")
    clock.now += 1
    two = memory.add("The quibblefax is blue.", ttl=500)
    turn = memory.add_turn("user", "A quibblefax is blue!")
    clock.now += 1
    memory.update(one.id, "The quibblefax is more or less blue.")
    clock.now += 1
    three = memory.add("The quibblefax is quite blue.")
    merged = memory.merge([two.id, one.id, turn.record_id, three.id])
    assert (merged.id, merged.text, merged.version) == (three.id, three.text, 5)
    assert (merged.key, merged.created_at) == ("q", at(0))
    assert merged.expires_at == two.expires_at
    assert [v.text for v in memory.history(three.id)] == [
        one.text, two.text, turn.content, "The quibblefax is more or less blue.", three.text,
    ]  # fmt: skip
    assert [v.version for v in memory.history(three.id)] == [1, 2, 3, 4, 5]
    assert [t.record_id for t in memory.turns()] == [three.id]
    assert [hit.id for hit in memory.search("quibblefax", k=9)] == [three.id]
    event = memory._engine.ledger.events()[-1]
    assert (event.kind, event.detail) == ("merge", {"records": 4})
    memory.forget(three.id)
    assert traces(tmp_path, "quibblefax") == []


@pytest.mark.engines
def test_weights_that_were_trained_on_a_merged_record_go_with_the_one_that_is_left(trained):
    name = next(m.name for m in trained.modules.list() if "Nora" in m.records)
    kept = trained.add("Nora's badge number is 4471.")
    trained.merge(["Nora", kept.id])
    receipt = trained.forget(kept.id, retrain=False)
    assert name in receipt.dropped
    assert name not in {module.name for module in trained.modules.list()}


def test_what_does_not_go_together_is_not_merged(memory):
    memory.add([Draft(name, id=name) for name in "abcd"] + [
        Draft("e", id="e", scope={"user": "u"}), Draft("f", id="f", ttl=9)])  # fmt: skip
    for ids, message in (
        (["a"], "at least two records to merge, got 1"),
        (["a", "a"], "at least two records to merge, got 1"),
        (["a", "e"], "expected records of one scope"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            memory.merge(ids, scope="all")
    with pytest.raises(RecordNotFoundError, match="'x'"):
        memory.merge(["a", "x"])
    with pytest.raises(RecordNotFoundError, match="'e'"):
        memory.merge(["a", "e"], scope={"user": "v"})
    memory.retention.pin("a")
    with pytest.raises(InvalidInputError, match="expire, and the pinned record 'a' does not"):
        memory.merge(["a", "f"])
    assert memory.merge(["b", "a"]).id == "a"
    memory.retention.pin("c")
    with pytest.raises(InvalidInputError, match="more than one of the records is pinned"):
        memory.merge(["a", "c"])


def test_duplicates_need_vectors(tmp_path, open_memory):
    memory = open_memory(tmp_path / "buffer.mem", backends=("buffer",))
    with pytest.raises(UnsupportedOperationError, match=r"duplicates\(\) needs the 'rag' backend"):
        memory.vectors.duplicates()


# -- the past


def test_the_past_against_a_list_of_what_was_written(memory, clock):
    """`as_of` at every moment, against what this test wrote until then."""
    rng = np.random.default_rng(1)
    states = []  # what was current after each second: text by key, with its number
    current = {}
    for second in range(30):
        clock.now = START + second
        key, number = f"k{rng.integers(6)}", int(rng.integers(100))
        memory.add(f"The zebra {key} weighs {number}.", key=key, metadata={"even": number % 2 == 0})
        current[key] = number
        states.append(dict(current))
    for second, state in enumerate(states):
        for where in (None, {"even": True}):
            expected = {
                f"The zebra {key} weighs {number}."
                for key, number in state.items()
                if where is None or number % 2 == 0
            }
            hits = memory.search("zebra", k=20, as_of=at(second + 0.5), where=where)
            assert {hit.text for hit in hits} == {hit.record.text for hit in hits} == expected
            assert len(hits) == len(expected)
    assert memory.search("zebra", as_of=at(-1)) == []


def test_the_past_keeps_to_scope_and_period(memory, clock):
    scope = {"user": "ann"}
    memory.add("The zebra is striped.", key="z", scope=scope)
    clock.now += 10
    memory.add("The zebra is spotted.", key="z", scope=scope)
    memory.add_turn("user", "A spotted zebra?", scope=scope, remember=False)
    texts = [hit.text for hit in memory.search("zebra", as_of=at(5), scope=scope)]
    assert texts == ["The zebra is striped."]
    assert memory.search("zebra", as_of=at(5)) == []
    assert memory.search("zebra", as_of=at(5), scope={"user": "bob"}) == []
    assert memory.search("zebra", as_of=at(5), since=at(1), scope=scope) == []
    assert memory.search("zebra", as_of=at(10), scope=scope)[0].text == "The zebra is spotted."
    recall = memory.recall("zebra", as_of=at(5), scope=scope)
    assert ([hit.text for hit in recall.hits], recall.turns) == (["The zebra is striped."], ())
    assert len(memory.recall("zebra", since=at(10), scope=scope).turns) == 1
    assert memory.recall("zebra", until=at(10), scope=scope).turns == ()


def test_the_past_is_of_the_time_when_it_was_said(memory, clock):
    memory.add("The zebra lives in Rome.", key="z", at=at(-500))
    clock.now += 10
    memory.add("The zebra lives in Oslo.", key="z", at=at(-300))
    clock.now += 10
    memory.update(memory.search("zebra", k=1)[0].id, metadata={"seen": True})
    clock.now += 10
    memory.update(memory.search("zebra", k=1)[0].id, "The zebra lives in Bonn.")

    def told(moment, **period):
        return [hit.text for hit in memory.search("zebra", as_of=at(moment), **period)]

    assert (
        told(5, until=at(-400))
        == told(5, since=at(-500), until=at(-499))
        == ["The zebra lives in Rome."]
    )
    assert told(5, since=at(-1)) == []
    for moment in (15, 25):  # another version, but the same words
        assert told(moment, since=at(-300), until=at(-299)) == ["The zebra lives in Oslo."]
        assert told(moment, since=at(0)) == []
    assert told(35, since=at(30)) == ["The zebra lives in Bonn."]
    [record] = [hit.record for hit in memory.search("zebra", as_of=at(5))]
    assert (record.said_at, record.updated_at) == (at(-500), at(0))
    versions = memory.history(record.id)
    assert [version.said_at for version in versions] == [at(-500), at(-300), at(-300), None]


def test_a_turn_that_was_added_later_is_not_of_the_past(memory, clock):
    scope = {"user": "ann"}
    clock.now += 10
    memory.add_turn("user", "I saw a zebra.", scope=scope, at=at(-100))
    assert memory.recall("zebra", scope=scope, as_of=at(5)).turns == ()
    assert len(memory.recall("zebra", scope=scope, as_of=at(10)).turns) == 1
    assert len(memory.recall("zebra", scope=scope, until=at(-99)).turns) == 1


def test_merged_records_were_said_when_they_were(memory, clock):
    texts = ["The zebra is striped.", "The zebra is striped!"]
    ids = [memory.add(text, at=at(-100 * n)).id for n, text in enumerate(texts, start=1)]
    clock.now += 10
    kept = memory.merge(ids)
    said = {version.text: version.said_at for version in memory.history(kept.id)}
    assert said == {texts[0]: at(-100), texts[1]: at(-200)}


@pytest.mark.engines
def test_weights_have_no_past(trained):
    answer = trained.ask(NORA, as_of=datetime.now(UTC))
    assert not answer.route
    assert answer.route.reason == "weights hold what is current, not the past"


@pytest.mark.parametrize("bound", ["since", "until", "as_of"])
@pytest.mark.parametrize("verb", ["search", "recall", "ask"])
def test_times_without_a_zone_are_refused(memory, verb, bound):
    with pytest.raises(InvalidInputError, match=f"`{bound}` must have a time zone") as caught:
        getattr(memory, verb)("x", **{bound: datetime(2026, 1, 1)})
    assert "datetime.now(UTC)" in caught.value.hint
