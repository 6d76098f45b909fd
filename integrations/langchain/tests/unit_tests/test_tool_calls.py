"""`ChatMemkit.bind_tools`: which tools are called, how calls come out and results go back in."""

import json

import pytest
from blockbuster import blockbuster_ctx
from langchain.agents import create_agent
from langchain.agents.middleware import ModelCallLimitMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from langchain_memkit import ChatMemkit
from langchain_memkit._calls import with_calls
from memkit.errors import IncompatibleModelError, IncompleteAnswerError, InvalidInputError

NORA = "What is the badge number of Nora?"


@pytest.fixture
def calling(terse):
    return ChatMemkit(memory=terse, max_tokens=120)


@tool
def look_up(name: str) -> str:
    """Look up a name."""
    return f"{name!r} is not there"


def add(a: int, b: bool) -> int:
    """Add."""
    return a + b


def is_look_up(calls):
    (call,) = calls
    return call["name"] == "look_up" and set(call["args"]) == {"name"} and call["id"]


@pytest.mark.parametrize("choice", ["any", "required", True, "look_up"])
def test_a_forced_call(calling, choice):
    message = calling.bind_tools([look_up], tool_choice=choice).invoke(NORA)
    assert message.content == ""
    assert is_look_up(message.tool_calls)
    assert message.invalid_tool_calls == []


def test_strict_tools_are_not_strict_answers(calling, model):
    """LangChain's `strict` is about schemas, and memkit's about what is stored."""
    for tools in ([look_up], []):
        bound = calling.bind_tools(tools, tool_choice="none", strict=True, modules=[], max_tokens=5)
        assert bound.invoke(NORA).content
    withheld = model.model_copy(update={"strict": True})
    answer = withheld.bind_tools([], strict=False, modules=[]).invoke(NORA)
    assert (answer.content, bool(answer.response_metadata["withheld"])) == ("", True)


def test_the_named_tool_is_called(calling):
    for name in ("add", "look_up"):
        bound = calling.bind_tools([look_up, add], tool_choice=name, max_tokens=200)
        try:
            message = bound.invoke(NORA)
        except IncompleteAnswerError:  # a number that goes on and on
            assert name == "add"
            continue
        assert message.tool_calls[0]["name"] == name


@pytest.mark.parametrize("choice", [None, "auto", "none", False])
def test_without_force_a_random_model_says_something(calling, choice):
    message = calling.bind_tools([look_up], tool_choice=choice).invoke(NORA, max_tokens=5)
    assert message.tool_calls == []


async def test_streams_batches_and_loops(calling):
    bound = calling.bind_tools([look_up], tool_choice="any")
    whole = None
    for chunk in bound.stream(NORA):
        whole = chunk if whole is None else whole + chunk
    assert is_look_up(whole.tool_calls)
    assert whole.tool_calls == bound.invoke(NORA).tool_calls
    first, second = bound.batch([NORA, "Who is Emil?"])
    assert first.tool_calls == whole.tool_calls
    assert is_look_up(second.tool_calls)
    assert second.tool_calls[0]["id"] != first.tool_calls[0]["id"]
    with blockbuster_ctx():
        assert (await bound.ainvoke(NORA)).tool_calls == whole.tool_calls


def test_an_agent_calls_and_reads_what_came(calling):
    limit = ModelCallLimitMiddleware(run_limit=2, exit_behavior="end")
    agent = create_agent(calling, [look_up], middleware=[limit])
    call = {"name": "look_up", "args": {"name": "Nora"}, "id": "call_1", "type": "tool_call"}
    said = agent.invoke(
        {"messages": [HumanMessage(NORA), AIMessage("", tool_calls=[call]),
                      ToolMessage("4471", tool_call_id="call_1")]}
    )["messages"]  # fmt: skip
    assert isinstance(said[-1], AIMessage)
    assert len(said) == 4


def test_calls_and_results_keep_their_ids():
    call = {"name": "look_up", "args": {"name": "Ä"}, "id": "call_1", "type": "tool_call"}
    _, called, given = with_calls(
        [HumanMessage(NORA), AIMessage("Hm.", tool_calls=[call]),
         ToolMessage("4471", tool_call_id="call_1", name="look_up")]
    )  # fmt: skip
    (sent,) = called["tool_calls"]
    assert (called["role"], called["content"], sent["id"]) == ("assistant", "Hm.", "call_1")
    assert json.loads(sent["function"]["arguments"]) == {"name": "Ä"}
    assert given == {
        "role": "tool", "content": "4471", "tool_call_id": "call_1", "name": "look_up"
    }  # fmt: skip


def test_what_cannot_be_is_refused(calling, model):
    with pytest.raises(InvalidInputError, match="`tools` must be tools"):
        calling.bind_tools([5])
    with pytest.raises(InvalidInputError, match="`tool_choice` must be"):
        calling.bind_tools([look_up], tool_choice="gone").invoke(NORA)
    with pytest.raises(IncompleteAnswerError):
        calling.bind_tools([look_up], tool_choice="any").invoke(NORA, max_tokens=5)
    with pytest.raises(IncompatibleModelError, match="knows no tools") as unknown:
        model.bind_tools([look_up]).invoke(NORA)
    assert "chat_template" in unknown.value.hint
