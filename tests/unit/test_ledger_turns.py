from __future__ import annotations

import pytest

from memkit.errors import InvalidInputError, NotFoundError, RecordNotFoundError
from memkit.types import Draft

pytestmark = pytest.mark.engines


def say(ledger, *contents, scope=None):
    return [ledger.turns.add("user", c, scope or {}, record_id=None) for c in contents]


def test_a_turn_is_read_back_as_it_was_given(ledger):
    [record] = ledger.records.add([Draft(text="hi 👋")])
    turn = ledger.turns.add("assistant", "hi 👋", {"user": "u1"}, record_id=record.id)
    assert ledger.turns.recent({"user": "u1"}, 5) == [turn]
    assert (turn.role, turn.content, turn.scope) == ("assistant", "hi 👋", {"user": "u1"})
    assert turn.record_id == record.id


def test_the_newest_turns_come_first_and_pages_go_back(ledger):
    a, b, c, d = say(ledger, "a", "b", "c", "d")
    assert ledger.turns.recent({}, 2) == [d, c]
    assert ledger.turns.recent({}, 2, before=c.id) == [b, a]
    assert ledger.turns.recent({}, 2, before=a.id) == []
    assert ledger.turns.count() == 4


def test_the_same_words_may_be_said_twice(ledger):
    say(ledger, "yes", "yes")
    assert ledger.turns.count() == 2


def test_a_conversation_is_exactly_its_scope(ledger):
    say(ledger, "shared")
    say(ledger, "mine", scope={"user": "u1"})
    say(ledger, "here", scope={"user": "u1", "session": "s1"})
    assert [turn.content for turn in ledger.turns.recent({"user": "u1"}, 9)] == ["mine"]
    assert ledger.turns.recent({"user": "u2"}, 9) == []


def test_turns_go_with_their_record(ledger):
    [record] = ledger.records.add([Draft(text="a")])
    ledger.turns.add("user", "a", {}, record_id=record.id)
    say(ledger, "b")
    ledger.records.delete([record.id])
    assert [turn.content for turn in ledger.turns.recent({}, 9)] == ["b"]


def test_the_turns_of_a_scope_can_be_deleted(ledger):
    say(ledger, "shared")
    say(ledger, "mine", scope={"user": "u1"})
    say(ledger, "here", scope={"user": "u1", "session": "s1"})
    assert len(ledger.turns.delete(within={"user": "u1"})) == 2
    assert ledger.turns.delete(within={"user": "u1"}) == []
    assert ledger.turns.count() == 1


def test_what_cannot_be_a_turn_is_refused(ledger):
    with pytest.raises(InvalidInputError, match=r"`role` must be one of .*'tool'.*, got 'robot'"):
        ledger.turns.add("robot", "a", {}, record_id=None)
    with pytest.raises(InvalidInputError, match="`content` must not be empty"):
        say(ledger, " ")
    with pytest.raises(InvalidInputError, match="`scope` must be a mapping"):
        ledger.turns.add("user", "a", "u1", record_id=None)
    with pytest.raises(RecordNotFoundError, match="no record has the id 'x'"):
        ledger.turns.add("user", "a", {}, record_id="x")
    with pytest.raises(NotFoundError, match="no turn has the id 'x'"):
        ledger.turns.recent({}, 3, before="x")
    with pytest.raises(InvalidInputError, match="`limit` must be an integer of at least 1, got 0"):
        ledger.turns.recent({}, 0)
    assert ledger.turns.count() == 0
