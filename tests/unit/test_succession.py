"""What a speaker said last about a subject comes first; the earlier statement stays, marked."""

from datetime import UTC, datetime

import pytest

from memkit.memory.check import check

OLD, NEW = "My kite is red.", "My kite is blue."
QUESTION = "Which colour is my kite?"


@pytest.fixture
def memory(tmp_path, open_memory):
    return open_memory(tmp_path / "memory", backends=["buffer", "rag"])


def say(memory, *texts, **options):
    return [memory.add_turn("user", text, **options).record_id for text in texts]


def orders(hits):
    return [(hit.text, hit.order) for hit in hits]


def test_the_correction_comes_before_what_it_corrects(memory):
    say(memory, OLD, NEW)
    hits = memory.search(QUESTION)
    assert orders(hits) == [(NEW, "latest"), (OLD, "earlier")]
    assert hits[0].score >= hits[1].score
    assert hits[0].score == pytest.approx(sum(hits[0].parts.values()))
    assert "(latest, user, " in str(hits[0])


def test_where_there_is_room_for_one_it_says_that_it_is_not_the_latest(memory):
    say(memory, OLD, NEW)
    assert orders(memory.search(QUESTION, 1)) == [(OLD, "earlier")]


def test_a_question_about_a_day_is_about_what_was_said_then(memory):
    say(memory, OLD, at=datetime(2026, 5, 1, tzinfo=UTC))
    say(memory, NEW, at=datetime(2026, 5, 20, tzinfo=UTC))
    hits = memory.search("Which colour was my kite on 1 May 2026?")
    assert orders(hits) == [(OLD, None), (NEW, None)]


def test_of_three_the_newest_comes_first(memory):
    third = "My kite is green."
    say(memory, OLD, NEW, third)
    assert orders(memory.search(QUESTION)) == [
        (third, "latest"),
        (NEW, "earlier"),
        (OLD, "earlier"),
    ]


def test_what_was_corrected_since_comes_last(memory):
    corrected = "My kite is green."
    first, _ = say(memory, OLD, NEW)
    memory.update(first, corrected)
    assert orders(memory.search(QUESTION)) == [(corrected, "latest"), (NEW, "earlier")]


def test_when_it_was_said_decides_not_when_it_was_stored(memory):
    say(memory, NEW, at=datetime(2026, 5, 2, tzinfo=UTC))
    say(memory, OLD, at=datetime(2026, 5, 1, tzinfo=UTC))
    assert orders(memory.search(QUESTION)) == [(NEW, "latest"), (OLD, "earlier")]


def test_what_is_said_again_is_said_last(memory):
    say(memory, OLD, NEW, OLD)
    assert orders(memory.search(QUESTION)) == [(OLD, "latest"), (NEW, "earlier")]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"name": "Ann"}, {"name": "Bob"}),
        ({"scope": {"user": "u1"}}, {"scope": {}}),
    ],
)
def test_what_somebody_else_says_corrects_nothing(memory, first, second):
    say(memory, OLD, **first)
    say(memory, NEW, **second)
    hits = memory.search(QUESTION, scope=first.get("scope", {}))
    assert {hit.text for hit in hits} == {OLD, NEW}
    assert {hit.order for hit in hits} == {None}


def test_facts_that_nobody_said_are_ranked_as_ever(memory):
    memory.add([OLD, NEW])
    assert {hit.order for hit in memory.search(QUESTION)} == {None}


@pytest.mark.parametrize("mark", ["?", "？", "؟"])
def test_a_question_is_no_statement(memory, mark):
    say(memory, OLD, "My kite is red" + mark)
    assert {hit.order for hit in memory.search(QUESTION)} == {None}


def test_another_subject_is_left_alone(memory):
    say(memory, OLD, "Deliveries are unloaded at dock three.")
    assert {hit.order for hit in memory.search(QUESTION)} == {None}


def test_the_prompt_says_which_is_which(memory):
    say(memory, OLD, at=datetime(2026, 5, 1, tzinfo=UTC))
    say(memory, NEW, at=datetime(2026, 5, 2, tzinfo=UTC))
    for n in range(60):  # until they have left the buffer
        memory.add_turn("user", f"Turn {n} about nothing.", remember=False)
    facts = memory.recall(QUESTION, budget=1000).text.split("\n")[:3]
    assert facts == [
        "Facts:",
        f"- [earlier, 1 May 2026] {OLD}",
        f"- [latest, 2 May 2026] {NEW}",
    ]


@pytest.mark.parametrize("reopen", [False, True])
def test_corrections_keep_their_order_when_the_turns_are_cleared(opener, tmp_path, reopen):
    """Who said it, and when, stays with the record; only what was said around it is gone."""
    with opener(tmp_path / "m", backends=["buffer", "rag"]) as memory:
        say(memory, NEW, at=datetime(2026, 5, 2, tzinfo=UTC))
        first, second = say(memory, OLD, "My kite is long.", at=datetime(2026, 5, 1, tzinfo=UTC))
        memory.update(first, "My kite is green.")
        before = orders(memory.search(QUESTION))
        assert before[0] == ("My kite is green.", "latest")
        memory.clear()
        assert memory.turns() == []
        times = {r.text: r.said_at for r in memory.records().records}
        assert times[NEW] == datetime(2026, 5, 2, tzinfo=UTC)
        assert times["My kite is green."] == memory.get(first).updated_at
        if reopen:
            memory.export(tmp_path / "out")
    if reopen:  # what an export and an import keep, too
        with opener(tmp_path / "other", backends=["buffer", "rag"]) as other:
            other.import_(tmp_path / "out")
            assert orders(other.search(QUESTION)) == before
    else:
        with opener(tmp_path / "m", backends=["buffer", "rag"]) as memory:
            assert orders(memory.search(QUESTION)) == before
            assert memory.get(second).said_at == datetime(2026, 5, 1, tzinfo=UTC)
    assert check(tmp_path / "m").sound
