"""An agent's run goes on when its memory fails, and what was not remembered is told."""

import logging

import pytest
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver

from langchain_memkit import MemkitMiddleware, MemoryFailure
from memkit import BusyError, InvalidInputError, Memory, StorageError
from memkit.errors import DiskFullError
from memkit.testing import HashingEmbedder

ANN = {"user": "ann"}


class Heard(GenericFakeChatModel):
    """Notes the messages that it was given."""

    heard: list = []

    def _generate(self, messages, *rest, **options):
        self.heard.append(list(messages))
        return super()._generate(messages, *rest, **options)


class WithTools(Heard):
    def bind_tools(self, tools, **options):
        return self


class Failing(HashingEmbedder):
    """Works until it is told to stop."""

    broken = False

    def encode_query(self, texts, /):
        return self._encoded(super().encode_query, texts)

    def encode_document(self, texts, /):
        return self._encoded(super().encode_document, texts)

    def _encoded(self, encode, texts):
        if self.broken:
            raise RuntimeError("the embedding service is down")
        return encode(texts)


@pytest.fixture
def embedder():
    return Failing()


@pytest.fixture
def memory(tmp_path, embedder):
    with Memory.open(
        tmp_path / "m", backends=("buffer", "rag"), embedder=embedder, busy_timeout=0.01
    ) as memory:
        memory.add("The locker is red.", scope=ANN)
        yield memory


@pytest.fixture
def failures():
    return []


@pytest.fixture
def agent(memory, failures):
    model = Heard(messages=iter(["Red.", "Blue.", "Green."]), heard=[])
    middleware = MemkitMiddleware(memory, scope=ANN, tools=False, on_failure=failures.append)
    agent = create_agent(model, middleware=[middleware], checkpointer=InMemorySaver())
    agent.heard = model.heard
    return agent


THREAD = {"configurable": {"thread_id": "t1"}}


def answer(agent, text="Which colour has the locker?"):
    return agent.invoke({"messages": [HumanMessage(text)]}, THREAD)["messages"][-1].text


def turns(memory):
    return [turn.content for turn in memory.turns(scope=ANN)]


@pytest.mark.parametrize(
    ("text", "message"),
    [("Which\0locker?", "NUL"), ("Which \ud800 locker?", "lone surrogate"), ("x" * 2_000_001, "")],
)
def test_a_text_that_cannot_be_stored(*, agent, memory, failures, caplog, text, message):
    assert answer(agent, text) == "Red."
    assert turns(memory) == ["Red."]  # the answer can
    assert [failure.verb for failure in failures][-1] == "remember"
    failure = failures[-1]
    assert isinstance(failure, MemoryFailure)
    assert isinstance(failure.error, InvalidInputError)
    assert message in str(failure.error)
    assert [(turn.role, turn.content) for turn in failure.turns] == [("user", text)]
    assert failure.scope == ANN
    assert "could not remember" in caplog.text


def test_an_answer_that_cannot_be_stored(memory, failures):
    model = Heard(messages=iter(["R\0d."]), heard=[])
    middleware = MemkitMiddleware(memory, scope=ANN, on_failure=failures.append, tools=False)
    agent = create_agent(model, middleware=[middleware])
    state = agent.invoke({"messages": [HumanMessage("Which colour?")]})
    assert state["messages"][-1].content == "R\0d."
    assert turns(memory) == ["Which colour?"]
    assert [turn.content for turn in failures[0].turns] == ["R\0d."]


def broken_embedder(memory, embedder, monkeypatch):
    embedder.broken = True
    return RuntimeError


def closed(memory, embedder, monkeypatch):
    memory.close()
    return StorageError


def full_disk(memory, embedder, monkeypatch):
    def add_turns(*_, **__):
        raise DiskFullError("no room")

    monkeypatch.setattr(memory, "add_turns", add_turns)
    return DiskFullError


@pytest.mark.parametrize("spoil", [broken_embedder, closed, full_disk])
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_memory_that_does_not_work(
    *, agent, memory, embedder, monkeypatch, failures, caplog, spoil, is_async
):
    kind = spoil(memory, embedder, monkeypatch)
    messages = {"messages": [HumanMessage("Which colour has the locker?")]}
    state = await agent.ainvoke(messages, THREAD) if is_async else agent.invoke(messages, THREAD)
    assert state["messages"][-1].text == "Red."
    told = isinstance(agent.heard[-1][0], SystemMessage)
    recalls = [failure for failure in failures if failure.verb == "recall"]
    assert told is not bool(recalls)  # with what it knows, or without and reported
    lost = failures[-1]
    assert isinstance(lost.error, kind)
    assert [turn.content for turn in lost.turns] == ["Which colour has the locker?", "Red."]
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == len(failures)
    assert caplog.records[-1].exc_info[1] is lost.error


def test_a_busy_ledger(agent, memory, failures, tmp_path):
    with (
        Memory.open(tmp_path / "m", backends=("buffer", "rag"), embedder=Failing()) as other,
        other._engine.ledger.transaction(),
    ):
        other.add("Something else.")
        assert answer(agent) == "Red."
    assert "red" in agent.heard[-1][0].text  # reading does not wait
    (failure,) = failures
    assert isinstance(failure.error, BusyError)
    assert turns(memory) == []
    memory.add_turns(failure.turns, scope=failure.scope)  # later
    memory.add_turns(failure.turns, scope=failure.scope)
    assert turns(memory) == ["Which colour has the locker?", "Red."]


@pytest.mark.parametrize(
    ("name", "args"), [("search_memory", {"query": "locker"}), ("remember", {"text": "It is red."})]
)
def test_a_tool_of_a_memory_that_does_not_work(memory, embedder, caplog, name, args):
    call = AIMessage("", tool_calls=[{"name": name, "args": args, "id": "1"}])
    model = WithTools(messages=iter([call, "Done."]), heard=[])
    agent = create_agent(model, middleware=[MemkitMiddleware(memory, scope=ANN)])
    embedder.broken = True
    *_, result, last = agent.invoke({"messages": [HumanMessage("Which colour?")]})["messages"]
    assert last.text == "Done."
    assert result.status == "error"
    assert "memory does not work at the moment: the embedding service is down" in result.text
    assert "a tool of the memory failed" in caplog.text


def test_the_next_run_remembers_again(agent, memory, embedder, failures):
    embedder.broken = True
    answer(agent)
    embedder.broken = False
    assert answer(agent, "And the bench?") == "Blue."
    assert turns(memory) == ["And the bench?", "Blue."]
    assert [failure.verb for failure in failures] == ["recall", "remember"]


def test_messages_of_authors_that_memkit_does_not_know_are_left_out(agent, memory, failures):
    critic = ChatMessage("Be kind.", role="critic")
    asked = {"messages": [critic, HumanMessage("Which colour has the locker?")]}
    assert agent.invoke(asked, THREAD)["messages"][-1].text == "Red."
    assert "The locker is red." in agent.heard[-1][0].text
    assert turns(memory) == ["Which colour has the locker?", "Red."]
    assert failures == []


def test_pictures_leave_a_mark_and_no_record(agent, memory, failures):
    picture = {"type": "image", "url": "https://example.org/locker.png"}
    agent.invoke({"messages": [HumanMessage([picture])]}, THREAD)
    text = {"type": "text", "text": "Which colour has the locker?"}
    agent.invoke({"messages": [HumanMessage([text, picture])]}, THREAD)
    assert turns(memory) == [
        "[image]",
        "Red.",
        "Which colour has the locker?\n[image]",
        "Blue.",
    ]
    records = memory.records(scope="all").records
    assert "[image]" not in [record.text for record in records]
    assert "The locker is red." in agent.heard[-1][0].text
    assert failures == []


def test_what_the_callback_raises_ends_the_run(memory, embedder):
    def strict(failure):
        raise failure.error

    model = Heard(messages=iter(["Red."]), heard=[])
    middleware = MemkitMiddleware(memory, scope=ANN, on_failure=strict)
    embedder.broken = True
    with pytest.raises(RuntimeError, match="service is down"):
        middleware.after_agent({"messages": [HumanMessage("Hm?"), AIMessage("Red.")]}, None)
    agent = create_agent(model, middleware=[MemkitMiddleware(memory, scope=ANN, tools=False)])
    assert agent.invoke({"messages": [HumanMessage("Hm?")]})["messages"][-1].text == "Red."
