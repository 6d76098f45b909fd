"""`MemkitChatMessageHistory`: LangChain's older way to keep a conversation."""

from uuid import uuid4

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    convert_to_openai_messages,
)
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

import memkit
from langchain_memkit import MemkitChatMessageHistory
from memkit import InvalidInputError

ANN = {"user": "ann", "session": "s1"}


@pytest.fixture
def history(memory):
    return MemkitChatMessageHistory(memory, ANN)


def said(history):
    return [(type(message), message.text) for message in history.messages]


def test_messages_come_back_in_order_with_their_kind(history):
    history.add_messages([SystemMessage("Be brief."), HumanMessage("Tea?"), AIMessage("Yes.")])
    history.add_user_message("With milk?")
    history.add_ai_message("No.")

    assert isinstance(history, BaseChatMessageHistory)
    assert said(history) == [
        (SystemMessage, "Be brief."),
        (HumanMessage, "Tea?"),
        (AIMessage, "Yes."),
        (HumanMessage, "With milk?"),
        (AIMessage, "No."),
    ]
    assert len({message.id for message in history.messages}) == 5


def test_a_long_conversation_is_kept_whole(history):
    history.add_messages([HumanMessage(f"Number {number}.") for number in range(120)])

    assert len(history.messages) == 120


def test_conversations_are_apart_and_clear_erases_only_one(history, memory):
    other = MemkitChatMessageHistory(memory, {"user": "bob", "session": "s1"})
    history.add_user_message("I like tea.")
    other.add_user_message("I like cake.")

    history.clear()

    assert history.messages == []
    assert said(other) == [(HumanMessage, "I like cake.")]
    assert [record.text for record in memory.records(scope="all").records] == ["I like cake."]


def test_what_is_said_is_remembered_unless_not_wanted(history, memory):
    history.add_user_message("I like tea.")
    MemkitChatMessageHistory(memory, ANN, remember=False).add_user_message("I like cake.")

    assert [hit.text for hit in memory.search("like", scope=ANN)] == ["I like tea."]
    assert len(history.messages) == 2


CALL = ToolCall(name="search", args={"query": "tea"}, id="1")
PICTURE = {"type": "image", "url": "https://example.org/tea.png"}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (AIMessage("a\0b"), "message 1, AIMessage: `content` must not contain NUL"),
        (HumanMessage("\udc80"), "message 1, HumanMessage: `content` must be valid Unicode"),
        (ChatMessage("Hm.", role="critic"), "message 1, ChatMessage: .* of the role 'critic'"),
        (RemoveMessage("1"), "message 1, RemoveMessage: expected a system, human"),
    ],
)
def test_all_messages_are_added_or_none(history, memory, bad, message):
    with pytest.raises(InvalidInputError, match=message):
        history.add_messages([HumanMessage("Tea?"), bad, HumanMessage("Cake?")])
    assert history.messages == []
    assert memory.count(scope="all") == 0


KINDS = [HumanMessage, AIMessage, SystemMessage]
SMALL_TALK = ["OK", "Thanks!"]
TEXTS = st.text("ab \n\u00e9\0\udc80", max_size=4) | st.sampled_from(SMALL_TALK)
MESSAGES = st.lists(st.tuples(st.sampled_from(KINDS), TEXTS), max_size=6)


@given(messages=MESSAGES)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_of_any_messages_all_that_say_something_are_kept_or_none(memory, messages):
    scope = {"session": str(uuid4())}
    history = MemkitChatMessageHistory(memory, scope)
    spoken = [(kind, text) for kind, text in messages if text.strip()]
    if any("\0" in text or "\udc80" in text for _, text in spoken):
        with pytest.raises(InvalidInputError, match=r"^message \d"):
            history.add_messages([kind(text) for kind, text in messages])
        assert history.messages == []
        assert memory.count(scope=scope) == 0
    else:
        history.add_messages([kind(text) for kind, text in messages])
        assert said(history) == spoken
        facts = {text for kind, text in spoken if kind is not SystemMessage} - {*SMALL_TALK}
        assert {record.text for record in memory.records(scope=scope).records} == facts


def test_a_failure_half_way_leaves_nothing(history, memory, monkeypatch):
    embed, calls = memory.vectors.embedder.encode_document, []

    def failing(texts):
        calls.append(texts)
        if "Cake?" in texts:
            raise RuntimeError("down")
        return embed(texts)

    monkeypatch.setattr(memory.vectors.embedder, "encode_document", failing)
    with pytest.raises(RuntimeError, match="down"):
        history.add_messages([HumanMessage("Tea?"), HumanMessage("Cake?")])
    assert calls
    assert history.messages == []
    assert memory.count(scope="all") == 0


@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [
        (ChatMessage("Be brief.", role="developer"), SystemMessage, "Be brief."),
        (ChatMessage("Tea?", role="human"), HumanMessage, "Tea?"),
        (ChatMessage("Yes.", role="ai"), AIMessage, "Yes."),
        (AIMessageChunk("Yes."), AIMessage, "Yes."),
        (HumanMessage([{"type": "text", "text": "Te"}, "a?"]), HumanMessage, "Tea?"),
        (HumanMessage([PICTURE]), HumanMessage, "[image]"),
        (HumanMessage(["Tea?", PICTURE, PICTURE]), HumanMessage, "Tea?\n[image]\n[image]"),
        (HumanMessage([PICTURE, "Tea?"]), HumanMessage, "[image]\nTea?"),
        (
            HumanMessage([{"type": "image_url", "image_url": {"url": "https://x.org/a.png"}}]),
            HumanMessage,
            "[image]",
        ),
        (
            HumanMessage([{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]),
            HumanMessage,
            "[audio]",
        ),
        (HumanMessage([{"type": "text-plain", "text": "A list."}]), HumanMessage, "A list."),
        (HumanMessage([{"type": "text-plain", "url": "a.txt"}]), HumanMessage, "[file]"),
        (HumanMessage([{"type": "hologram"}]), HumanMessage, "[hologram]"),
        (AIMessage([{"type": "thinking", "thinking": "Hm."}, "Yes."]), AIMessage, "Yes."),
        (AIMessage("Let me see.", tool_calls=[CALL]), AIMessage, "Let me see."),
    ],
)
def test_every_author_and_content(history, message, kind, text):
    history.add_messages([message])
    assert said(history) == [(kind, text)]


def test_what_says_nothing_is_left_out_and_logged(history, caplog):
    caplog.set_level("INFO")
    thought = AIMessage([{"type": "thinking", "thinking": "Hm."}])
    history.add_messages([AIMessage(""), AIMessage("", tool_calls=[CALL]), thought])
    assert history.messages == []
    assert "left out 3 messages that say nothing" in caplog.text


def test_a_mark_is_no_record(history, memory):
    history.add_messages([HumanMessage([PICTURE]), HumanMessage(["My tea.", PICTURE])])
    assert [record.text for record in memory.records(scope=ANN).records] == ["My tea.\n[image]"]


@pytest.mark.parametrize(
    "result",
    [
        ToolMessage("found", tool_call_id="1", name="search"),
        FunctionMessage("found", name="search"),
    ],
)
def test_what_tools_return_comes_back_behind_a_call(history, memory, result):
    messages = [HumanMessage("Tea?"), AIMessage("", tool_calls=[CALL]), result, AIMessage("Milk?")]
    history.add_messages(messages)
    question, call, returned, last = history.messages
    assert (question.text, last.text) == ("Tea?", "Milk?")
    assert (call.tool_calls[0]["name"], call.tool_calls[0]["args"]) == ("search", {})
    assert isinstance(returned, ToolMessage)
    assert (returned.content, returned.name) == ("found", "search")
    assert returned.tool_call_id == call.tool_calls[0]["id"]
    assert [record.text for record in memory.records(scope=ANN).records] == ["Tea?", "Milk?"]
    read = convert_to_openai_messages(history.messages)
    assert [message["role"] for message in read] == ["user", "assistant", "tool", "assistant"]


def test_names_come_back(history):
    history.add_messages([HumanMessage("Tea?", name="Ann"), AIMessage("Yes.", name="Kit")])
    assert [message.name for message in history.messages] == ["Ann", "Kit"]


@pytest.mark.filterwarnings("ignore:.*RunnableWithMessageHistory")
async def test_a_chain_with_its_history(memory, caplog):
    heard = []

    def reply(messages):
        heard.append([message.text for message in messages])
        return AIMessage(f"Answer {len(heard)}.")

    chain = RunnableWithMessageHistory(
        RunnableLambda(reply), lambda name: MemkitChatMessageHistory(memory, {"session": name})
    )
    config = {"configurable": {"session_id": "s7"}}
    chain.invoke([HumanMessage("Tea?")], config)
    await chain.ainvoke([HumanMessage("Cake?")], config)
    chain.invoke([HumanMessage("Cake?")], {"configurable": {"session_id": "s8"}})
    assert heard == [["Tea?"], ["Tea?", "Answer 1.", "Cake?"], ["Cake?"]]
    texts = [turn.content for turn in memory.turns(scope={"session": "s7"})]
    assert texts == ["Tea?", "Answer 1.", "Cake?", "Answer 2."]


def test_a_conversation_needs_a_scope(memory):
    with pytest.raises(
        InvalidInputError, match=r"expected the `scope` of a conversation, got \{\}"
    ):
        MemkitChatMessageHistory(memory, {})


async def test_async_does_not_block(history):
    with blockbuster_ctx(memkit):
        await history.aadd_messages([HumanMessage("Tea?")])
        assert [message.text for message in await history.aget_messages()] == ["Tea?"]
        await history.aclear()

    assert history.messages == []


@pytest.mark.parametrize("messages", [None, "Hello", 5, ["x"], [None]])
def test_what_is_no_message_is_refused(memory, messages):
    history = MemkitChatMessageHistory(memory, {"session": "s7"})
    with pytest.raises(InvalidInputError, match="must be a"):
        history.add_messages(messages)
    assert history.messages == []


@pytest.mark.parametrize("memory", [None, "agent.mem"])
def test_a_history_needs_an_open_memory(memory):
    with pytest.raises(InvalidInputError, match="`memory` must be an open memory"):
        MemkitChatMessageHistory(memory, {"session": "s7"})
