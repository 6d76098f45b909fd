"""`MemkitMiddleware` beside LangChain's own middleware, checkpointers and stores."""

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    HumanInTheLoopMiddleware,
    ModelFallbackMiddleware,
    SummarizationMiddleware,
)
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langchain_memkit import MemkitMiddleware, MemkitStore

ANN = {"user": "ann"}
THREAD = {"configurable": {"thread_id": "t1"}}


class Scripted(GenericFakeChatModel):
    """Says what it is told to, notes what it is given, and takes tools."""

    heard: list = []

    def bind_tools(self, tools, **options):
        return self

    def _generate(self, messages, *rest, **options):
        self.heard.append(list(messages))
        answer = super()._generate(messages, *rest, **options)
        if answer.generations[0].message.content == "fail":
            raise ConnectionError("down")
        return answer


def scripted(*messages):
    return Scripted(messages=iter(messages), heard=[])


def weigh(thing: str) -> str:
    """Weigh something."""
    return f"{thing}: 3 kg"


def call(id="1"):
    return AIMessage("", tool_calls=[{"name": "weigh", "args": {"thing": "tea"}, "id": id}])


def turns(memory):
    return [turn.content for turn in memory.turns(scope=ANN)]


def say(agent, text):
    return agent.invoke({"messages": [HumanMessage(text)]}, THREAD)


def summarizing(keep):
    return SummarizationMiddleware(
        scripted(*["She likes tea."] * 9), trigger=("messages", 3), keep=("messages", keep)
    )


@pytest.fixture
def middleware(memory):
    return MemkitMiddleware(memory, scope=ANN, tools=False)


@pytest.mark.parametrize("memkit_first", [True, False])
def test_summaries_are_not_the_users_words(memory, middleware, memkit_first):
    others = [middleware, summarizing(1)]
    model = scripted("Noted.", "Green.")
    agent = create_agent(
        model, middleware=others if memkit_first else others[::-1], checkpointer=InMemorySaver()
    )
    say(agent, "I like tea.")
    state = say(agent, "Which one?")
    assert "She likes tea." in state["messages"][0].text  # in the user's name
    assert turns(memory) == ["I like tea.", "Noted.", "Which one?", "Green."]


def test_a_question_that_was_summarized_before_its_answer_is_remembered(memory, middleware):
    model = scripted("Hello.", call(), "3 kg.")
    agent = create_agent(
        model, [weigh], middleware=[middleware, summarizing(2)], checkpointer=InMemorySaver()
    )
    say(agent, "Good day.")
    state = say(agent, "How heavy is the tea?")
    assert "How heavy is the tea?" not in [message.text for message in state["messages"]]
    assert set(state) == {"messages"}
    assert turns(memory) == ["Good day.", "Hello.", "How heavy is the tea?", "3 kg."]


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_run_that_waited_for_a_human_is_remembered_once(memory, middleware, decision):
    agent = create_agent(
        scripted(call(), "3 kg."),
        [weigh],
        middleware=[middleware, HumanInTheLoopMiddleware({"weigh": True})],
        checkpointer=InMemorySaver(),
    )
    assert "__interrupt__" in say(agent, "How heavy is the tea?")
    assert turns(memory) == []
    agent.invoke(Command(resume={"decisions": [{"type": decision}]}), THREAD)
    assert turns(memory) == ["How heavy is the tea?", "3 kg."]


def test_another_model_is_told_as_well(memory, middleware):
    memory.add("The tea weighs 3 kg.")
    other = scripted("3 kg.")
    agent = create_agent(scripted("fail"), middleware=[ModelFallbackMiddleware(other), middleware])
    state = agent.invoke({"messages": [HumanMessage("How heavy is the tea?")]})
    assert state["messages"][-1].text == "3 kg."
    assert isinstance(other.heard[0][0], SystemMessage)
    assert "The tea weighs 3 kg." in other.heard[0][0].text
    assert turns(memory) == ["How heavy is the tea?", "3 kg."]


async def test_events_and_streams_of_an_agent(memory, middleware):
    agent = create_agent(scripted("3 kg.", "4 kg."), middleware=[middleware])
    asked = {"messages": [HumanMessage("How heavy is the tea?")]}
    kinds = [event["event"] async for event in agent.astream_events(asked, version="v2")]
    assert "on_chat_model_stream" in kinds
    pieces = [m.content async for m, _ in agent.astream(asked, stream_mode="messages")]
    assert "".join(pieces) == "4 kg."
    assert turns(memory) == ["How heavy is the tea?", "3 kg.", "How heavy is the tea?", "4 kg."]


def test_runs_of_a_batch_are_all_remembered(memory, middleware):
    agent = create_agent(scripted(*["Yes."] * 4), middleware=[middleware])
    agent.batch([{"messages": [HumanMessage(f"Tea {number}?")]} for number in range(4)])
    said = turns(memory)
    assert sorted(said) == sorted([f"Tea {number}?" for number in range(4)] + ["Yes."] * 4)
    # Each exchange is written as a whole.
    assert said[1::2] == ["Yes."] * 4


def test_store_and_middleware_share_a_memory(memory, middleware):
    store = MemkitStore(memory, scope=lambda namespace: {"user": namespace[0]})
    agent = create_agent(scripted("Yes."), middleware=[middleware], store=store)
    store.put(("ann", "notes"), "tea", {"weight": 3})
    agent.invoke({"messages": [HumanMessage("Tea?")]})
    memory.forget(scope=ANN)
    assert turns(memory) == []
    assert store.get(("ann", "notes"), "tea") is None
