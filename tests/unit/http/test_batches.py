"""Questions that come at the same time share passes, and everybody gets their own answer."""

import asyncio
import json
import threading

import pytest

from memkit import AsyncMemory
from memkit.errors import InvalidInputError
from memkit.server.http.answer_options import How
from memkit.server.http.answer_queue import AnswerQueue
from memkit.server.http.serving_limits import Limits
from memkit.types import Sampling

CHAT = "/v1/chat/completions"
EXACT = {"min_score": 0, "quote": True}


@pytest.fixture
def passes(memory, monkeypatch):
    """How many rows each forward pass has had."""
    seen, base = [], memory._engine.base
    original = base.extend

    def counted(past, sequences, **more):
        seen.append(len(sequences))
        return original(past, sequences, **more)

    monkeypatch.setattr(base, "extend", counted)
    return seen


@pytest.fixture
def endless(memory, monkeypatch):
    """Answers have as many tokens as may be."""
    monkeypatch.setattr(memory._engine.base, "stop_ids", frozenset())


@pytest.fixture
def busy(memory):
    """Holds the model as another user would; called to let go of it."""
    done, held = threading.Event(), threading.Event()
    base = memory._engine.base

    def hold():
        with base.hold():
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)

    def let_go():
        done.set()
        thread.join()

    yield let_go
    let_go()


@pytest.mark.slow
async def test_questions_under_load_get_the_answers_of_their_own_users(
    tmp_path, memory, serve_async
):
    from memkit.server.http.api_keys import KeyFile, add_key

    people = {f"user{n}": str(7000 + n) for n in range(12)}
    tokens = {}
    for name, number in people.items():
        tokens[name] = add_key(tmp_path / "many.toml", name, {"user": name})
        memory.add(f"The number of my locker is {number}.", scope={"user": name})
    limits = Limits(requests=500, requests_per_key=50, batch=6)
    question = "What is the number of my locker?"

    async with serve_async(memory, limits=limits) as client:
        client._transport.app._keys = KeyFile(tmp_path / "many.toml")

        async def ask(name, kind):
            headers = {"authorization": f"Bearer {tokens[name]}"}
            said = {"messages": [{"role": "user", "content": question}]}
            chat = {"model": "memkit", "store": False, "memkit": EXACT, **said}
            path = "/memory/ask" if kind == "ask" else CHAT
            body = EXACT | said if kind == "ask" else chat | {"stream": kind == "stream"}
            response = await client.post(path, json=body, headers=headers, timeout=None)
            assert response.status_code == 200, response.text
            if kind == "ask":
                return response.json()["text"]
            if kind == "chat":
                return response.json()["choices"][0]["message"]["content"]
            lines = response.text.split("\n\n")[:-2]
            events = [json.loads(line.removeprefix("data: ")) for line in lines]
            deltas = [event["choices"][0]["delta"].get("content", "") for event in events]
            return "".join(deltas)

        jobs = [(name, kind) for kind in ("chat", "ask", "stream", "chat") for name in people]
        answers = await asyncio.gather(*(ask(*job) for job in jobs))

    for (name, kind), answer in zip(jobs, answers, strict=True):
        assert answer == f"The number of my locker is {people[name]}.", (name, kind)


@pytest.mark.slow
async def test_different_modules_share_a_forward_pass(trained, serve_async, keys, monkeypatch):
    placed, bank = [], trained._engine.lora.bank
    original = bank.in_place

    def noted(mixtures):
        placed.append([set(mixture.values()) and next(iter(mixture)) for mixture in mixtures.rows])
        return original(mixtures)

    monkeypatch.setattr(bank, "in_place", noted)
    base, names = trained._engine.base, ("Nora", "Lena", "Emil", "Hugo")
    alone = ["4471", "3141", "1234", "2718"]
    kinds = [{}, {"temperature": 0.001}, {"stop": ["#"]}, {"max_tokens": 12}]
    async with serve_async(trained) as client:

        async def ask(name, user, kind):
            question = f"What is the badge number of {name}?"
            body = {"question": question, "budget": 0, "quote": False, "max_tokens": 8} | kind
            reply = await client.post("/memory/ask", json=body, headers=keys.of(user))
            return reply.json()["text"]

        with base.hold():  # until all have come
            users = ["ann", "ben", "eye", "all"]
            asking = asyncio.gather(*map(ask, names, users, kinds))
            while len(base._answers._shared._waiting) < 4:
                await asyncio.sleep(0.01)
        assert await asking == alone
    most = max(placed, key=len)
    assert len(most) == 4
    assert len(set(most)) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("endless")
async def test_a_word_is_answered_while_a_story_is_told(memory, serve_async, keys, passes):
    ends = []
    async with serve_async(memory) as client:

        async def tell(tokens):
            body = {"question": "Sing to me.", "budget": 0, "max_tokens": tokens}
            await client.post("/memory/ask", json=body, headers=keys.of("ann"), timeout=None)
            ends.append(tokens)

        story = asyncio.create_task(tell(400))
        while len(passes) < 3:
            await asyncio.sleep(0.001)
        await tell(2)
        await story
    assert ends == [2, 400]
    assert max(passes) == 2
    assert len(passes) == 401  # the word had a prompt to be read, and no step of its own


async def test_as_many_as_allowed_are_answered_at_once(memory, passes, busy):
    queue, order = AnswerQueue(AsyncMemory(memory), most=2), []

    async def ask(number):
        how = How(budget=0, sampling=Sampling(3, seed=number, temperature=0.1 * number))
        answer = await queue.ask(f"Question {number}.", {}, how)
        order.append(number)
        return answer.recall.query

    asking = asyncio.gather(*map(ask, range(6)))
    while len(memory._engine.base._answers._shared._waiting) < 2:
        await asyncio.sleep(0.01)
    busy()
    assert await asking == [f"Question {number}." for number in range(6)]
    assert max(passes) == 2
    assert all(abs(place - number) <= 1 for place, number in enumerate(order))  # in turn


async def test_a_question_that_cannot_be_answered_spoils_no_others(memory):
    queue, how = AnswerQueue(AsyncMemory(memory), most=3), How(budget=0, sampling=Sampling(2))
    one, long, two = await asyncio.gather(
        *(queue.ask(question, {}, how) for question in ("One.", "x " * 600, "Two.")),
        return_exceptions=True,
    )

    assert isinstance(long, InvalidInputError)
    assert "at most 512 tokens" in str(long)
    assert (one.text, two.text) == tuple(
        memory.ask(question, 0, sampling=Sampling(2)).text for question in ("One.", "Two.")
    )


@pytest.mark.usefixtures("endless")
async def test_who_goes_away_frees_a_place_and_a_row(memory, passes):
    base = memory._engine.base
    queue, how = AnswerQueue(AsyncMemory(memory), most=1), How(budget=0, sampling=Sampling(450))
    first, second = (asyncio.create_task(queue.ask(f"{n}?", {}, how)) for n in range(2))
    while len(passes) < 2:
        await asyncio.sleep(0.001)
    second.cancel()
    first.cancel()
    short = How(budget=0, sampling=Sampling(2))
    assert (await queue.ask("Third.", {}, short)).text
    await asyncio.wait([first, second])
    assert first.cancelled()
    assert second.cancelled()
    assert len(passes) < 450
    assert base._answers._shared._batch.rows == []


@pytest.mark.usefixtures("endless")
@pytest.mark.parametrize("path", ["/memory/ask", CHAT])
async def test_a_client_that_does_not_wait_is_not_answered(memory, keys, asgi_scope, passes, path):
    from memkit.server.http.http_app import create_app

    app = create_app(AsyncMemory(memory), keys.file)
    said = {"messages": [{"role": "user", "content": "Sing to me."}], "max_tokens": 400}
    body = said | ({"model": "memkit"} if path == CHAT else {"budget": 0})
    requests, sent = [{"type": "http.request", "body": json.dumps(body).encode()}], []

    async def receive():
        if requests:
            return requests.pop()
        while len(passes) < 3:
            await asyncio.sleep(0.001)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    async with app.app.router.lifespan_context(app.app):
        await app(asgi_scope(path, keys.of("ann")), receive, send)
        assert sent[0]["status"] == 499
        turns = [turn.content for turn in memory.turns(scope={"user": "ann"})]
        assert turns == (["Sing to me."] if path == CHAT else [])
    assert len(passes) < 400


async def test_a_client_that_reads_slowly_holds_nobody_up(memory, keys, asgi_scope):
    """The model is free again although nobody has read more than the first event."""
    from memkit.server.http.http_app import create_app

    app = create_app(AsyncMemory(memory), keys.file)
    body = json.dumps({
        "model": "memkit", "stream": True, "store": False, "max_tokens": 40,
        "messages": [{"role": "user", "content": "Sing to me."}],
    }).encode()  # fmt: skip
    scope = asgi_scope(CHAT, keys.of("ann"))
    resume, requests, sent = asyncio.Event(), [{"type": "http.request", "body": body}], []

    async def receive():
        return requests.pop() if requests else await asyncio.sleep(60)

    async def send(message):
        sent.append(message)
        if message["type"] == "http.response.body":
            await resume.wait()

    async with app.app.router.lifespan_context(app.app):
        reading = asyncio.create_task(app(scope, receive, send))
        while len(sent) < 2:
            await asyncio.sleep(0.01)
        answer = await app.app.state.service.questions.ask(
            "Another.", {}, How(budget=0, sampling=Sampling(2))
        )
        assert answer.text
        assert len(sent) == 2
        resume.set()
        await reading
    events = b"".join(m["body"] for m in sent[1:]).decode().split("\n\n")
    assert events[-2] == "data: [DONE]"
    assert len(events) > 5


async def test_a_client_that_goes_away_frees_the_model_and_gets_no_reply(memory, keys, asgi_scope):
    from memkit.server.http.http_app import create_app

    app = create_app(AsyncMemory(memory), keys.file)
    body = json.dumps({
        "model": "memkit", "stream": True, "max_tokens": 400,
        "messages": [{"role": "user", "content": "Sing to me."}],
    }).encode()  # fmt: skip
    scope = asgi_scope(CHAT, keys.of("ann"))
    requests, sent = [{"type": "http.request", "body": body}], []

    async def receive():
        return requests.pop() if requests else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)
        if len(sent) > 3:
            raise OSError("the client has gone")

    async with app.app.router.lifespan_context(app.app):
        await app(scope, receive, send)
        answer = await app.app.state.service.questions.ask(
            "Another.", {}, How(budget=0, sampling=Sampling(2))
        )
        assert answer.text
        assert [t.content for t in memory.turns(scope={"user": "ann"})] == ["Sing to me."]
