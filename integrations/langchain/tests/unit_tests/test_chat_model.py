"""`ChatMemkit`: what the standard suites do not look at."""

import asyncio
from datetime import UTC, datetime
from unittest.mock import patch

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.globals import set_llm_cache
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
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from langchain_memkit import ChatMemkit
from langchain_memkit.messages import conversation_of
from memkit import InvalidInputError, Memory
from memkit.testing import HashingEmbedder
from memkit.types import Sampling

QUESTIONS = {
    f"What is the badge number of {name}?": number
    for name, number in {"Nora": "4471", "Emil": "1234", "Tara": "9876", "Owen": "5555"}.items()
}
NORA, _, TARA, _ = QUESTIONS


@pytest.fixture
def model(trained):
    """Answers from the weights alone."""
    return ChatMemkit(memory=trained, budget=0, max_tokens=12)


@pytest.fixture
def calls(trained):
    """Sizes of the batches that the memory is asked."""
    sizes = []
    ask = trained.ask_batch

    def counted(conversations, *rest, **options):
        sizes.append(len(conversations))
        return ask(conversations, *rest, **options)

    with patch.object(trained, "ask_batch", counted):
        yield sizes


class Log(BaseCallbackHandler):
    def __init__(self):
        self.events = []

    def on_chat_model_start(self, serialized, messages, **kwargs):
        self.events.append(("start", messages[0][-1].text, kwargs["invocation_params"]))

    def on_llm_new_token(self, token, **kwargs):
        self.events.append(("token", token))

    def on_llm_end(self, response, **kwargs):
        self.events.append(("end", response.generations[0][0].text))

    def on_llm_error(self, error, **kwargs):
        self.events.append(("error", str(error)))


# -- one call


def test_an_answer_says_where_it_comes_from(model, trained):
    message = model.invoke(NORA)
    asked = trained.ask(NORA, budget=0, sampling=Sampling(max_new_tokens=12))
    assert message.content == asked.text == "4471"
    (module,) = asked.route.modules
    assert message.response_metadata["model_name"] == "tiny-llama-0"
    assert message.response_metadata["route"]["weights"] == {module: 1.0}
    assert message.response_metadata["citations"] == ["Nora"]
    assert message.usage_metadata == {
        "input_tokens": asked.prompt_tokens,
        "output_tokens": asked.completion_tokens,
        "total_tokens": asked.prompt_tokens + asked.completion_tokens,
    }


def test_options_of_a_call_take_the_place_of_the_models(model):
    message = model.invoke(NORA, modules=[])
    assert message.response_metadata["route"]["weights"] == {}
    assert model.bind(max_tokens=1).invoke(NORA).usage_metadata["output_tokens"] == 1
    assert model.invoke(NORA, stop=["7"]).content == "44"
    assert model.model_copy(update={"stop": ["71"]}).invoke(NORA).content == "44"
    quoted = model.invoke(NORA, budget=64, modules=[])
    assert (quoted.content, quoted.usage_metadata["output_tokens"]) == ("4471", 0)
    told = model.invoke(NORA, budget=64, modules=[], quote=False)
    assert told.usage_metadata["input_tokens"] > message.usage_metadata["input_tokens"]
    where = model.invoke(NORA, budget=64, modules=[], where={"source": "nowhere"})
    assert where.response_metadata["citations"] == []


def test_scopes_hold(tmp_path, tiny):
    with Memory.open(tmp_path / "m", base_model=tiny, embedder=HashingEmbedder()) as memory:
        record = memory.add("Ann's locker has the code 8812.", scope={"user": "ann"})
        model = ChatMemkit(memory=memory, max_tokens=2)
        ann = ChatMemkit(memory=memory, max_tokens=2, scope={"user": "ann"})
        question = "Which code has Ann's locker?"
        cited = [
            asked.response_metadata["citations"]
            for asked in (
                ann.invoke(question),
                model.invoke(question, scope={"user": "ann"}),
                model.invoke(question),
                model.invoke(question, scope={"user": "bob"}),
                ann.invoke(question, scope={"user": "bob"}),
            )
        ]
        assert cited == [[record.id], [record.id], [], [], []]


def test_what_speaks_against_an_answer_is_told(model):
    corrected = [
        HumanMessage("The badge number of Nora is 8080."),
        AIMessage("Noted."),
        HumanMessage(NORA),
    ]
    message = model.invoke(corrected)
    assert message.content == "4471"
    assert message.response_metadata["conflict"] == {
        "answered": "4471",
        "recorded": "The badge number of Nora is 8080.",
        "source": "buffer",
        "record_id": None,
        "version": None,
    }
    assert message.response_metadata["withheld"] is None
    agreed = model.invoke(NORA).response_metadata
    assert (agreed["conflict"], agreed["withheld"]) == (None, None)


def test_strict_answers_are_withheld_unless_something_says_so(model):
    strict = model.model_copy(update={"strict": True})
    unknown = strict.invoke(NORA, modules=[])
    assert unknown.content == ""
    assert "says" in unknown.response_metadata["withheld"]
    assert model.invoke(NORA, modules=[]).content
    assert strict.invoke(NORA).content == "4471"
    pieces = list(strict.stream(NORA, modules=[]))
    whole = sum(pieces[1:], pieces[0])
    assert whole.response_metadata == unknown.response_metadata
    assert whole.content == ""
    rows = strict.batch([NORA, "Who keeps the keys of the mill?"])
    assert [bool(row.response_metadata["withheld"]) for row in rows] == [False, True]


def test_several_modules_answer_as_they_are_told_to(model, trained):
    with pytest.raises(InvalidInputError, match=r"`combine` must be one of .*, got 'blend'"):
        model.invoke(NORA, combine="blend")
    both = f"{NORA} {TARA}"
    modules = [module.name for module in trained.modules]
    for combine in ("mix", "confident"):
        sampling = Sampling(max_new_tokens=12)
        asked = trained.ask(both, 0, modules=modules, combine=combine, sampling=sampling)
        said = model.model_copy(update={"combine": combine}).invoke(both, modules=modules)
        assert said.content == asked.text
        assert said.usage_metadata["output_tokens"] == asked.completion_tokens


def test_times_are_passed_on(model):
    now = datetime.now(UTC)
    past = model.invoke(NORA, as_of=now).response_metadata["route"]
    assert past == {"weights": {}, "reason": "weights hold what is current, not the past"}
    told = {"budget": 64, "modules": [], "quote": False}
    recent = model.model_copy(update={"since": now})
    lengths = [
        one.invoke(NORA, **told, **times).usage_metadata["input_tokens"]
        for one, times in ((model, {}), (model, {"until": now}), (recent, {}))
    ]
    assert lengths[0] == lengths[1] > lengths[2]
    with pytest.raises(InvalidInputError, match="`until` must have a time zone"):
        model.invoke(NORA, until=datetime(2026, 1, 1))


def test_unknown_options_are_refused(model, trained):
    with pytest.raises(InvalidInputError, match=r"got \['scop'\]"):
        model.invoke(NORA, scop={"user": "ann"})
    with pytest.raises(InvalidInputError, match=r"calls no tools"):
        model.bind(tools=[{"name": "look_up"}]).invoke(NORA)
    with pytest.raises(ValueError, match="scop"):
        ChatMemkit(memory=trained, scop={})


# -- messages


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


# -- batches


def test_a_batch_is_one_batch_with_an_adapter_each(model, calls):
    messages = model.batch(list(QUESTIONS))
    assert calls == [4]
    assert [message.content for message in messages] == list(QUESTIONS.values())
    routes = [message.response_metadata["route"]["weights"] for message in messages]
    assert len({tuple(route) for route in routes}) == 2


async def test_a_batch_does_not_block_the_loop(model, calls):
    with blockbuster_ctx():
        messages = await model.abatch(list(QUESTIONS))
    assert calls == [4]
    assert [message.content for message in messages] == list(QUESTIONS.values())


def test_large_batches_are_cut(model, calls):
    small = model.model_copy(update={"batch_size": 3})
    assert [one.content for one in small.batch([*QUESTIONS, NORA])] == [*QUESTIONS.values(), "4471"]
    assert sorted(calls) == [1, 3]  # what is asked twice is answered once


def test_one_bad_conversation_does_not_fail_the_others(model, calls):
    long = "word " * 600
    nora, longest, tara, empty = model.batch([NORA, long, TARA, []], return_exceptions=True)
    assert (nora.content, tara.content) == ("4471", "9876")
    assert "expected at most 512 tokens" in str(longest)
    assert "must not be empty" in str(empty)
    with pytest.raises(InvalidInputError, match="expected at most 512 tokens"):
        model.batch([NORA, long])


def test_batches_in_a_chain_and_bound_options(model, calls):
    chain = ChatPromptTemplate.from_template("{question}") | model.bind(max_tokens=2)
    messages = chain.batch([{"question": NORA}, {"question": TARA}])
    assert calls == [2]
    assert [message.content for message in messages] == ["4471", "98"]  # "4471" is two tokens


def test_each_row_has_its_callbacks(model):
    logs = [Log(), Log()]
    model.batch([NORA, TARA], config=[{"callbacks": [log]} for log in logs])
    for log, question in zip(logs, (NORA, TARA), strict=True):
        (start, text, _), end = log.events
        assert (start, text) == ("start", question)
        assert end == ("end", QUESTIONS[question])


# -- streams


def test_pieces_join_to_the_answer(model):
    log = Log()
    chunks = list(model.stream(NORA, config={"callbacks": [log]}))
    whole = sum(chunks[1:], chunks[0])
    assert whole.content == "4471"
    assert len(chunks) > 2
    asked = model.invoke(NORA)
    assert whole.response_metadata == asked.response_metadata
    assert whole.usage_metadata["input_tokens"] == asked.usage_metadata["input_tokens"]
    assert "".join(token for kind, token, *_ in log.events if kind == "token") == "4471"


def test_an_abandoned_stream_lets_go_of_the_model(model):
    stream = model.stream(NORA)
    next(stream)
    stream.close()
    assert model.invoke(NORA).content == "4471"


async def test_async_streams_do_not_block_the_loop(model):
    beats = 0

    async def beat():
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    heart = asyncio.create_task(beat())
    with blockbuster_ctx():
        pieces = [chunk.content async for chunk in model.astream(NORA)]
        async for _ in model.astream(TARA):
            break
        answer = await model.ainvoke(TARA)
    heart.cancel()
    assert "".join(pieces) == "4471"
    assert answer.content == "9876"
    assert beats > len(pieces)


# -- around it


def test_usage_is_counted_by_callbacks(model):
    handler = UsageMetadataCallbackHandler()
    message = model.invoke(NORA, config={"callbacks": [handler]})
    assert handler.usage_metadata == {"tiny-llama-0": message.usage_metadata}


def test_traces_tell_the_parameters(model):
    log = Log()
    model.invoke(NORA, config={"callbacks": [log]}, temperature=0.5, seed=3)
    (_, _, parameters), *_ = log.events
    assert parameters["_type"] == "memkit"
    assert (parameters["model_name"], parameters["budget"]) == ("tiny-llama-0", 0)
    traced = model._get_ls_params(temperature=0.5, stop=["."])
    assert (traced["ls_provider"], traced["ls_model_name"]) == ("memkit", "tiny-llama-0")
    assert (traced["ls_temperature"], traced["ls_stop"], traced["ls_max_tokens"]) == (
        0.5,
        ["."],
        12,
    )


def test_answers_are_not_cached_unasked(model, calls):
    cache = InMemoryCache()
    set_llm_cache(cache)
    try:
        model.invoke(NORA)
        assert cache._cache == {}
        cached = model.model_copy(update={"cache": True, "scope": {"user": "ann"}})
        cached.invoke(NORA)
        ((_, key),) = cache._cache
        assert "'scope', {'user': 'ann'}" in key  # never another tenant's answer
    finally:
        set_llm_cache(None)


def test_tokens_are_the_base_models(model, tiny):
    assert model.get_num_tokens("The night porter") == tiny.count("The night porter")
    assert model.get_num_tokens_from_messages([HumanMessage("The night porter")]) > 0


def test_a_chain_of_retriever_prompt_and_model(trained, tiny):
    retriever = RunnableLambda(lambda question: trained.search(question, k=1))
    prompt = ChatPromptTemplate.from_messages([("system", "{facts}"), ("human", "{question}")])
    facts = retriever | (lambda hits: hits[0].text)
    chain = (
        {"facts": facts, "question": RunnablePassthrough()}
        | prompt
        | ChatMemkit(memory=trained, budget=0, modules=[], max_tokens=8)
        | StrOutputParser()
    )
    told = tiny.prompt(NORA, system="The badge number of Nora is 4471.")
    assert chain.invoke(NORA) == tiny.generate([told], Sampling(max_new_tokens=8))[0].text
