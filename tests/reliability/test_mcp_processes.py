"""The server of the Model Context Protocol as a process: over pipes, over HTTP, and killed."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

import httpx2
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from memkit import Memory
from memkit.testing import HashingEmbedder

PATIENCE = 60  # seconds until a test that hangs fails
TOKEN = "correct-horse-battery"

START = """
import sys
sys.path[:0] = sys.argv[2:]
import os
from memkit import Memory
from memkit.server.mcp.http_access import Access
from memkit.server.mcp.serve import serve_http, serve_stdio
from memkit.testing import HashingEmbedder

class Noisy(HashingEmbedder):
    def encode_document(self, texts, /):
        print("noise of Python", flush=True)
        os.write(1, b"noise of a library\\n")
        return super().encode_document(texts)

memory = Memory.open(sys.argv[1], backends=["buffer", "rag"], embedder=Noisy(), count_tokens=len)
"""
STDIO = START + 'serve_stdio(memory, {"user": "u1"})'
HTTP = START + 'serve_http(memory, {"user": "u1"}, host="127.0.0.1", port=0, access=%s)'


def words(script, path):
    return [sys.executable, "-c", script, str(path), *sys.path]


@pytest.fixture
def reopened(tmp_path):
    """Opens the memory once no server has it any more."""

    @contextmanager
    def open_again():
        with Memory.open(
            tmp_path / "m", create=False, backends=["buffer", "rag"], embedder=HashingEmbedder()
        ) as memory:
            yield memory

    return open_again


# -- over pipes


async def test_a_client_over_stdio(tmp_path, reopened):
    command, *arguments = words(STDIO, tmp_path / "m")
    server = StdioServerParameters(command=command, args=arguments, env=dict(os.environ))
    async with Client(server, read_timeout_seconds=PATIENCE) as client:
        assert client.protocol_version == "2026-07-28"
        added = await client.call_tool("remember", {"text": "The gate opens at six."})
        found = await client.call_tool("search", {"query": "gate"})
        wrong = await client.call_tool("forget", {"ids": ["nobody"]})

    id = added.structured_content["id"]
    assert [hit["id"] for hit in found.structured_content["hits"]] == [id]
    assert wrong.is_error
    with reopened() as memory:
        assert memory.get(id, scope={"user": "u1"}).text == "The gate opens at six."


class Pipes:
    """A server whose messages are written and read line by line, without the SDK's help."""

    def __init__(self, path):
        self.process = subprocess.Popen(
            words(STDIO, path), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        self.sent = 0
        about = {"protocolVersion": "2025-06-18", "capabilities": {}}
        self.ask("initialize", about | {"clientInfo": {"name": "t", "version": "1"}})
        self.read()
        self.write({"method": "notifications/initialized"})

    def write(self, message):
        line = json.dumps({"jsonrpc": "2.0"} | message) + "\n"
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()

    def ask(self, method, params):
        self.sent += 1
        self.write({"id": self.sent, "method": method, "params": params})

    def remember(self, text):
        self.ask("tools/call", {"name": "remember", "arguments": {"text": text}})

    def read(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line.endswith(b"\n") else None


def test_stdout_carries_nothing_but_the_protocol(tmp_path):
    pipes = Pipes(tmp_path / "m")
    pipes.remember("The gate opens at six.")
    answer = pipes.read()
    out, err = pipes.process.communicate(timeout=PATIENCE)  # closes its stdin

    assert answer["id"] == pipes.sent
    assert answer["result"]["structuredContent"]["text"] == "The gate opens at six."
    assert out == b""
    assert b"noise of Python" in err
    assert b"noise of a library" in err
    assert pipes.process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_although_nothing_is_read(tmp_path, number):
    pipes = Pipes(tmp_path / "m")
    pipes.process.send_signal(number)

    assert pipes.process.wait(PATIENCE) == -number
    pipes.process.communicate()


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_in_the_middle_loses_nothing_that_was_acknowledged(tmp_path, reopened, seed):
    rng = random.Random(seed)
    pipes = Pipes(tmp_path / "m")
    acknowledged = {}
    until = rng.randrange(1, 25)
    with suppress(BrokenPipeError):
        for number in range(1000):
            pipes.remember(f"Locker {number} belongs to crew {number % 7}.")
            if number % 3:  # some are under way when others are acknowledged
                fact = pipes.read()["result"]["structuredContent"]
                acknowledged[fact["id"]] = fact["text"]
            if len(acknowledged) == until:
                pipes.process.send_signal(signal.SIGKILL)
                break
    while (answer := pipes.read()) is not None:
        fact = answer["result"]["structuredContent"]
        acknowledged[fact["id"]] = fact["text"]
    pipes.process.communicate()

    with reopened() as memory:
        kept = memory.get_many(list(acknowledged), scope={"user": "u1"})
        assert {record.id: record.text for record in kept} == acknowledged
        for id, text in acknowledged.items():
            assert memory.search(text, 1, scope={"user": "u1"})[0].id == id


# -- over HTTP


@contextmanager
def http_server(path, access="None"):
    process = subprocess.Popen(words(HTTP % access, path), stderr=subprocess.PIPE, text=True)
    try:
        line = process.stderr.readline()
        while not line.startswith("serving at "):
            assert line, "the server has ended"
            line = process.stderr.readline()
        yield line.removeprefix("serving at ").strip(), process
    finally:
        process.terminate()
        _, rest = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in rest


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_clients_over_streamable_http(tmp_path, reopened, mode):
    with http_server(tmp_path / "m") as (url, _):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/mcp", url)
        async with Client(url, mode=mode) as one, Client(url, mode=mode) as other:
            added = await one.call_tool("remember", {"text": "The gate opens at six."})
            found = await other.call_tool("search", {"query": "gate"})

    id = added.structured_content["id"]
    assert [hit["id"] for hit in found.structured_content["hits"]] == [id]
    with reopened() as memory:
        assert memory.get(id, scope={"user": "u1"}).text == "The gate opens at six."


def test_a_page_that_a_browser_was_lured_to_cannot_reach_it(tmp_path):
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    with http_server(tmp_path / "m") as (url, _):
        rebound = httpx2.post(url, json={}, headers=headers | {"host": "evil.example"})
        foreign = httpx2.post(url, json={}, headers=headers | {"origin": "http://evil.example"})

    assert (rebound.status_code, foreign.status_code) == (421, 403)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_and_closes_the_memory_when_it_is_told_to(tmp_path, number):
    with http_server(tmp_path / "m") as (_, process):
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0

    assert not list((tmp_path / "m").glob("*-wal"))


async def test_a_token_is_asked_for(tmp_path):
    with http_server(tmp_path / "m", f"Access({TOKEN!r})") as (url, _):
        assert httpx2.post(url, json={}).status_code == 401
        wrong = {"authorization": f"Bearer {TOKEN}x"}
        assert httpx2.post(url, json={}, headers=wrong).status_code == 401
        sending = httpx2.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"})
        async with sending, Client(streamable_http_client(url, http_client=sending)) as client:
            assert (await client.call_tool("stats", {})).structured_content["records"] == 0
        with pytest.raises((MCPError, ExceptionGroup)):
            async with Client(url):
                pass


# -- the command


def command(*arguments):
    return [sys.executable, "-m", "memkit", "mcp", *map(str, arguments)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "0"], "go with --http"),
        (["--http", "--host", "0.0.0.0"], "expected a loopback `host`"),
        (["--http", "--token-file", "nowhere"], "nowhere"),
    ],
)
def test_the_command_checks_its_arguments_before_it_loads_anything(tmp_path, arguments, said):
    words = command(tmp_path / "m", *arguments)
    result = subprocess.run(words, check=False, capture_output=True, text=True, timeout=PATIENCE)

    assert result.returncode != 0
    assert said in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "m").exists()


@pytest.mark.real
async def test_the_command_serves_a_tenant_over_stdio(tmp_path):
    interpreter, *arguments = command(tmp_path / "m", "--scope", "user=u1")
    server = StdioServerParameters(command=interpreter, args=arguments, env=dict(os.environ))
    async with Client(server, read_timeout_seconds=5 * PATIENCE) as client:
        text = "The archive is on the second floor."
        await client.call_tool("remember", {"text": text})
        recalled = await client.call_tool("recall", {"question": "Where is the archive?"})

    assert recalled.structured_content["text"] == f"Facts:\n- {text}"
    with Memory.open(tmp_path / "m", backends=["buffer"]) as memory:
        assert memory.count() == 0
        assert memory.count(scope={"user": "u1"}) == 1
