"""Questions that come at the same time share batches, and everybody gets their own answer."""

import asyncio
import json
import threading

import pytest

from memkit import AsyncMemory
from memkit.errors import InvalidInputError
from memkit.server.http.answer_options import How
from memkit.server.http.batcher import Batcher
from memkit.server.http.serving_limits import Limits
from memkit.types import Sampling

CHAT = "/v1/chat/completions"
EXACT = {"min_score": 0, "quote": True}


@pytest.fixture
def batches(monkeypatch):
    """The batches that are asked of the memory, as they come: scopes and sampling of each."""
    from memkit.memory import ask

    asked, original = [], ask.ask_batch

    def counted(engine, questions, budget, options):
        asked.append((list(options.get("scopes", ())), options["sampling"], list(questions)))
        return original(engine, questions, budget, options)

    monkeypatch.setattr(ask, "ask_batch", counted)
    return asked


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


async def test_questions_under_load_get_the_answers_of_their_own_users(
    tmp_path, memory, serve_async, batches
):
    from memkit.server.http.api_keys import KeyFile, add_key

    people = {f"user{n}": str(7000 + n) for n in range(12)}
    tokens = {}
    for name, number in people.items():
        tokens[name] = add_key(tmp_path / "many.toml", name, {"user": name})
        memory.add(f"The number of my locker is {number}.", scope={"user": name})
    limits = Limits(requests=500, requests_per_key=50, batch=6, batch_wait=60)
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
    asked = [scopes for scopes, _, _ in batches]
    assert [len(scopes) for scopes in asked] == [6] * 6  # streams come by themselves
    assert min(len({scope["user"] for scope in scopes}) for scopes in asked) > 1


@pytest.mark.slow
async def test_different_modules_share_a_forward_pass(trained, serve_async, keys, monkeypatch):
    modules_of = []
    lora = trained._engine.lora
    original = lora.adapters

    def noted(routes):
        modules_of.append([route.modules for route in routes])
        return original(routes)

    monkeypatch.setattr(lora, "adapters", noted)
    names = {"Nora": "4471", "Lena": "3141", "Emil": "1234", "Hugo": "2718"}
    async with serve_async(trained, limits=Limits(batch=4, batch_wait=60)) as client:

        async def ask(name, user):
            question = f"What is the badge number of {name}?"
            body = {"question": question, "budget": 0, "quote": False, "max_tokens": 8}
            reply = await client.post("/memory/ask", json=body, headers=keys.of(user))
            return reply.json()["text"]

        users = ["ann", "ben", "eye", "all"]
        answers = await asyncio.gather(*map(ask, names, users))
    assert answers == list(names.values())
    (together,) = modules_of
    assert sorted(together) == [("m0001",), ("m0001",), ("m0002",), ("m0002",)]


async def test_what_is_asked_otherwise_takes_turns(memory, batches, busy):
    batcher = Batcher(AsyncMemory(memory), size=3, wait=0)
    warm, cold = (How(budget=0, sampling=Sampling(2, heat, seed=1)) for heat in (0.5, 0.0))
    asked = [
        asyncio.create_task(batcher.ask(f"Question {n}.", {"user": f"{n}"}, how))
        for n, how in enumerate([cold, warm, cold, warm, cold, cold, cold])
    ]
    await asyncio.sleep(0)
    busy()
    answers = await asyncio.gather(*asked)
    await batcher.close()

    assert [answer.recall.query for answer in answers] == [f"Question {n}." for n in range(7)]
    shape = [(len(questions), sampling.temperature) for _, sampling, questions in batches]
    assert sorted(shape) == [(2, 0.0), (2, 0.5), (3, 0.0)]
    for scopes, _, questions in batches:
        assert [f"Question {scope['user']}." for scope in scopes] == questions


async def test_a_question_that_cannot_be_answered_spoils_no_others(memory, batches):
    batcher = Batcher(AsyncMemory(memory), size=3, wait=60)
    how = How(budget=0, sampling=Sampling(2))
    questions = ["One.", "x " * 600, "Two."]
    one, long, two = await asyncio.gather(
        *(batcher.ask(question, {}, how) for question in questions), return_exceptions=True
    )
    await batcher.close()

    assert isinstance(long, InvalidInputError)
    assert "at most 512 tokens" in str(long)
    assert (one.text, two.text) == tuple(
        memory.ask(question, 0, sampling=Sampling(2)).text for question in ("One.", "Two.")
    )


async def test_who_goes_away_is_not_answered(memory, batches, busy):
    batcher = Batcher(AsyncMemory(memory), size=1, wait=0)
    how = How(budget=0, sampling=Sampling(2))
    first, second, third = (
        asyncio.create_task(batcher.ask(f"Question {n}.", {}, how)) for n in range(3)
    )
    while not batches:
        await asyncio.sleep(0.01)
    first.cancel()
    second.cancel()
    busy()
    await third
    await batcher.close()

    assert [questions for _, _, questions in batches] == [["Question 0."], ["Question 2."]]


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
