"""`update` and `history`: the new version counts at once, the old ones are kept."""

import threading

import pytest

from memkit.errors import InvalidInputError, RecordNotFoundError

NORA = "What is the badge number of Nora?"


@pytest.fixture
def nora(memory, badges):
    return memory.add(badges)[0]


def test_the_new_version_is_recalled_at_once(memory, nora):
    record = memory.update("Nora", "The badge number of Nora is 7777.", answer="7777")
    assert (record.version, record.text, record.answer) == (2, memory.get("Nora").text, "7777")
    assert (record.question, record.metadata) == (nora.question, nora.metadata)
    assert record.created_at == nora.created_at < record.updated_at
    assert memory.search(NORA)[0].record == record
    assert "7777" in memory.recall(NORA).text
    assert "4471" not in memory.recall(NORA).text


def test_words_of_the_old_version_are_not_found_any_more(memory, nora):
    memory.update("Nora", "Nora works from home, badge 4471 is void.")
    hit = memory.search("works from home")[0]
    assert (hit.id, hit.text) == ("Nora", "Nora works from home, badge 4471 is void.")
    memory.update("Nora", question="Where does Nora work?", answer="from home")
    assert memory.search("where does nora work")[0].id == "Nora"


def test_the_history_is_kept_in_order(memory, nora):
    memory.update("Nora", metadata={"source": "hr"})
    memory.update("Nora", "Nora has badge 7777.", answer="7777")
    history = memory.history("Nora")
    assert [v.version for v in history] == [1, 2, 3]
    assert [v.text for v in history] == [nora.text, nora.text, "Nora has badge 7777."]
    assert [v.answer for v in history] == ["4471", "4471", "7777"]
    assert [v.metadata for v in history] == [{}, {"source": "hr"}, {"source": "hr"}]
    assert history[0].created_at == nora.created_at
    assert memory.stats().versions == memory.stats().records + 2


def test_an_update_that_changes_nothing_is_none(memory, nora):
    assert memory.update("Nora") == nora
    assert memory.update("Nora", nora.text, answer="4471", metadata={}) == nora
    assert len(memory.history("Nora")) == 1
    assert memory.search(NORA)[0].id == "Nora"


def test_none_takes_away_what_is_there(memory, nora):
    memory.update("Nora", metadata={"source": "hr"})
    plain = memory.update("Nora", question=None, answer=None, metadata=None)
    assert (plain.question, plain.answer, plain.key) == (None, None, None)
    assert (plain.text, plain.metadata, plain.version) == (nora.text, {}, 3)
    assert memory.update("Nora", question=None, answer=None) == plain
    again = memory.update("Nora", question=NORA, answer="4471")
    assert (again.key, memory.search(NORA)[0].id) == (nora.key, "Nora")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": None}, "`text` must be a string, got None"),
        ({"question": None}, "`question` and `answer` go together, only one of them was"),
        ({"answer": None}, "`question` and `answer` go together, only one of them was"),
        ({"text": ""}, "`text` must not be empty or blank"),
        ({"text": 7}, "`text` must be a string, got int: 7"),
        ({"text": "4471 \0"}, "`text` must not contain NUL"),
        ({"answer": " "}, "`answer` must not be empty or blank"),
        ({"metadata": [1]}, "`metadata` must be a mapping"),
        ({"text": "Nora left."}, "the new `text` does not contain '4471', the answer to 'What is"),
        (
            {
                "text": "The badge number of Emil is 1234.",
                "question": "What is the badge number of Emil?",
                "answer": "1234",
            },
            "'Nora' would become identical to record 'Emil'",
        ),
    ],
)
def test_bad_updates_change_nothing(memory, nora, arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        memory.update("Nora", **arguments)
    assert memory.get("Nora") == nora
    assert memory.search(NORA)[0].record == nora


def test_a_plain_record_gains_a_question_only_with_its_answer(memory):
    record = memory.add("Deliveries are unloaded at dock three.")
    with pytest.raises(InvalidInputError, match="`question` was given without `answer`"):
        memory.update(record.id, question="Where?")
    changed = memory.update(record.id, question="Where?", answer="at dock three")
    assert (changed.question, changed.answer) == ("Where?", "at dock three")


def test_the_id_of_a_turn_is_that_of_its_record(memory):
    turn = memory.add_turn("user", "The kite is red.")
    found = [memory.get(turn.id), *memory.get_many([turn.id]), memory.retention.pin(turn.id)]
    assert {record.id for record in found} == {turn.record_id}
    assert memory.update(turn.id, "The kite is blue.").id == turn.record_id
    assert [version.version for version in memory.history(turn.id)] == [1, 2]
    other = memory.add("The kite is green.")
    memory.merge([turn.id, other.id])
    receipt = memory.forget([turn.id, turn.record_id])
    assert receipt.records == (turn.record_id,)
    assert (receipt.turns, memory.turns()) == (1, [])


def test_a_scope_may_not_change_what_it_may_not_see(memory):
    record = memory.add("private", scope={"user": "u1"})
    with pytest.raises(RecordNotFoundError, match="no record has the id"):
        memory.update(record.id, "taken over", scope={"user": "u2"})
    changed = memory.update(record.id, "still mine", scope={"user": "u1"})
    assert (changed.text, changed.scope) == ("still mine", {"user": "u1"})


@pytest.mark.slow
def test_the_weights_do_not_answer_with_the_old_version(trained):
    assert trained.ask(NORA, budget=0).text == "4471"
    trained.update("Nora", "The badge number of Nora is 7777.", answer="7777")
    after = trained.ask(NORA, budget=0)
    assert not after.route
    assert after.text != "4471"
    assert trained.stats().held == 7
    # The others of its module are still answered.
    assert trained.ask("What is the badge number of Emil?", budget=0).text == "1234"
    (report,) = trained.consolidate().modules
    assert (report.name, report.version) == ("m0001", 2)
    assert report.held == ("Nora", "Emil", "Tara", "Owen")
    assert trained.ask(NORA, budget=0).text == "7777"


def test_metadata_are_no_reason_to_train_again(trained):
    trained.update("Nora", metadata={"source": "hr"})
    assert trained.ask(NORA, budget=0).text == "4471"
    assert trained.consolidate().modules == ()
    assert trained.stats().held == 8


def test_updates_of_two_threads_are_both_kept(memory, nora):
    """Neither writes back the part that the other has just changed."""
    index = memory._engine.index
    prepare, both, met = index.prepare, threading.Barrier(2, timeout=30), threading.local()

    def prepare_together(drafts):
        prepared = prepare(drafts)
        if not hasattr(met, "once"):  # the first attempts read the same version
            met.once = both.wait()
        return prepared

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "prepare", prepare_together)
        threads = [
            threading.Thread(target=memory.update, args=("Nora",), kwargs=kwargs)
            for kwargs in ({"text": "Nora: 4471!"}, {"metadata": {"source": "hr"}})
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    record = memory.get("Nora")
    assert (record.text, record.metadata, record.version) == ("Nora: 4471!", {"source": "hr"}, 3)
    assert memory.search("Nora", k=1)[0].record == record
