"""`MemkitMiddleware` in agents of `create_agent`, with models that follow a script."""

from dataclasses import dataclass

import pytest
from blockbuster import blockbuster_ctx
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver

from langchain_memkit import ChatMemkit, MemkitMiddleware
from memkit import InvalidInputError, Memory
from memkit.testing import HashingEmbedder


@dataclass
class Context:
    user_id: str


ANN, BOB = Context("ann"), Context("bob")


class Scripted(BaseChatModel):
    """Says what it was told to, and notes what it was given."""

    lines: list
    heard: list = []
    tools: list = []

    @property
    def _llm_type(self):
        return "scripted"

    def bind_tools(self, tools, **kwargs):
        self.tools.append([tool.name for tool in tools])
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        self.heard.append(list(messages))
        line = self.lines.pop(0)
        if isinstance(line, Exception):
            raise line
        message = AIMessage(line) if isinstance(line, str) else line
        return ChatResult(generations=[ChatGeneration(message=message)])

    def told(self, call=-1):
        """The system message of a call."""
        first = self.heard[call][0]
        return str(first.text) if isinstance(first, SystemMessage) else None


def agent_of(memory, *lines, options=None, **rest):
    model = Scripted(lines=list(lines), heard=[], tools=[])
    middleware = MemkitMiddleware(memory, **(options or {}))
    return create_agent(model, middleware=[middleware], context_schema=Context, **rest), model


def say(agent, text, context=ANN, thread=None):
    config = {"configurable": {"thread_id": thread}} if thread else None
    return agent.invoke({"messages": [HumanMessage(text)]}, config, context=context)


def turns(memory, user="ann"):
    return [turn.content for turn in memory.turns(scope={"user": user})]


def texts(memory, **scope):
    return [record.text for record in memory.records(scope=scope or "all").records]


# -- recalling


def test_the_model_is_told_what_the_memory_knows(memory):
    memory.add("Ann's locker has the code 8812.", scope={"user": "ann"})
    memory.add("Bob's locker has the code 1234.", scope={"user": "bob"})
    agent, model = agent_of(memory, "8812.", system_prompt="Be brief.")
    state = say(agent, "Which code does my locker have?")
    assert model.told().startswith("Be brief.\n\nWhat you remember")
    assert "8812" in model.told()
    assert "1234" not in model.told()
    assert [message.text for message in state["messages"]] == [
        "Which code does my locker have?",
        "8812.",
    ]


def test_nothing_is_said_of_an_empty_memory(memory):
    agent, model = agent_of(memory, "I do not know.", "I do not know.", options={"remember": ()})
    say(agent, "Which code does my locker have?")
    assert model.told() is None
    agent.invoke({"messages": [AIMessage("Hello.")]}, context=ANN)
    assert model.told() is None
    assert texts(memory) == []


def test_the_budget_holds(memory):
    for number in range(20):
        memory.add(f"Locker {number} has the code {number * 371}.")
    agent, model = agent_of(memory, "Ok.", options={"budget": 40, "k": 20, "template": "{memory}"})
    say(agent, "Which code does the locker have?")
    assert 0 < memory.count_tokens(model.told()) <= 40


def test_at_most_k_records_are_told(memory):
    for number in range(9):
        memory.add(f"Locker {number} has the code {number * 371}.")
    agent, model = agent_of(memory, "Ok.", "Ok.", options={"k": 7, "remember": ()})
    say(agent, "Which code does the locker have?")
    assert model.told().count("- Locker") == 7


def test_only_what_passes_the_filter_is_told(memory):
    memory.add("The locker is red.", metadata={"source": "hr"})
    memory.add("The locker is blue.")
    agent, model = agent_of(memory, "Red.", options={"where": {"source": "hr"}})
    say(agent, "Which colour does the locker have?")
    assert "red" in model.told()
    assert "blue" not in model.told()


def test_system_messages_of_blocks_are_kept(memory):
    memory.add("The locker is red.")
    prompt = SystemMessage([{"type": "text", "text": "Be brief."}])
    agent, model = agent_of(memory, "Red.", system_prompt=prompt)
    say(agent, "Which colour does the locker have?")
    first, second = model.heard[0][0].content
    assert first["text"] == "Be brief."
    assert "The locker is red." in second["text"]


def test_what_the_conversation_says_is_not_told_again(memory):
    agent, model = agent_of(memory, "Noted.", "Red.", checkpointer=InMemorySaver())
    say(agent, "My locker is red.", thread="t1")
    say(agent, "Which colour does my locker have?", thread="t1")
    assert model.told() is None
    agent, model = agent_of(memory, "Red.")
    say(agent, "Which colour does my locker have?")  # another conversation
    assert "My locker is red." in model.told()


def test_without_a_user_there_is_no_memory(memory):
    agent, _ = agent_of(memory, "Hello.")
    with pytest.raises(InvalidInputError, match="expected a `user_id`"):
        agent.invoke({"messages": [HumanMessage("Hello.")]})


# -- remembering


def test_several_turns_and_two_users(memory):
    saver = InMemorySaver()
    agent, model = agent_of(
        memory, "Noted, Ann.", "Noted, Bob.", "8812.", "I do not know.", checkpointer=saver
    )
    say(agent, "My locker has the code 8812.", ANN, "a1")
    say(agent, "My locker is on the third floor.", BOB, "b1")
    say(agent, "Which code does my locker have?", ANN, "a2")
    assert "8812" in model.told()
    assert "third floor" not in model.told()
    say(agent, "Which code does my locker have?", BOB, "b2")
    assert "third floor" in model.told()
    assert "8812" not in str(model.heard[-1])
    assert texts(memory, user="bob") == [
        "My locker is on the third floor.",
        "Noted, Bob.",
        "Which code does my locker have?",
        "I do not know.",
    ]
    assert {frozenset(r.scope.items()) for r in memory.records(scope="all").records} == {
        frozenset({("user", "ann")}),
        frozenset({("user", "bob")}),
    }


def test_each_turn_is_remembered_once(memory):
    agent, _ = agent_of(memory, "One.", "Two.", "Three.", checkpointer=InMemorySaver())
    for question in ("First?", "Second?", "Third?"):
        say(agent, question, thread="t1")
    said = [(turn.role, turn.content) for turn in memory.turns(scope={"user": "ann"})]
    assert said == [
        ("user", "First?"),
        ("assistant", "One."),
        ("user", "Second?"),
        ("assistant", "Two."),
        ("user", "Third?"),
        ("assistant", "Three."),
    ]
    assert memory.records(scope="all").records[0].metadata["role"] == "user"


def test_what_was_forgotten_stays_forgotten(memory):
    agent, _ = agent_of(memory, "Noted.", "Hm.", checkpointer=InMemorySaver())
    say(agent, "My locker has the code 8812.", thread="t1")
    memory.forget(memory.search("locker code", scope={"user": "ann"})[0].id, scope="all")
    say(agent, "What now?", thread="t1")  # the checkpoint still has the first message
    assert "My locker has the code 8812." not in texts(memory)


def test_a_run_that_failed_is_remembered_when_it_is_repeated(memory):
    saver = InMemorySaver()
    agent, _ = agent_of(memory, ConnectionError("down"), "Noted.", checkpointer=saver)
    with pytest.raises(ConnectionError):
        say(agent, "My locker is red.", thread="t1")
    assert memory.turns(scope={"user": "ann"}) == []
    agent.invoke(None, {"configurable": {"thread_id": "t1"}}, context=ANN)
    assert turns(memory) == ["My locker is red.", "Noted."]


def test_a_run_that_starts_again_from_a_checkpoint_is_remembered_once(memory):
    agent, _ = agent_of(memory, "So is mine.", "So is mine.", checkpointer=InMemorySaver())
    say(agent, "My locker is red.", thread="t1")
    (before,) = [
        state.config
        for state in agent.get_state_history({"configurable": {"thread_id": "t1"}})
        if state.next == ("MemkitMiddleware.after_agent",)
    ]
    agent.invoke(None, before, context=ANN)
    assert turns(memory) == ["My locker is red.", "So is mine."]
    assert texts(memory) == ["My locker is red.", "So is mine."]


@pytest.mark.parametrize("thread", ["t1", "t" * 255, "t\0one"])
def test_long_messages_are_remembered_in_any_thread(memory, thread):
    failures, long = [], "My locker is red. " * 200
    agent, _ = agent_of(
        memory, long, checkpointer=InMemorySaver(), options={"on_failure": failures.append}
    )
    say(agent, long, thread=thread)
    assert (turns(memory), failures) == ([long, long], [])


@pytest.mark.parametrize(
    ("threads", "id"),  # in one thread a message of the same id takes the other's place
    [
        (None, None),
        (None, "m1"),
        (["t1", "t1", "t1"], None),
        (["t1", "t2", "t3"], None),
        (["t1", "t2", "t3"], "m1"),
    ],
)
def test_what_is_said_again_is_a_turn_again(memory, threads, id):
    saver = InMemorySaver() if threads else None
    agent, _ = agent_of(memory, "Noted.", "Noted.", "Bob mends it.", checkpointer=saver)
    for run in range(3):
        agent.invoke(
            {"messages": [HumanMessage("The lamp is out.", id=id)]},
            {"configurable": {"thread_id": threads[run]}} if threads else None,
            context=ANN,
        )
    lamp, bob = "The lamp is out.", "Bob mends it."
    assert turns(memory) == [lamp, "Noted.", lamp, "Noted.", lamp, bob]
    assert texts(memory) == [lamp, bob]
    record, _ = memory.records(scope={"user": "ann"}).records
    memory.forget(record.id, scope=record.scope)  # every turn that says it goes with it
    assert turns(memory) == ["Noted.", "Noted.", bob]


def test_what_was_recalled_is_not_remembered_again(memory):
    fact = "The canteen opens at noon."
    memory.add(fact)
    agent, model = agent_of(memory, fact, options={"tools": False})
    say(agent, "When does the canteen open?")
    assert fact in model.told()
    assert texts(memory) == [fact, "When does the canteen open?"]
    assert texts(memory, user="ann") == ["When does the canteen open?"]


def test_neither_tools_nor_system_messages_are_remembered(memory):
    memory.add("The canteen opens at noon.")
    call = {"name": "search_memory", "args": {"query": "canteen"}, "id": "1"}
    agent, _ = agent_of(memory, AIMessage("", tool_calls=[call]), "At noon.")
    model_input = [SystemMessage("Secret instructions."), HumanMessage("When is lunch?")]
    state = agent.invoke({"messages": model_input}, context=ANN)
    assert any(isinstance(message, ToolMessage) for message in state["messages"])
    assert texts(memory, user="ann") == ["When is lunch?", "At noon."]


def test_whose_words_become_records_can_be_chosen(memory):
    agent, _ = agent_of(memory, "Noted.", options={"remember": ["user"]})
    say(agent, "My locker is red.")
    assert texts(memory) == ["My locker is red."]
    assert len(memory.turns(scope={"user": "ann"})) == 2


# -- tools


def test_the_tools_are_there_and_know_whose_they_are(memory):
    call = {"name": "remember", "args": {"text": "Ann likes tea."}, "id": "1"}
    agent, model = agent_of(memory, AIMessage("", tool_calls=[call]), "Done.")
    say(agent, "Remember that I like tea.")
    assert model.tools[0] == ["remember", "search_memory", "update_memory", "forget"]
    assert "Ann likes tea." in texts(memory, user="ann")
    assert MemkitMiddleware(memory, tools=False).tools == []


# -- asyncio


async def test_async_runs_do_not_block_the_loop(memory):
    memory.add("The locker is red.", scope={"user": "ann"})
    agent, model = agent_of(memory, "Red.")
    with blockbuster_ctx():
        await agent.ainvoke(
            {"messages": [HumanMessage("Which colour does the locker have?")]}, context=ANN
        )
    assert "The locker is red." in model.told()
    assert texts(memory, user="ann")[1:] == ["Which colour does the locker have?", "Red."]


# -- ChatMemkit


NORA = "What is the badge number of Nora?"


@pytest.mark.parametrize(
    ("through", "in_weights", "in_text"),
    # By both, the prompt does not repeat what the weights are sure to hold.
    [("both", True, False), ("adapters", True, False), ("text", False, True)],
)
def test_a_chat_memkit_is_told_by_adapters_too(trained, through, in_weights, in_text):
    middleware = MemkitMiddleware(trained, scope={}, budget=64, through=through, remember=())
    model = ChatMemkit(memory=trained, max_tokens=12, quote=False)
    agent = create_agent(model, middleware=[middleware])
    message = agent.invoke({"messages": [HumanMessage(NORA)]})["messages"][-1]
    assert bool(message.response_metadata["route"]["weights"]) is in_weights
    alone = trained.ask(NORA, budget=0, modules=[]).prompt_tokens
    assert (message.usage_metadata["input_tokens"] > alone) is in_text
    if through == "adapters":
        assert message.content == "4471"


def test_the_scope_reaches_a_chat_memkit(tmp_path, tiny):
    with Memory.open(tmp_path / "m", base_model=tiny, embedder=HashingEmbedder()) as memory:
        record = memory.add("Ann's locker has the code 8812.", scope={"user": "ann"})
        agent = create_agent(
            ChatMemkit(memory=memory, max_tokens=2),
            middleware=[MemkitMiddleware(memory, remember=(), budget=64)],
            context_schema=Context,
        )
        cited = [
            say(agent, "Which code has Ann's locker?", context)["messages"][-1].response_metadata[
                "citations"
            ]
            for context in (ANN, BOB)
        ]
        assert cited == [[record.id], []]


def test_other_models_have_no_adapters(memory):
    agent, _ = agent_of(memory, "Hello.", options={"through": "adapters"})
    with pytest.raises(InvalidInputError, match="expected a ChatMemkit over the middleware's"):
        say(agent, "Hello.")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"through": "telepathy"}, "`through` must be one of"),
        ({"remember": "user"}, "`remember` must hold"),
        ({"remember": ["system"]}, "`remember` must hold"),
        ({"template": "You know nothing."}, "`template` must hold"),
        ({"where": {"year": {"$near": 2020}}}, "unknown operator"),
        ({"where": "year"}, "`where` must be a mapping"),
        ({"scope": {"user": 3}}, "keys and values of `scope`"),
        ({"k": 0}, "`k` must be an integer of at least 1"),
        ({"budget": -1}, "`budget` must be an integer of at least 0"),
    ],
)
def test_bad_options_are_refused(memory, options, message):
    with pytest.raises(InvalidInputError, match=message):
        MemkitMiddleware(memory, **options)


@pytest.mark.parametrize(
    "options",
    [{"remember": 5}, {"remember": [["user"]]}, {"template": 5}, {"on_failure": 5}, {"tools": "no"},
     {"memory": "agent.mem"}, {"memory": None}],
)  # fmt: skip
def test_what_would_fail_in_a_run_fails_before_it(memory, options):
    with pytest.raises(InvalidInputError, match=f"`{next(iter(options))}` must"):
        MemkitMiddleware(**{"memory": memory, **options})
