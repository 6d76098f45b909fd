"""Keys, times to live, pins and times of records, in the ledger; the clock is the test's."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memkit.errors import InvalidInputError, RecordNotFoundError
from memkit.ledger import Ledger
from memkit.ledger.records.question_key import question_key
from memkit.types import Draft, Period

START = 1_800_000_000.0


class Clock:
    """Tells the time that it was told."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


@pytest.fixture
def clock(ledger):
    clock = ledger._database.clock = Clock()
    return clock


def add(ledger, text, **fields):
    return ledger.records.add([Draft(text, **fields)])[0]


def at(seconds):
    return datetime.fromtimestamp(START + seconds, UTC)


def texts(ledger):
    return [record.text for record in ledger.records.page().records]


# -- keys


def test_the_same_key_is_the_next_version_of_the_same_record(ledger, clock):
    first = add(ledger, "Ann lives in Rome.", key="home:ann", metadata={"n": 1})
    clock.now += 10
    second = add(ledger, "Ann lives in Oslo.", key="home:ann", metadata={"n": 2})
    assert (second.id, second.version, second.metadata) == (first.id, 2, {"n": 2})
    assert (second.created_at, second.updated_at) == (at(0), at(10))
    assert [v.text for v in ledger.records.history(first.id)] == [first.text, second.text]
    assert texts(ledger) == ["Ann lives in Oslo."]


def test_a_key_belongs_to_its_scope(ledger):
    one = add(ledger, "a", key="k", scope={"user": "u1"})
    two = add(ledger, "b", key="k", scope={"user": "u2"})
    three = add(ledger, "c", key="k")
    assert len({one.id, two.id, three.id}) == 3


def test_another_answer_to_the_same_question_supersedes(ledger):
    ask = "What is Nora's  badge number?"
    first = add(ledger, "Badge 4471.", question=ask, answer="4471")
    again = add(ledger, "Badge 7777.", question="what is NORA\u2019s badge number", answer="7777")
    assert (again.id, again.version, again.answer) == (first.id, 2, "7777")
    assert first.key == again.key == "question:what is nora s badge number"


def test_different_keys_keep_different_answers_to_one_question(ledger):
    ask = {"question": "Who works in the archive?"}
    one = add(ledger, "Ada works there.", answer="Ada", key="archive/1", **ask)
    two = add(ledger, "Bob works there.", answer="Bob", key="archive/2", **ask)
    three = add(ledger, "Cat works there.", answer="Cat", **ask)
    assert len({one.id, two.id, three.id}) == 3


def test_the_same_content_under_two_keys_is_two_records(ledger):
    one, two = add(ledger, "same", key="a.txt"), add(ledger, "same", key="b.txt")
    assert one.id != two.id
    assert add(ledger, "same").id == one.id
    assert add(ledger, "same", key="b.txt") == two


def test_a_record_without_key_takes_the_one_that_its_content_comes_with(ledger):
    bare = add(ledger, "Ann lives in Rome.")
    named = add(ledger, "Ann lives in Rome.", key="home:ann")
    assert (named.id, named.key, named.version) == (bare.id, "home:ann", 1)
    assert add(ledger, "Ann lives in Oslo.", key="home:ann").id == bare.id
    asked = add(ledger, "x", question="q?", answer="a")
    assert add(ledger, "x", question="q?", answer="a", key="mine").id == asked.id
    assert add(ledger, "y", question="q?", answer="b").id != asked.id


def test_a_list_is_stored_one_after_the_other(ledger):
    drafts = [Draft(text, key="k") for text in ("a", "b", "a", "a")]
    records = ledger.records.add([*drafts, Draft("z"), Draft("b")])
    assert [record.text for record in records] == ["a", "a", "a", "a", "z", "b"]
    assert records[0].version == 3
    assert texts(ledger) == ["a", "z", "b"]
    assert [v.text for v in ledger.records.history(records[0].id)] == ["a", "b", "a"]


WORDS = st.sampled_from(["a", "b", "c"])
KEYS = st.sampled_from([None, "k", "l"])


@pytest.mark.slow
@given(st.lists(st.tuples(WORDS, KEYS), max_size=8), st.integers(0, 8))
def test_lists_and_single_drafts_come_to_the_same(tmp_path_factory, drafts, cut):
    """Against a list of texts by key, and one of those without."""
    directory = tmp_path_factory.mktemp("same")
    ledger = Ledger.open(directory)
    ledger.records.add([Draft(text, key=key) for text, key in drafts[:cut]])
    for text, key in drafts[cut:]:
        add(ledger, text, key=key)
    expected = []  # [text, key], oldest first
    for text, key in drafts:
        named = [one for one in expected if key is not None and one[1] == key]
        same = [one for one in expected if one[0] == text and (key is None or one[1] is None)]
        if named:
            named[0][0] = text
        elif same:
            same[0][1] = same[0][1] or key
        else:
            expected.append([text, key])
    assert [[r.text, r.key] for r in ledger.records.page().records] == expected
    ledger.close()


def test_the_key_of_a_question_follows_it_when_the_record_is_updated(ledger):
    def update(record, question, answer):
        fields = {"text": record.text, "question": question, "answer": answer, "metadata": {}}
        return ledger.records.update(record.id, **fields)

    asked = add(ledger, "x", question="q?", answer="a")
    assert update(asked, "r?", "a").key == "question:r"
    assert update(asked, None, None).key is None
    assert update(asked, "q?", "a").key == "question:q"
    other = add(ledger, "y", question="r?", answer="a")
    with pytest.raises(InvalidInputError, match="or an answer to the same question"):
        update(other, "Q", "b")
    named = add(ledger, "z", question="s?", answer="a", key="mine")
    assert update(named, "t?", "a").key == "mine"


@pytest.mark.parametrize(
    ("question", "key"),
    [
        ("Who?", "question:who"),
        (" WHO \n  is\tit", "question:who is it"),
        ("\uff37ho is it?", "question:who is it"),  # a wide letter
        ("Stra\u00dfe?", "question:strasse"),
        ("???", "question:???"),
        ("\u8ab0\uff1f", "question:\u8ab0"),
    ],
)
def test_questions_are_folded(question, key):
    assert question_key(question) == key


def test_long_questions_have_short_keys():
    one, two = question_key("word " * 100 + "a"), question_key("WORD, " * 100 + "a?")
    assert one == two != question_key("word " * 100 + "b")
    assert len(one) < 100


# -- times to live


def test_what_has_expired_is_gone_at_that_very_moment(ledger, clock):
    record = add(ledger, "soon gone", ttl=60)
    turn = ledger.turns.add("user", "soon gone", {}, record_id=record.id)
    assert record.expires_at == at(60)
    clock.now += 59.5
    assert ledger.records.get([record.id]) == [record]
    clock.now += 0.5
    with pytest.raises(RecordNotFoundError):
        ledger.records.get([record.id])
    assert ledger.records.existing([record.id]) == ledger.records.ids() == texts(ledger) == []
    assert ledger.turns.recent({}, 5) == []
    assert (ledger.records.count(), ledger.records.count_versions(), ledger.turns.count()) == (
        0, 0, 0,
    )  # fmt: skip
    assert ledger.records.unindexed(5) == []
    assert ledger.modules.unplaced(within=None, where=None, include_turns=True) == []
    with pytest.raises(RecordNotFoundError):
        ledger.turns.add("user", "x", {}, record_id=record.id)
    with pytest.raises(RecordNotFoundError):
        ledger.records.update(record.id, text="x", question=None, answer=None, metadata={})
    # It waits for its destruction, where those who destroy find it.
    assert ledger.records.expired() == ledger.records.ids(expired=True) == [record.id]
    assert ledger.records.count_expired() == 1
    assert ledger.records.existing([record.id], expired=True) == [record.id]
    assert ledger.records.delete([record.id]) == (1, 1, 1)
    assert turn.record_id == record.id


def test_timedeltas_are_times_to_live(ledger, clock):
    assert add(ledger, "a", ttl=timedelta(days=2)).expires_at == at(2 * 86_400)


def test_the_narrowest_scope_gives_the_default(ledger, clock):
    ledger.ttls.set({}, 1000)
    ledger.ttls.set({"user": "u1"}, 100)
    ledger.ttls.set({"session": "s1"}, 10)
    both = {"user": "u1", "session": "s1"}
    assert [ledger.ttls.of(scope) for scope in ({}, {"user": "u2"}, {"user": "u1"}, both)] == [
        1000, 1000, 100, 10,
    ]  # fmt: skip
    ledger.ttls.set(both, 5000)
    assert add(ledger, "a", scope=both).expires_at == at(5000)
    assert add(ledger, "b", scope=both, ttl=7).expires_at == at(7)
    assert add(ledger, "c", scope=both, pinned=True).expires_at is None
    ledger.turns.add("user", "hi", {"session": "s1"}, record_id=None)
    clock.now += 10
    assert ledger.turns.recent({"session": "s1"}, 5) == []
    assert len(ledger.turns.delete_expired()) == 1
    ledger.ttls.set({}, None)
    assert add(ledger, "d").expires_at is None
    assert ledger.ttls.delete(within={"user": "u1"}) == 2
    assert ledger.ttls.of(both) == 10


def test_adding_again_never_shortens_a_life(ledger, clock):
    add(ledger, "a", ttl=100)
    clock.now += 50
    assert add(ledger, "a", ttl=10).expires_at == at(100)
    assert add(ledger, "a", ttl=100).expires_at == at(150)
    assert add(ledger, "a").expires_at is None
    assert add(ledger, "a", ttl=1).expires_at is None


def test_a_new_version_has_a_life_of_its_own(ledger, clock):
    add(ledger, "a", key="k", ttl=100)
    assert add(ledger, "b", key="k").expires_at is None
    assert add(ledger, "c", key="k", ttl=5).expires_at == at(5)


def test_time_stands_still_in_a_transaction(ledger, clock):
    record = add(ledger, "a", ttl=10)
    with ledger.transaction():
        clock.now += 20
        assert ledger.records.get([record.id]) == [record]
    assert ledger.records.existing([record.id]) == []


def test_the_expired_that_is_in_the_way_is_named(ledger, clock):
    add(ledger, "content", id="one", ttl=1)
    add(ledger, "keyed", key="k", id="two", ttl=1)
    add(ledger, "named", id="three", ttl=1)
    add(ledger, "apart", id="four", ttl=1)
    drafts = [Draft("content"), Draft("other", key="k"), Draft("new", id="three")]
    assert ledger.records.conflicting(drafts) == []
    clock.now += 1
    assert sorted(ledger.records.conflicting(drafts)) == ["one", "three", "two"]


# -- pins


def test_pinned_records_do_not_expire(ledger, clock):
    record = add(ledger, "a", ttl=10)
    pinned = ledger.records.pin(record.id)
    assert (pinned.pinned, pinned.expires_at, pinned.version) == (True, None, 1)
    assert ledger.records.pinned(visible_to={}) == [pinned]
    with pytest.raises(InvalidInputError, match="is pinned, and what is pinned does not expire"):
        ledger.records.expire(record.id, 5)
    ledger.ttls.set({}, 100)
    clock.now += 50
    assert ledger.records.unpin(record.id).expires_at == at(150)
    assert ledger.records.unpin(record.id).expires_at == at(150)
    assert ledger.records.expire(record.id, None).expires_at is None
    assert ledger.records.expire(record.id, 3).expires_at == at(53)


def test_a_new_version_of_a_pinned_record_stays_pinned(ledger, clock):
    add(ledger, "a", key="k", pinned=True)
    assert add(ledger, "b", key="k", ttl=5).expires_at is None
    assert add(ledger, "c", key="k").pinned
    assert add(ledger, "d").pinned is False
    assert add(ledger, "d", pinned=True).pinned


# -- times


def test_a_period_has_its_beginning_and_not_its_end(ledger, clock):
    add(ledger, "old", at=at(-100))
    add(ledger, "now")
    add(ledger, "late", at=at(100).astimezone())

    def found(since=None, until=None):
        return [r.text for r in ledger.records.page(period=Period(since, until)).records]

    assert found() == ["old", "now", "late"]
    assert found(since=at(0)) == ["now", "late"]
    assert found(until=at(0)) == ["old"]
    assert found(at(-100), at(100)) == ["old", "now"]
    with pytest.raises(InvalidInputError, match="`since` must have a time zone, got the naive"):
        found(since=datetime(2026, 1, 1))
    with pytest.raises(InvalidInputError, match="`until` must be a datetime, got int: 7"):
        found(until=7)
    with pytest.raises(InvalidInputError, match="`since` must not be later than `until`"):
        found(at(1), at(0))


def test_what_is_said_anew_is_of_the_time_when_it_is(ledger, clock):
    record = add(ledger, "old", at=at(-100))
    assert record.at == record.said_at == at(-100)
    clock.now += 9
    fields = {"question": None, "answer": None}
    same = ledger.records.update(record.id, text="old", metadata={"a": 1}, **fields)
    assert same.at == at(-100)
    new = ledger.records.update(record.id, text="new", metadata={}, **fields)
    assert (new.said_at, new.at) == (None, at(9))


def test_the_times_of_records_compare_with_themselves(ledger):
    """With the real clock, whose seconds have more digits than a datetime."""
    for number in range(200):
        record = add(ledger, f"{number}", key="k")
        period = Period(since=record.at, as_of=record.updated_at)
        assert ledger.records.page(period=period).records == (record,)
        assert ledger.records.page(period=Period(until=record.at)).records == ()
