"""`chat`, `chat_batch`, `chat_stream`: the last message of a conversation is answered."""

from datetime import UTC, datetime

import pytest

from memkit import Memory
from memkit.answering.prompt import PromptFormat
from memkit.errors import InvalidInputError
from memkit.types import Sampling

NORA = "What is the badge number of Nora?"
LENA = "What is the badge number of Lena?"
BRIEF = Sampling(max_new_tokens=8)


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


def system(content):
    return {"role": "system", "content": content}


def test_a_single_question_is_asked(trained):
    asked = trained.ask(NORA, sampling=BRIEF)
    said = trained.ask([user(NORA)], sampling=BRIEF)
    assert (said.text, said.route, said.citations) == (asked.text, asked.route, asked.citations)
    assert said.prompt_tokens == asked.prompt_tokens


def test_the_base_model_reads_what_was_said_before(trained, tiny):
    messages = [system("Be brief."), user("Good day."), assistant("Good day!"), user(NORA)]
    answer = trained.ask(messages, modules=[], sampling=BRIEF, quote=False)
    evidence = answer.recall.text
    assert "Nora" in evidence
    told = (
        PromptFormat().system_message(evidence).replace("You are a helpful assistant.", "Be brief.")
    )
    prompt = tiny.prompt(
        NORA,
        system=told,
        history=[("user", "Good day."), ("assistant", "Good day!")],
    )
    assert answer.prompt_tokens == len(prompt)
    assert answer.text == tiny.generate([prompt], BRIEF)[0].text


def test_without_evidence_the_system_message_is_the_callers(trained, tiny):
    answer = trained.ask([system("Sing."), system("Rhyme."), user(NORA)], 0, modules=[])
    assert answer.prompt_tokens == len(tiny.prompt(NORA, system="Sing.\n\nRhyme."))
    answer = trained.ask([user(NORA)], 0, modules=[])
    assert answer.prompt_tokens == len(tiny.prompt(NORA))


def test_each_conversation_has_its_own_adapters(trained):
    conversations = [[user("Hello."), assistant("Hello."), user(NORA)], [user(LENA)]]
    nora, lena = trained.ask_batch(conversations, 0, sampling=BRIEF)
    assert nora.route.modules != lena.route.modules
    assert (lena.text, lena.citations) == ("3141", ("Lena",))
    assert nora.citations == ("Nora",)
    alone = trained.ask(conversations[0], 0, sampling=BRIEF)
    assert alone.text == nora.text
    assert trained.ask_batch([]) == []


def test_pieces_join_to_the_text(trained):
    messages = [user("Hello."), assistant("Hello."), user(NORA)]
    stream = trained.stream(messages, 0, sampling=BRIEF)
    text = "".join(stream)
    assert stream.answer.text == text == trained.ask(messages, 0, sampling=BRIEF).text


def test_what_the_conversation_says_is_not_evidence_too(memory):
    memory.add("The canteen opens at noon.")
    memory.add_turn("user", "When does the canteen open?")
    memory.add_turn("assistant", "I do not know when the canteen opens.")
    messages = [
        user("When does the canteen open?"),
        assistant("I do not know when the canteen opens."),
        user("When does the canteen open on Friday?"),
    ]
    recall = memory.ask(messages, sampling=BRIEF, min_score=None).recall
    assert [hit.text for hit in recall.hits] == ["The canteen opens at noon."]
    assert recall.turns == ()
    assert memory.recall(messages) == recall
    assert memory.recall(messages, budget=0).text == ""


def test_answers_are_combined_and_withheld_as_by_ask(trained):
    asked = [user(f"{NORA} {LENA}")]
    modules = [module.name for module in trained.modules.list()]
    for combine in ("mix", "confident"):
        options = {"modules": modules, "combine": combine, "sampling": BRIEF}
        (said,) = trained.ask_batch([asked], 0, **options)
        assert said.text == trained.ask(asked[0]["content"], 0, **options).text
        assert said.text == trained.ask(asked, 0, **options).text
    withheld = trained.ask([user(NORA)], 0, modules=[], strict=True, sampling=BRIEF)
    assert (withheld.text, bool(withheld.withheld)) == ("", True)
    stream = trained.stream([user(NORA)], 0, modules=[], strict=True, sampling=BRIEF)
    assert list(stream) == []
    assert stream.answer.withheld == withheld.withheld
    assert trained.ask([user(NORA)], 0, strict=True, sampling=BRIEF).text == "4471"


def test_times_hold(memory):
    memory.add("The canteen opens at noon.", key="canteen", at=datetime(2024, 5, 1, tzinfo=UTC))
    before = datetime.now(UTC)
    memory.add("The canteen opens at eleven.", key="canteen", at=datetime(2026, 5, 1, tzinfo=UTC))
    asked = [user("When does the canteen open?")]
    new_year = datetime(2026, 1, 1, tzinfo=UTC)
    for times, texts in (
        ({}, ["The canteen opens at eleven."]),
        ({"as_of": before}, ["The canteen opens at noon."]),
        ({"since": new_year}, ["The canteen opens at eleven."]),
        ({"until": new_year}, []),
    ):
        stream = memory.stream(asked, sampling=BRIEF, min_score=None, **times)
        list(stream)
        recalled = memory.recall(asked, **times)
        assert [hit.text for hit in recalled.hits] == texts
        answer = memory.ask(asked, sampling=BRIEF, min_score=None, **times)
        assert answer.recall.hits == recalled.hits
        assert stream.answer.recall.hits == recalled.hits


def test_scopes_hold(memory):
    memory.add("Ann's locker has the code 8812.", scope={"user": "ann"})
    question = [user("What is the code of Ann's locker?")]
    assert memory.ask(question, scope={"user": "bob"}, sampling=BRIEF).recall.hits == ()
    assert memory.ask(question, scope={"user": "ann"}, sampling=BRIEF).recall.hits


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "must not be empty, got"),
        ([system("Be brief.")], "must end with the user's"),
        ([user(NORA), assistant("4471")], "must end with the user's"),
        ([{"role": "user"}], "`question` must not be empty"),
        ([{"role": "user", "content": None}], "`question` must not be empty"),
        ([user(7)], "the content of message 0 must be a string or a list of parts"),
        (["What?", user(NORA)], "message 0 must be a mapping"),
        (["What?"], "got a list of strings"),
        ([{"role": "bard", "content": "La"}, user(NORA)], "`role` must be one of"),
        ([user("  ")], "`question` must"),
    ],
)
def test_malformed_conversations_are_refused(trained, messages, message):
    with pytest.raises(InvalidInputError, match=message):
        trained.ask(messages)


def test_the_base_model_is_named_and_counts(memory, tiny):
    assert memory.model_name == tiny.name
    assert memory.count_tokens("The night porter") == tiny.count("The night porter")


@pytest.mark.real
def test_the_default_model_is_not_loaded_for_its_name(tmp_path, minilm, smollm2):
    with Memory.open(tmp_path / "m", embedder=minilm) as memory:
        assert memory.model_name == smollm2.name
        assert memory._engine._base is None
