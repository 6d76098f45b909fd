"""`AsyncMemory`: the verbs of `Memory`, without blocking the event loop."""

import asyncio
import inspect
import threading
from contextvars import ContextVar

import pytest
from blockbuster import BlockingError, blockbuster_ctx

import memkit
from memkit import AsyncMemory, InvalidInputError, Memory, StorageError
from memkit.memory import async_memory
from memkit.memory.async_memory import AsyncAnswerStream
from memkit.memory.memory_jobs import Jobs
from memkit.memory.modules import Modules
from memkit.memory.retention import Retention
from memkit.memory.vectors import Vectors
from memkit.testing import HashingEmbedder
from memkit.types import Sampling

PATIENCE = 30.0  # seconds until a test that hangs fails; nothing waits that long otherwise
BRIEF = Sampling(max_new_tokens=12)
NORA = "What is the badge number of Nora?"


def verbs(kind):
    return {
        name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name))
    }


@pytest.fixture
async def amemory(tmp_path, tiny, recipe):
    async with AsyncMemory.open(
        tmp_path / "agent.mem", base_model=tiny, embedder=HashingEmbedder(), recipe=recipe
    ) as memory:
        yield memory


@pytest.fixture
async def atrained(trained):
    async with AsyncMemory(trained) as memory:
        yield memory


class GatedEmbedder(HashingEmbedder):
    """Embeds once it is opened."""

    def __init__(self):
        super().__init__()
        self.entered, self.open = threading.Event(), threading.Event()

    def encode_document(self, texts, /):
        self.entered.set()
        assert self.open.wait(PATIENCE), "nobody opened the gate"
        return super().encode_document(texts)


@pytest.fixture
def gate():
    gate = GatedEmbedder()
    yield gate
    gate.open.set()


# -- the same verbs


PAIRS = [
    (Memory, AsyncMemory),
    (Jobs, async_memory.AsyncJobs),
    (Modules, async_memory.AsyncModules),
    (Retention, async_memory.AsyncRetention),
    (Vectors, async_memory.AsyncVectors),
]
TWINS = [(kind, twin, name) for kind, twin in PAIRS for name in sorted(verbs(kind) - {"close"})]


@pytest.mark.parametrize(("kind", "twin"), PAIRS)
def test_no_verb_is_missing(kind, twin):
    missing = verbs(kind) - verbs(twin)

    assert not missing, f"give {twin.__name__} a line for each: name = _twin({kind.__name__}.name)"
    assert verbs(twin) == verbs(kind)


@pytest.mark.parametrize(("kind", "twins", "name"), TWINS)
def test_a_twin_is_called_as_its_verb_and_says_what_it_does(kind, twins, name):
    verb, twin = getattr(kind, name), getattr(twins, name)

    assert inspect.signature(twin) == inspect.signature(verb)
    assert twin.__doc__ == verb.__doc__
    assert twin.__name__ == name


@pytest.mark.parametrize(
    ("kind", "twins", "name"), [twin for twin in TWINS if twin[2] not in {"open", "close"}]
)
def test_what_comes_in_pieces_is_streamed_and_all_else_is_awaited(kind, twins, name):
    result = inspect.signature(getattr(kind, name)).return_annotation
    in_pieces = "Stream" in result or "Iter" in result or "Generator" in result

    assert inspect.iscoroutinefunction(getattr(twins, name)) is not in_pieces


async def test_the_verbs_do_what_they_do_in_memory(amemory):
    ann = {"user": "ann"}
    record = await amemory.add("The archive is on the second floor.", metadata={"by": "hr"})
    both = await amemory.add(["The gate opens at six.", "Ann has badge 8812."], scope=ann)
    assert await amemory.get(record.id) == record

    assert [hit.id for hit in await amemory.search("archive floor", 1)] == [record.id]
    assert [hit.id for hit in await amemory.search("badge", 1, scope=ann)] == [both[1].id]
    assert await amemory.search("badge", scope=ann, where={"by": "it"}) == []
    assert "second floor" in (await amemory.recall("Where is the archive?")).text

    await amemory.update(record.id, "The archive is on the third floor.")
    assert [version.version for version in await amemory.history(record.id)] == [1, 2]
    await amemory.add_turn("user", "I am here.", scope=ann)
    assert [turn.content for turn in await amemory.turns(scope=ann)] == ["I am here."]
    receipt = await amemory.forget(scope=ann)
    assert {both[0].id, both[1].id} <= set(receipt.records)
    assert (await amemory.stats()).records == 1
    assert len((await amemory.records()).records) == 1


async def test_errors_come_out_as_they_are(amemory):
    with pytest.raises(InvalidInputError, match="`k` must be an integer of at least 1"):
        await amemory.search("badge", 0)


@pytest.mark.slow
async def test_answers_are_those_of_the_weights(atrained, badges):
    answers = await asyncio.gather(*(atrained.ask(badge.question, 0) for badge in badges))

    assert [answer.text for answer in answers] == [badge.answer for badge in badges]


@pytest.mark.slow
async def test_consolidating_in_the_background(amemory, badges):
    await amemory.add(badges[:4])
    training = asyncio.create_task(amemory.consolidate())
    found = await amemory.search("badge Nora", 1)  # meanwhile

    assert found[0].id == "Nora"
    assert len((await training).held) == 4
    assert len(await amemory.modules.list()) == 1


# -- the event loop


@pytest.mark.slow
async def test_no_verb_blocks_the_event_loop(tmp_path, tiny, recipe, badges):
    with blockbuster_ctx(memkit):
        async with AsyncMemory.open(
            tmp_path / "agent.mem", base_model=tiny, embedder=HashingEmbedder(), recipe=recipe
        ) as memory:
            await memory.add(badges[:2])
            await memory.add_turn("user", "The gate opens at six.")
            await memory.update("Nora", metadata={"by": "hr"})
            await memory.consolidate()
            await memory.recall(NORA)
            await memory.ask(NORA, sampling=BRIEF)
            async for _ in memory.stream(NORA, sampling=BRIEF):
                pass
            (module,) = await memory.modules.list()
            await memory.modules.export(module.name, tmp_path / "adapter")
            await memory.modules.retrain()
            await memory.modules.rollback(module.name, 1)
            await memory.forget("Nora", retrain=False)
            await asyncio.gather(memory.stats(), memory.records(), memory.turns())


async def test_the_detector_of_blocking_calls_sees_the_sync_verbs(memory):
    with blockbuster_ctx(memkit), pytest.raises(BlockingError):
        memory.add("The gate opens at six.")


async def test_the_loop_runs_on_while_a_verb_works(tmp_path, gate):
    async with AsyncMemory.open(tmp_path / "m", embedder=gate, backends=["rag"]) as memory:
        adding = asyncio.create_task(memory.add("The gate opens at six."))
        while not gate.entered.is_set():
            await asyncio.sleep(0)  # the loop would not come back here if `add` held it
        gate.open.set()

        assert (await adding).version == 1


async def test_context_variables_come_along(tmp_path):
    tenant = ContextVar("tenant")
    seen = []

    class Witness(HashingEmbedder):
        def encode_document(self, texts, /):
            seen.append(tenant.get())
            return super().encode_document(texts)

    async with AsyncMemory.open(tmp_path / "m", embedder=Witness(), backends=["rag"]) as memory:
        tenant.set("ann")
        await memory.add("The gate opens at six.")

    assert seen == ["ann"]


def test_one_memory_serves_several_loops(trained):
    memory = AsyncMemory(trained)
    first = asyncio.run(memory.search("badge Nora", 1))
    again = asyncio.run(memory.search("badge Nora", 1))
    asyncio.run(memory.close())

    assert first == again


# -- many tasks


async def test_what_many_tasks_add_is_all_there(amemory):
    texts = [f"Locker {number} belongs to crew {number % 7}." for number in range(60)]
    added = await asyncio.gather(*map(amemory.add, texts))

    assert {record.text for record in added} == set(texts)
    assert (await amemory.stats()).records == len(texts)


async def test_a_task_that_asks_waits_for_one_that_streams(atrained):
    stream = atrained.stream(NORA, 0)
    first = await anext(stream)
    asking = asyncio.create_task(atrained.ask("What is the badge number of Lena?", 0))
    rest = [piece async for piece in stream]

    assert first + "".join(rest) == "4471"
    assert (await asking).text == "3141"


# -- streams


async def test_a_stream_gives_the_answer_in_pieces(atrained):
    stream = atrained.stream(NORA, 0)
    assert stream.answer is None

    pieces = [piece async for piece in stream]

    assert "".join(pieces) == stream.answer.text == "4471"
    assert stream.answer.citations == ("Nora",)
    assert [piece async for piece in stream] == []


async def test_a_conversation_is_streamed_like_a_question(atrained):
    stream = atrained.stream([{"role": "user", "content": NORA}], 0)

    assert "".join([piece async for piece in stream]) == "4471"


async def test_a_stream_that_is_left_lets_go_of_the_model(atrained):
    async with atrained.stream(NORA, 0) as stream:
        async for _ in stream:
            break
    await stream.close()

    assert (await atrained.ask(NORA, 0)).text == "4471"
    assert [piece async for piece in stream] == []


async def test_an_error_ends_a_stream(atrained):
    stream = atrained.stream(" ")
    with pytest.raises(InvalidInputError, match="`question` must not be empty or blank"):
        await anext(stream)

    assert [piece async for piece in stream] == []


async def test_a_cancelled_stream_lets_go_of_the_model(atrained):
    entered, leave = threading.Event(), threading.Event()
    begin = atrained.memory.stream

    def slowly():
        entered.set()
        assert leave.wait(PATIENCE)
        return begin(NORA, 0)

    stream = AsyncAnswerStream(slowly)
    reading = asyncio.create_task(anext(stream))
    while not entered.is_set():
        await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    leave.set()
    await asyncio.to_thread(stream._thread.shutdown)  # it has made its piece

    assert (await atrained.ask(NORA, 0)).text == "4471"


# -- cancelling and closing


async def test_a_cancelled_call_that_has_begun_is_finished(tmp_path, gate):
    async with AsyncMemory.open(tmp_path / "m", embedder=gate, backends=["rag"]) as memory:
        adding = asyncio.create_task(memory.add("The gate opens at six."))
        while not gate.entered.is_set():
            await asyncio.sleep(0)
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        gate.open.set()
    # Closing has waited for it.
    with Memory.open(tmp_path / "m", embedder=HashingEmbedder()) as memory:
        assert [hit.text for hit in memory.search("gate")] == ["The gate opens at six."]


async def test_a_cancelled_call_that_waits_never_begins(tmp_path, gate, monkeypatch):
    monkeypatch.setattr("memkit.memory.async_memory.THREADS", 1)
    async with AsyncMemory.open(tmp_path / "m", embedder=gate, backends=["rag"]) as memory:
        first = asyncio.create_task(memory.add("The gate opens at six."))
        second = asyncio.create_task(memory.add("The gate closes at nine."))
        while not gate.entered.is_set():
            await asyncio.sleep(0)
        second.cancel()
        gate.open.set()
        await first
        with pytest.raises(asyncio.CancelledError):
            await second

        assert (await memory.stats()).records == 1


async def test_a_memory_whose_opening_was_cancelled_is_closed(tmp_path, monkeypatch):
    entered, leave, closed = threading.Event(), threading.Event(), threading.Event()
    begin, finish = Memory.open, Memory.close

    def slowly(path):
        entered.set()
        assert leave.wait(PATIENCE)
        return begin(path, embedder=HashingEmbedder())

    def close(self):
        finish(self)
        closed.set()

    monkeypatch.setattr(Memory, "close", close)
    opening = asyncio.ensure_future(
        memkit.memory.async_memory.Opening(lambda: slowly(tmp_path / "m"))
    )
    while not entered.is_set():
        await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    leave.set()

    assert await asyncio.to_thread(closed.wait, PATIENCE)


async def test_closing_ends_streams_and_refuses_what_comes_after(atrained):
    stream = atrained.stream(NORA, 0)
    await anext(stream)
    await atrained.close()
    await atrained.close()

    assert [piece async for piece in stream] == []
    with pytest.raises(StorageError, match=r"expected an open memory, AsyncMemory\(.* is closed"):
        await atrained.search("badge")


async def test_opening_can_be_awaited(tmp_path):
    memory = await AsyncMemory.open(tmp_path / "m", embedder=HashingEmbedder())
    assert repr(memory).startswith("AsyncMemory(Memory('")
    await memory.close()
