"""`ChatMemkit`: many questions at once, answers piece by piece, and who listens to them."""

import asyncio
from unittest.mock import patch

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.prompts import ChatPromptTemplate

from memkit import InvalidInputError

QUESTIONS = {
    f"What is the badge number of {name}?": number
    for name, number in {"Nora": "4471", "Emil": "1234", "Tara": "9876", "Owen": "5555"}.items()
}
NORA, _, TARA, _ = QUESTIONS


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


# -- callbacks


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
