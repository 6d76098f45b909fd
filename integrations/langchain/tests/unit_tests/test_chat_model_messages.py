"""`ChatMemkit`: which messages it reads, and as what."""

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_memkit.messages import conversation_of
from memkit import InvalidInputError
from memkit.types import Sampling

NORA = "What is the badge number of Nora?"


def test_messages_become_a_conversation():
    messages = [
        SystemMessage("Be brief."),
        HumanMessage([{"type": "text", "text": "Good "}, {"type": "text", "text": "day."}]),
        AIMessageChunk(content="Good day!"),
        ToolMessage("42", tool_call_id="1"),
        ChatMessage("Hm.", role="assistant"),
        HumanMessage("Bye."),
    ]
    assert [tuple(one.values()) for one in conversation_of(messages)] == [
        ("system", "Be brief."),
        ("user", "Good day."),
        ("assistant", "Good day!"),
        ("tool", "42"),
        ("assistant", "Hm."),
        ("user", "Bye."),
    ]


def test_messages_of_agents_become_a_conversation():
    call = {"name": "look_up", "args": {}, "id": "1"}
    thought = {"type": "thinking", "thinking": "Hm."}
    messages = [
        ChatMessage("Be brief.", role="developer"),
        ChatMessage("Which gate?", role="human"),
        AIMessage([thought, {"type": "tool_use", "id": "1", "name": "look_up"}], tool_calls=[call]),
        FunctionMessage("7", name="look_up"),
        AIMessage([thought, {"type": "text", "text": "Gate 7."}]),
        ChatMessage("Sure?", role="user"),
    ]
    assert [tuple(one.values()) for one in conversation_of(messages)] == [
        ("system", "Be brief."),
        ("user", "Which gate?"),
        ("assistant", ""),
        ("tool", "7"),
        ("assistant", "Gate 7."),
        ("user", "Sure?"),
    ]


def test_messages_of_anything_but_text_are_refused(model):
    picture = HumanMessage([{"type": "image", "url": "https://example.org/a.png"}])
    with pytest.raises(InvalidInputError, match=r"got one with \['image") as refused:
        model.invoke([picture])
    assert "reads text alone" in refused.value.hint
    with pytest.raises(InvalidInputError, match="got ChatMessage of the role 'critic'"):
        conversation_of([ChatMessage("Hm.", role="critic")])
    with pytest.raises(InvalidInputError, match="got RemoveMessage"):
        conversation_of([RemoveMessage("1")])
    with pytest.raises(InvalidInputError, match="must end with the user's"):
        model.invoke([HumanMessage(NORA), AIMessage("4471")])


def test_the_history_is_read(model, tiny):
    history = [SystemMessage("Be brief."), HumanMessage("Good day."), AIMessage("Good day!")]
    message = model.invoke([*history, HumanMessage(NORA)], modules=[])
    prompt = tiny.prompt(
        NORA, system="Be brief.", history=[("user", "Good day."), ("assistant", "Good day!")]
    )
    assert message.usage_metadata["input_tokens"] == len(prompt)
    assert message.content == tiny.generate([prompt], Sampling(max_new_tokens=12))[0].text
