"""`add_messages`: chat logs become turns and records, once, and nothing else of them does."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memkit.errors import InvalidInputError
from memkit.memory.messages import without_recalled

LOG = [
    {"role": "system", "content": "You are a pirate."},
    {"role": "developer", "content": "Never mention parrots."},
    {"role": "user", "name": "Ann", "content": "I live in Oslo."},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {}}]},
    {"role": "tool", "tool_call_id": "1", "content": '{"weather": "rain"}'},
    {"role": "assistant", "content": [{"type": "text", "text": "It rains in Oslo."}]},
    {"role": "user", "content": [
        {"type": "text", "text": "Look at this"}, {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "text", "text": "photo."}]},
    {"role": "user", "content": "yes"},
    {"role": "assistant", "content": "Sure?"},
    {"role": "user", "content": "yes"},
]  # fmt: skip
SAID = ["I live in Oslo.", '{"weather": "rain"}', "It rains in Oslo.",
        "Look at this\n[image]\nphoto.", "yes", "Sure?", "yes"]  # fmt: skip
SCOPE = {"user": "ann"}


def said(memory, scope=SCOPE):
    return [turn.content for turn in memory.turns(scope=scope)]


def test_what_was_said_becomes_turns_and_records(memory):
    report = memory.add_messages(LOG, scope=SCOPE)
    assert (len(report.turns), report.known, report.left_out) == (7, 0, 3)
    assert str(report) == "7 turns added, and 3 records; 0 were there already, 3 were left out"
    assert said(memory) == SAID
    assert [turn.id for turn in memory.turns(scope=SCOPE)] == list(report.turns)
    records = memory.records(scope="all").records
    assert tuple(record.id for record in records) == report.records
    assert [record.text for record in records] == [SAID[0], SAID[2], SAID[3]]
    assert records[0].metadata == {"role": "user", "name": "Ann"}
    assert all(dict(record.scope) == SCOPE for record in records)
    assert memory.search("Oslo", scope=SCOPE, k=1)[0].text in ("I live in Oslo.", SAID[2])
    assert memory.search("pirate parrots weather", k=9) == []
    roles = [turn.role for turn in memory.turns(scope=SCOPE)]
    assert roles == ["user", "tool", "assistant", "user", "user", "assistant", "user"]


def test_a_log_that_has_grown_adds_what_is_new(memory):
    memory.add_messages(LOG[:8], scope=SCOPE)
    before = memory.stats()
    again = memory.add_messages(LOG[:8], scope=SCOPE)
    assert (again.turns, again.records, again.known, again.left_out) == ((), (), 5, 3)
    assert memory.stats() == before
    assert memory.add_messages(LOG, scope=SCOPE).known == 5
    assert said(memory) == SAID
    other = memory.add_messages(LOG, scope={"user": "bob"})
    assert (len(other.turns), other.known) == (7, 0)


def test_ids_tell_messages_apart(memory):
    one = {"id": "m1", "role": "user", "content": "Blue."}
    two = {"id": "m2", "role": "user", "content": "Blue."}
    assert len(memory.add_messages([one], scope=SCOPE).turns) == 1
    report = memory.add_messages([two, one], scope=SCOPE)
    assert (len(report.turns), report.known) == (1, 1)
    assert memory.records(scope="all").records[0].metadata == {"role": "user", "message_id": "m1"}


def test_a_short_reply_is_known_by_what_it_replies_to(memory):
    """Exchange by exchange, as many hand them in: "yes" to another question is another one."""
    exchanges = [
        [("assistant", "Tea or coffee? Tea, perhaps."), ("user", "Yes."), ("assistant", "OK")],
        [("assistant", "With milk, as always."), ("user", "Yes."), ("assistant", "OK")],
    ]
    logs = [[{"role": r, "content": c} for r, c in exchange] for exchange in exchanges]
    for log in [*logs, logs[0] + logs[1]]:
        memory.add_messages(log, scope=SCOPE)
    assert said(memory) == [content for exchange in exchanges for _, content in exchange]


def test_an_exchange_that_is_said_again_is_kept_again(memory):
    exchange = [
        {"role": "user", "content": "Which day is it?"},
        {"role": "assistant", "content": "Tuesday."},
        {"role": "user", "content": "Thanks!"},
    ]
    for times in range(1, 4):
        report = memory.add_messages(exchange, scope=SCOPE, continues=True)
        assert (len(report.turns), report.known) == (3, 0)
        assert said(memory) == ["Which day is it?", "Tuesday.", "Thanks!"] * times
    assert memory.add_messages(exchange * 3, scope=SCOPE).known == 9
    assert memory.add_messages(exchange * 4, scope=SCOPE).known == 9
    assert memory.recall("day", scope=SCOPE).text.count("Tuesday.") == 4


def test_the_same_id_is_the_same_message_whatever_continues(memory):
    message = {"id": "m1", "role": "user", "content": "Blue."}
    memory.add_messages([message], scope=SCOPE, continues=True)
    assert memory.add_messages([message], scope=SCOPE, continues=True).known == 1


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("user", "user"), ("human", "user"), ("assistant", "assistant"), ("ai", "assistant"),
        ("model", "assistant"), ("tool", "tool"), ("function", "tool"),
        ("system", "system"), ("developer", "system"),
    ],
)  # fmt: skip
def test_a_role_is_the_same_wherever_it_is_named(memory, name, role):
    content = "The archive is upstairs."
    turn = memory.add_turn(name, content, scope={"by": "turn"})
    assert (turn.role, turn.record_id is not None) == (role, role in ("user", "assistant"))
    report = memory.add_messages([{"role": name, "content": content}], scope=SCOPE)
    assert bool(report.records) == (turn.record_id is not None)
    assert [turn.role for turn in memory.turns(scope=SCOPE)] == [role] * (role != "system")
    asked = [{"role": name, "content": content}, {"role": "human", "content": "Where is it?"}]
    assert memory.recall(asked).query == "Where is it?"


def test_what_is_no_text_leaves_its_place(memory):
    parts = [
        {"type": "image_url", "image_url": {"url": "x"}}, {"type": "input_audio"},
        {"type": "file", "file": {}}, {"type": "refusal", "refusal": "I will not."},
        {"type": "tool_use", "name": "f"},
    ]  # fmt: skip
    memory.add_messages([{"role": "user", "content": parts}], scope=SCOPE)
    memory.add_messages([{"role": "user", "content": parts[:1]}], scope=SCOPE)
    assert said(memory) == ["[image]\n[audio]\n[file]\nI will not.", "[image]"]
    assert [record.text for record in memory.records(scope=SCOPE).records] == said(memory)[:1]
    assert memory.recall([{"role": "user", "content": parts}]).query == said(memory)[0]


def test_calls_of_tools_are_left_out_of_a_conversation(memory):
    calls = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    question = {"role": "user", "content": "Where is the archive?"}
    assert memory.recall([question, calls, question]).query == question["content"]


@pytest.mark.parametrize(
    "content",
    ["OK", "ok!", "Saved.", "Noted.", "Thanks!", "Thank you very much.", "Yes", "No, thanks.",
     "You are welcome.", "You’re welcome!",
     "Got it, thank you.", "👍", "...", "Danke schön!", "D’accord, merci.", "Так, дякую.",
     "спасибо", "はい、ありがとうございます", "好的，谢谢", "نعم، شكرا", "네, 감사합니다",
     "[image]", "Danke sehr", "Dank je wel", "Dziękuję bardzo", "Tusen tack", "Hey there",
     "That’s great!", "Any time", "شكراً", "ok great thanks", "Yes! No problem."],
)  # fmt: skip
def test_small_talk_stays_a_turn(memory, content):
    turn = memory.add_turn("user", content, scope=SCOPE)
    memory.add_messages([{"role": "assistant", "content": content}], scope=SCOPE)
    assert (turn.record_id, memory.stats().records) == (None, 0)
    assert said(memory) == [content] * 2


@pytest.mark.parametrize(
    "content",
    ["Oslo.", "42", "OK, Tuesday.", "Thanks, Ann!", "Yes, at noon.", "No milk.", "Nora", "北京",
     "はい、東京です", "Yes. " * 40, "Not at all well.", "No good.", "I know Ty.", "Hi Ty!", "No K",
     "Right, then right, and right", "Não entendi", "Non va bene", "Right", "True", "Correct",
     "There.", "Nein, va bene"],
)  # fmt: skip
def test_whatever_else_was_said_is_remembered(memory, content):
    assert memory.add_turn("user", content, scope=SCOPE).record_id is not None


def test_without_remembering_there_are_turns_only(memory):
    report = memory.add_messages(LOG, scope=SCOPE, remember=False)
    assert (len(report.turns), report.records) == (7, ())
    assert memory.stats().records == 0


def test_what_was_recalled_is_not_remembered_again(memory):
    memory.add(["The zebra is striped.\n\nIt has hooves.", "The archive is upstairs."])
    memory.add_turn("user", "Zebras: I like them.", scope=SCOPE)
    memory.add("A zebra in Oslo.", scope=SCOPE)
    recall = memory.recall("zebra", scope=SCOPE)
    assert "It has hooves." in recall.text
    assert "Conversation so far:" in recall.text
    before = memory.stats().records
    prompts = [
        f"{recall.text}\n\nIs it grey?",
        f"{recall.text}\n\nIs it old?\n\nAnd fast?",
        f"Use this.\n{recall.text}\n\nWhere?",
        recall.text,
    ]
    log = [{"role": "user", "content": prompt} for prompt in prompts]
    log.insert(0, {"role": "system", "content": recall.text})
    report = memory.add_messages(log, scope=SCOPE)
    assert said(memory)[1:] == ["Is it grey?", "Is it old?\n\nAnd fast?", "Use this.\nWhere?"]
    assert (memory.stats().records - before, report.left_out) == (3, 2)
    assert memory.add_messages(log, scope=SCOPE).turns == ()


def test_a_log_of_an_earlier_day(memory):
    day = datetime(2023, 5, 8, tzinfo=UTC)
    memory.add_messages(LOG, scope=SCOPE, at=day)
    assert {turn.said_at for turn in memory.turns(scope=SCOPE)} == {day}
    assert {record.said_at for record in memory.records(scope="all").records} == {day}
    assert "time" in memory.search("Who lived in Oslo in May 2023?", k=1, scope=SCOPE)[0].parts
    for bad in (datetime(2023, 5, 8), "2023-05-08"):
        for remember in (True, False):
            with pytest.raises(InvalidInputError, match="`at` must"):
                memory.add_messages([{"role": "user", "content": "New"}], at=bad, remember=remember)
    assert memory.turns() == []


@pytest.mark.parametrize("role", ["user", "system"])
def test_a_turn_is_not_said_at_an_unknown_hour(memory, role):
    with pytest.raises(InvalidInputError, match="`at` must have a time zone, got the naive"):
        memory.add_turn(role, "Hello", remember=False, at=datetime(2023, 5, 8))


def test_recalled_evidence_says_who_and_when_and_is_known_again(memory):
    day = datetime(2023, 5, 8, tzinfo=UTC)
    memory.add_turn("user", "I saw a zebra\n\nyesterday.", scope=SCOPE, name="Ann", at=day)
    memory.add("[sic] The zebra is striped.", at=day + timedelta(days=1))
    shown = [memory.recall("zebra", scope=SCOPE).text]
    assert "user: [8 May 2023, Ann] I saw a zebra" in shown[0]
    assert "- [9 May 2023] [sic] The zebra" in shown[0]
    for n in range(60):  # until it has left the buffer
        memory.add_turn("user", f"Turn {n}.", scope=SCOPE)
    shown.append(memory.recall("When did Ann see a zebra?", scope=SCOPE).text)
    assert "- [8 May 2023, Ann] I saw a zebra" in shown[1]
    for number, text in enumerate(shown):
        content = f"{text}\n\nReally {number}?"
        report = memory.add_messages([{"role": "user", "content": content}], scope=SCOPE)
        assert memory.get(report.records[0], scope="all").text == f"Really {number}?"


def test_the_evidence_of_another_tenant_is_what_a_user_said(memory):
    """Whether something is known must not show through the scope."""
    memory.add("The zebra is striped.", scope={"user": "bob"})
    content = "Facts:\n- The zebra is striped.\n\nTrue?"
    memory.add_messages([{"role": "user", "content": content}], scope=SCOPE)
    assert said(memory) == [content]


def test_what_a_user_says_below_known_evidence_is_kept(memory):
    memory.add(["The canteen opens at noon.", "The PIN of the gate is 128."])
    items = "- My new PIN is 9999.\nAnd my flat is 12B.\n- 12\n- The PIN of the gate is 12"
    content = f"Please remember these.\nFacts:\n- The canteen opens at noon.\n{items}"
    report = memory.add_messages([{"role": "user", "content": content}], scope=SCOPE)
    assert said(memory) == [f"Please remember these.\n{items}"]
    assert [memory.get(id, scope=SCOPE).text for id in report.records] == said(memory)


LINES = st.sampled_from(
    ["Facts:", "Conversation so far:", "- known", "- mine", "user: known", "user: mine",
     "known", "mine", "  mine", "", "- [8 May 2023] known", "- [8 May 2023] mine", "- ", "-"]
)  # fmt: skip


@given(st.lists(LINES))
def test_no_line_that_is_unknown_is_ever_cut_out(lines):
    left = without_recalled(
        "\n".join(lines),
        ("Facts:", "Conversation so far:"),
        lambda line: ["known"] if line == "known" else [],
    )
    others = [line.strip() for line in lines if "mine" in line or line == "known"]
    assert [
        s for line in left.split("\n") if "mine" in (s := line.strip()) or s == "known"
    ] == others


@pytest.mark.parametrize(
    ("content", "left"),
    [
        ("no block at all\n\n", "no block at all\n\n"),
        ("Facts:\n- mine\n- also mine", "Facts:\n- mine\n- also mine"),
        ("Facts:\n- known\n\nand more", "and more"),
        ("Facts:\n- known\n- unknown\ngoes on\n\nmore", "- unknown\ngoes on\n\nmore"),
        ("Facts:\n- unknown\n  goes on\n- known\nmore", "- unknown\n  goes on\nmore"),
        ("Facts:\n- mine\n\n- known\n\nFacts:\n- known\n- his", "- mine\n\n- his"),
        ("Facts:\n- mine\nFacts:\n- known\nmore", "Facts:\n- mine\nmore"),
        ("a\nFacts:\n- known\nb", "a\nb"),
        ("Facts:\n- two\n\nparagraphs\n- known\n\nmore\n\nand more", "more\n\nand more"),
        ("Facts:\n- known\n\nConversation so far:\nuser: known\nassistant: unknown",
         "assistant: unknown"),
        ("Conversation so far:\nuser: mine", "Conversation so far:\nuser: mine"),
        ("Facts:", "Facts:"),
        ("Facts:\n", "Facts:\n"),
    ],
)  # fmt: skip
def test_blocks_of_evidence_are_cut_out(content, left):
    texts = ["known", "two\n\nparagraphs"]
    known = lambda line: [text for text in texts if line in text]  # noqa: E731
    assert without_recalled(content, ("Facts:", "Conversation so far:"), known) == left


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ("hello", "`messages` must be a list of messages, got the string 'hello'"),
        ({"role": "user"}, "`messages` must be a list"),
        (["hello"], "message 0 must be a mapping, got the string 'hello'"),
        ([LOG[2], {"content": "x"}], "`role` must be one of .* got None in message 1"),
        ([{"role": "pirate", "content": "x"}], "`role` must be one of .* 'pirate' in message 0"),
        ([{"role": "user", "content": 7}], "the content of message 0 must be a string or a list"),
        ([{"role": "user", "content": ["x"]}], "a content part of message 0 must have a `type`"),
        ([{"role": "user", "content": [{"type": "text"}]}], "a text of message 0 must be a string"),
        ([{"role": "user", "content": "x", "id": 7}], "the id of message 0 .*, got int: 7"),
        ([LOG[2], {"role": "user", "content": "a\0b"}], "must not contain NUL characters"),
    ],
)
def test_a_malformed_log_adds_nothing(memory, messages, message):
    with pytest.raises(InvalidInputError, match=message):
        memory.add_messages(messages, scope=SCOPE)
    with pytest.raises(InvalidInputError, match="`scope` must be a mapping"):
        memory.add_messages(LOG, scope="ann")
    assert (memory.stats().turns, memory.stats().records) == (0, 0)
    assert memory.add_messages([]).turns == ()


def test_a_buffer_alone_takes_logs_in(tmp_path, open_memory):
    memory = open_memory(tmp_path / "buffer.mem", backends=("buffer",))
    assert len(memory.add_messages(LOG, scope=SCOPE).turns) == 7
    assert said(memory) == SAID
