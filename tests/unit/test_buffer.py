"""The buffer backend."""

import pytest

from memkit import Memory
from memkit.buffer import BufferBackend
from memkit.errors import InvalidInputError
from memkit.testing import HashingEmbedder
from memkit.types import Draft, Query

ME = {"user": "me"}


def talk(ledger, *contents, scope=ME):
    return [ledger.turns.add("user", text, scope, record_id=None) for text in contents]


def test_recent_turns_of_exactly_this_scope_oldest_first(ledger):
    mine = talk(ledger, "one", "two", "three")
    talk(ledger, "shared", scope={})
    talk(ledger, "yours", scope={"user": "you"})
    talk(ledger, "narrower", scope={"user": "me", "session": "s1"})
    buffer = BufferBackend(ledger, max_turns=2)
    evidence = buffer.recall(Query("anything", scope=ME))
    assert evidence.turns == tuple(mine[1:])
    assert (evidence.hits, evidence.route) == ((), None)
    assert buffer.recall(Query("anything", scope={"user": "nobody"})).turns == ()


def test_records_are_contributed_newest_first_if_asked_for(ledger):
    ids = [record.id for record in ledger.records.add([Draft(f"fact {i}") for i in range(5)])]
    ledger.records.add([Draft("secret", scope={"user": "you"})])
    assert BufferBackend(ledger).recall(Query("x", scope=ME)).hits == ()
    hits = BufferBackend(ledger, with_records=True).recall(Query("x", k=3, scope=ME)).hits
    assert [hit.id for hit in hits] == ids[:1:-1]
    assert [hit.text for hit in hits] == ["fact 4", "fact 3", "fact 2"]
    assert [(hit.start, hit.end, hit.similarity) for hit in hits] == [(0, 6, None)] * 3
    assert [hit.score for hit in hits] == [1, 1 / 2, 1 / 3]


def test_filters_apply_to_the_records(ledger):
    ledger.records.add([Draft(f"fact {i}", metadata={"n": i}) for i in range(5)])
    buffer = BufferBackend(ledger, with_records=True)
    hits = buffer.recall(Query("x", where={"n": {"$lt": 2}})).hits
    assert [hit.text for hit in hits] == ["fact 1", "fact 0"]


def test_a_record_that_is_among_the_turns_is_not_repeated(ledger):
    (fact,) = ledger.records.add([Draft("The badge is 4471.", scope=ME)])
    (said,) = ledger.records.add([Draft("My name is Ann.", scope=ME)])
    turn = ledger.turns.add("user", said.text, ME, record_id=said.id)
    evidence = BufferBackend(ledger, with_records=True).recall(Query("x", scope=ME))
    assert evidence.turns == (turn,)
    assert [hit.record for hit in evidence.hits] == [fact]


def test_what_leaves_the_ledger_leaves_the_buffer(ledger):
    (said,) = ledger.records.add([Draft("My name is Ann.", scope=ME)])
    ledger.turns.add("user", said.text, ME, record_id=said.id)
    buffer = BufferBackend(ledger, with_records=True)
    assert buffer.stats() == {"turns": 1}
    ledger.records.delete([said.id])
    buffer.delete([said.id])
    assert buffer.recall(Query("x", scope=ME)).turns == ()
    assert buffer.stats() == {"turns": 0}
    buffer.close()
    buffer.close()


@pytest.mark.parametrize("max_turns", [0, -1, 2.5, True])
def test_max_turns_is_checked(ledger, max_turns):
    with pytest.raises(
        InvalidInputError, match="`max_turns` must be an integer of at least 1, got"
    ):
        BufferBackend(ledger, max_turns=max_turns)


@pytest.mark.parametrize("backends", [["buffer"], ["buffer", "rag"]])
def test_a_corrected_record_stands_beside_the_turn_it_was_made_of(tmp_path, backends):
    embedder = HashingEmbedder() if "rag" in backends else None
    with Memory.open(tmp_path / "agent.mem", backends=backends, embedder=embedder) as memory:
        turn = memory.add_turn("user", "My badge number is 4471.", scope={"user": "ann"})
        assert memory.recall("badge number?", scope={"user": "ann"}).text.count("4471") == 1
        memory.update(turn.record_id, "My badge number is 9038.", scope={"user": "ann"})
        text = memory.recall("badge number?", scope={"user": "ann"}).text
    assert "- My badge number is 9038.\n" in text
    assert "user: My badge number is 4471." in text
