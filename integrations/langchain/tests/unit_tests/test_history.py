"""`MemkitChatMessageHistory`: LangChain's older way to keep a conversation."""

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

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
    assert [record.text for record in memory.records().records] == ["I like cake."]


def test_what_is_said_is_remembered_unless_not_wanted(history, memory):
    history.add_user_message("I like tea.")
    MemkitChatMessageHistory(memory, ANN, remember=False).add_user_message("I like cake.")

    assert [hit.text for hit in memory.search("like", scope=ANN)] == ["I like tea."]
    assert len(history.messages) == 2


def test_what_is_no_text_is_refused_and_nothing_of_it_added(history):
    call = ToolCall(name="search", args={}, id="1")
    for message in (AIMessage("", tool_calls=[call]), ToolMessage("found", tool_call_id="1")):
        with pytest.raises(InvalidInputError, match="Message of a tool call"):
            history.add_messages([HumanMessage("Tea?"), message])
    with pytest.raises(InvalidInputError, match="expected a message of text"):
        history.add_messages([HumanMessage([{"type": "image", "url": "x"}])])

    assert history.messages == []


def test_turns_of_other_roles_are_there(history, memory):
    memory.add_turn("tool", "18:30", scope=ANN)

    assert history.messages == [ChatMessage("18:30", role="tool", id=history.messages[0].id)]


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
