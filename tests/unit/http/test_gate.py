"""Who is let in, with how much, and for how long; and what is told of it."""

import asyncio
import json
import logging
import threading

import httpx
import pytest
from starlette.testclient import TestClient

from memkit import AsyncMemory, errors
from memkit.server.http.api_keys import local_key
from memkit.server.http.gate import _without_port
from memkit.server.http.http_app import create_app
from memkit.server.http.serving_limits import Limits
from memkit.types import Sampling

EVERY = [
    ("GET", "/v1/models"),
    ("GET", "/v1/models/memkit"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/embeddings"),
    ("GET", "/memory/records"),
    ("POST", "/memory/records"),
    ("DELETE", "/memory/records"),
    ("GET", "/memory/records/x"),
    ("PATCH", "/memory/records/x"),
    ("DELETE", "/memory/records/x"),
    ("GET", "/memory/history/x"),
    ("POST", "/memory/search"),
    ("POST", "/memory/recall"),
    ("POST", "/memory/ask"),
    ("POST", "/memory/explain"),
    ("GET", "/memory/turns"),
    ("DELETE", "/memory/turns"),
    ("POST", "/memory/consolidate"),
    ("GET", "/memory/consolidate/x"),
    ("DELETE", "/memory/consolidate/x"),
    ("GET", "/memory/stats"),
    ("GET", "/nowhere"),
    ("GET", "/health/"),
    ("GET", "//health"),
]
WRONG = [None, "", "Bearer", "Bearer ", "Bearer mk-wrong", "Basic {}", "{}", "Bearer {}x"]


@pytest.mark.parametrize(("method", "path"), EVERY)
def test_nothing_is_told_without_a_key(memory, serve, keys, method, path):
    client = serve(memory)
    del client.headers["authorization"]
    for header in WRONG:
        headers = {} if header is None else {"authorization": header.format(keys.tokens["ann"])}
        response = client.request(method, path, headers=headers)
        assert response.status_code == 401, header
        assert response.json()["error"]["code"] == "invalid_api_key"
        assert response.headers["www-authenticate"] == "Bearer"


def test_the_list_of_endpoints_is_complete(memory, serve):
    paths = serve(memory).get("/openapi.json").json()["paths"]
    listed = {(method.upper(), path) for path, methods in paths.items() for method in methods}

    named = {(m, p.replace("{id}", "x")) for m, p in listed} - {("GET", "/health")}
    tested = {(m, p.replace("/models/memkit", "/models/x")) for m, p in EVERY}
    assert {(m, p) for m, p in named if "batch" not in p} <= tested


@pytest.mark.parametrize("path", ["/health", "/openapi.json", "/docs"])
def test_what_says_nothing_of_a_memory_is_open(memory, serve, path):
    client = serve(memory)
    del client.headers["authorization"]
    assert client.get(path).status_code == 200


def test_a_revoked_key_is_refused_at_once(memory, serve, keys):
    client = serve(memory)
    assert client.get("/v1/models").status_code == 200
    keys.path.write_text(keys.path.read_text().replace('name = "ann"', 'name = "anna"'))
    assert client.get("/v1/models").status_code == 200
    text = keys.path.read_text()
    keys.path.write_text(text[text.index("[[keys]]", 1) :])
    assert client.get("/v1/models").status_code == 401


def test_a_broken_key_file_lets_nobody_in(memory, serve, keys, caplog):
    client = serve(memory)
    keys.path.write_text("[[")
    response = client.get("/v1/models")
    assert response.status_code == 500
    assert "keys.toml" not in response.text
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("eye", [("POST", "/memory/records", {"text": "x"}), ("DELETE", "/memory/turns", None),
                 ("POST", "/memory/consolidate", None), ("DELETE", "/memory/records", None)]),
        ("ann", [("POST", "/memory/consolidate", None), ("GET", "/memory/consolidate/x", None)]),
    ],
)  # fmt: skip
def test_a_key_may_do_what_its_rights_say(memory, serve, name, calls):
    client = serve(memory, name)
    for method, path, body in calls:
        response = client.request(method, path, json=body)
        assert response.status_code == 403
        assert response.json()["error"]["code"] == "no_right"
    assert client.get("/memory/stats").status_code == 200


def local(memory, **options):
    return create_app(AsyncMemory(memory), local_key({"user": "me"}), **options)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8000", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:8000", 200),
        ("[::1]", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:80", 403),
        ("192.168.0.7", 403),
        ("", 403),
    ],
)
def test_without_keys_this_machine_alone_is_served(memory, host, status):
    with TestClient(local(memory)) as client:
        response = client.get("/memory/turns", headers={"host": host})
    assert response.status_code == status


def test_without_keys_there_is_one_scope(memory):
    with TestClient(local(memory), base_url="http://localhost") as client:
        record = client.post("/memory/records", json={"text": "A text."}).json()
    assert record["scope"] == {"user": "me"}


def test_hosts_are_told_from_ports():
    hosts = {"a": "a", "A:1": "a", "[::1]": "[::1]", "[::1]:9": "[::1]", "": "", ":1": ":1"}
    assert {host: _without_port(host) for host in hosts} == hosts


def test_long_bodies_are_refused(memory, serve):
    client = serve(memory, limits=Limits(body=1000))
    fits = json.dumps({"text": "x" * 980}).encode()
    long = json.dumps({"text": "x" * 990}).encode()
    headers = {"content-type": "application/json"}
    assert (len(fits), len(long)) == (992, 1002)

    def chunks(content):
        yield from (content[start : start + 100] for start in range(0, len(content), 100))

    for whole in (True, False):  # with its length in the header, and without
        for body, status in ((fits, 201), (long, 413)):
            content = body if whole else chunks(body)
            response = client.post("/memory/records", content=content, headers=headers)
            assert response.status_code == status
    assert response.json()["error"]["code"] == "request_too_large"
    assert memory.count(scope={"user": "ann"}) == 1


def slow_search(release):
    assert release.wait(30)
    return []


SEARCH = {"url": "/memory/search", "json": {"query": "x"}}


async def until(condition):
    while not condition():
        await asyncio.sleep(0.01)


async def test_requests_beyond_the_limits_are_told_to_come_again(
    memory, serve_async, keys, monkeypatch
):
    release = threading.Event()
    monkeypatch.setattr("memkit.memory.recall.search", lambda *_: slow_search(release))
    limits = Limits(requests=3, requests_per_key=2)
    async with serve_async(memory, limits=limits) as client:
        gate = client._transport.app
        waiting = []
        for name in ("ann", "ann", "ben"):
            waiting.append(asyncio.create_task(client.post(**SEARCH, headers=keys.of(name))))
            await until(lambda: gate._inside.total() == len(waiting))
        other = await client.post(**SEARCH, headers=keys.of("ben"))
        assert (other.status_code, other.headers["retry-after"]) == (503, "1")
        assert other.json()["error"]["code"] == "overloaded"
        assert (await client.get("/health")).status_code == 200
        release.set()
        assert [(await task).status_code for task in waiting] == [200] * 3
        assert gate._inside.total() == 0
        release.clear()
        waiting = [asyncio.create_task(client.post(**SEARCH, headers=keys.of("ann"))) for _ in "12"]
        await until(lambda: gate._inside.total() == 2)
        more = await client.post(**SEARCH, headers=keys.of("ann"))
        assert (more.status_code, more.headers["retry-after"]) == (429, "1")
        assert more.json()["error"]["type"] == "rate_limit_error"
        release.set()
        await asyncio.gather(*waiting)


async def test_what_takes_too_long_is_given_up(memory, serve_async, keys, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr("memkit.memory.recall.search", lambda *_: slow_search(release))
    async with serve_async(memory, limits=Limits(seconds=0.2)) as client:
        response = await client.post(**SEARCH, headers=keys.of("ann"))
        release.set()
        assert response.status_code == 504
        assert response.json()["error"]["code"] == "timeout"
        assert "0.2 s; nothing was stored" in response.json()["error"]["message"]
        assert response.json()["error"]["remembered"] is False


def slow_verb(release):
    async def verb(*_, **__):
        await asyncio.to_thread(release.wait, 30)

    return verb


CHAT = {
    "url": "/v1/chat/completions",
    "json": {"model": "memkit", "messages": [{"role": "user", "content": "I live in Oslo."}]},
}


@pytest.mark.slow
@pytest.mark.parametrize("store", [True, False])
async def test_a_chat_that_takes_too_long_says_what_was_stored(
    memory, serve_async, keys, monkeypatch, store
):
    """What the user has said is; that it is sent again changes nothing."""
    release = threading.Event()
    monkeypatch.setattr(AsyncMemory, "ask", slow_verb(release))
    request = CHAT | {"json": CHAT["json"] | {"store": store}}
    async with serve_async(memory, limits=Limits(seconds=1)) as client:
        for _ in range(2):
            response = await client.post(**request, headers=keys.of("ann"))
            assert response.status_code == 504
            assert ("remembered" in response.json()["error"]) != store
        release.set()
        said = [(turn.role, turn.content) for turn in memory.turns(scope={"user": "ann"})]
        assert said == ([("user", "I live in Oslo.")] if store else [])


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [(CHAT, "add_turns"), ({"url": "/memory/records", "json": {"text": "x"}}, "add")],
)
async def test_what_may_have_been_stored_is_not_said_to_be_lost(
    memory, serve_async, keys, monkeypatch, case
):
    request, verb = case
    release = threading.Event()
    answer = memory.ask("Sing to me.", scope={"user": "ann"}, sampling=Sampling(2))

    async def answered(*_):
        return answer

    monkeypatch.setattr("memkit.server.http.answer_queue.AnswerQueue.ask", answered)
    monkeypatch.setattr(AsyncMemory, verb, slow_verb(release))
    async with serve_async(memory, limits=Limits(seconds=1)) as client:
        response = await client.post(**request, headers=keys.of("ann"))
        release.set()
        assert response.status_code == 504
        error = response.json()["error"]
        assert error["message"].endswith("what it has begun to write is written")
        assert "remembered" not in error


async def test_a_body_that_does_not_come_is_given_up(memory, keys, asgi_scope):
    app = create_app(AsyncMemory(memory), keys.file, Limits(seconds=0.2))

    async def never():
        yield b"{"
        await asyncio.sleep(30)

    async with app.app.router.lifespan_context(app.app):
        sent = []
        scope = asgi_scope("/memory/search", keys.of("ann"))
        body = never()

        async def receive():
            return {"type": "http.request", "body": await anext(body), "more_body": True}

        async def send(message):
            sent.append(message)

        await app(scope, receive, send)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["error"]["code"] == "timeout"


SECRET = "the zebra sleeps at noon"


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.name.startswith("memkit")]


def test_the_log_has_no_content(memory, serve, caplog, keys):
    caplog.set_level(logging.DEBUG)
    client = serve(memory)
    id = client.post("/memory/records", json={"text": SECRET, "key": "zebra"}).json()["id"]
    client.get(f"/memory/records/{id}")
    client.get("/memory/records/the-zebra-of-ann")
    client.get("/memory/records?after=zebra")
    client.post("/memory/search", json={"query": SECRET, "zebra": SECRET})
    client.post("/v1/chat/completions", json={
        "model": "memkit", "max_tokens": 4, "messages": [{"role": "user", "content": SECRET}],
    })  # fmt: skip
    logged = "\n".join(lines(caplog))

    assert "zebra" not in logged
    assert id not in logged
    assert keys.tokens["ann"] not in logged
    assert "POST /memory/records 201" in logged
    assert "GET /memory/records/{id:path} 404" in logged
    assert logged.count("key=ann") == 6


def test_a_fault_is_told_without_its_message(memory, serve, caplog, monkeypatch):
    def fail(*_):
        raise RuntimeError(SECRET)

    monkeypatch.setattr("memkit.memory.recall.search", fail)
    response = serve(memory).post(**SEARCH)

    assert response.status_code == 500
    error = response.json()["error"]
    assert (error["code"], error["type"]) == ("internal_error", "server_error")
    assert "RuntimeError" in error["message"]
    assert "zebra" not in response.text
    logged = "\n".join(lines(caplog))
    assert "zebra" not in logged
    assert "in fail" in logged
    assert logged.count("RuntimeError\n") == 1


@pytest.mark.parametrize(
    "told",
    [
        (errors.InvalidInputError("zebra"), 400, None),
        (errors.UnsupportedOperationError("zebra"), 400, "unsupported"),
        (errors.RecordNotFoundError("zebra"), 404, "not_found"),
        (errors.BusyError("/zebra"), 503, "overloaded"),
        (errors.ConnectionLostError("/zebra"), 503, "overloaded"),
        (errors.DiskFullError("/zebra"), 507, "disk_full"),
        (errors.DestructionPendingError("/zebra"), 503, "destruction_pending"),
        (errors.CorruptFileError("/zebra"), 500, "internal_error"),
        (errors.ModelUnavailableError("/zebra"), 500, "internal_error"),
        (errors.IncompatibleModelError("/zebra"), 500, "internal_error"),
        (OSError("/zebra"), 500, "internal_error"),
    ],
    ids=lambda told: type(told[0]).__name__,
)
def test_clients_are_told_what_they_can_mend(memory, serve, monkeypatch, told):
    error, status, code = told

    def fail(*_):
        raise error

    monkeypatch.setattr("memkit.memory.recall.search", fail)
    response = serve(memory).post(**SEARCH)

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert "/zebra" not in response.text
    assert ("zebra" in response.text) is (status in {400, 404})


def test_every_request_has_a_name(memory, serve, caplog):
    caplog.set_level(logging.INFO)
    client = serve(memory)
    names = [client.get(path).headers["x-request-id"] for path in ("/v1/models", "/nowhere")]

    assert len(set(names)) == 2
    assert all(f"id={name}" in "\n".join(lines(caplog)) for name in names)


async def test_websockets_are_refused(memory, keys):
    app = create_app(AsyncMemory(memory), keys.file)
    sent = []

    async def send(message):
        sent.append(message)

    await app({"type": "websocket", "path": "/health"}, None, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_errors_quote_what_is_no_unicode(memory, serve):
    response = serve(memory).post(
        "/memory/records",
        content=rb'{"text": "x", "\ud800": 1}',
        headers={"content-type": "application/json"},
    )
    assert response.status_code == 400
    assert isinstance(response, httpx.Response) or response.json()["error"]
