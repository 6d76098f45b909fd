"""The server as a process of its own, driven by OpenAI's client; and how it stops."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from memkit.server.http.api_keys import add_key
from memkit.testing import HashingEmbedder

SERVER = """
import sys
from pathlib import Path
from memkit import Memory
from memkit.server.http.api_keys import KeyFile
from memkit.server.http.run_http import run
from memkit.server.http.serving_limits import Limits
from memkit.testing import HashingEmbedder, tiny_llama, tiny_recipe

memory = Memory.open(sys.argv[1], base_model=tiny_llama(), embedder=HashingEmbedder(),
                     recipe=tiny_recipe(4))
run(memory, KeyFile(Path(sys.argv[2])), Limits(), port=0)
"""
NORA = {"role": "user", "content": "What is the badge number of Nora?"}
SONG = {"role": "user", "content": "Sing to me."}


class Server:
    """A server in a process of its own."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        self.log, self.url = [], None
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"running on (http://\S+)", line):
                self.url = found[1]
                return
        raise AssertionError("".join(self.log))

    def client(self, key, **options):
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, **options)

    def wait(self):
        with self.process.stderr as stderr:
            self.log += stderr.readlines()
        return self.process.wait()


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    rights = ["read", "write", "consolidate"]
    return path, {name: add_key(path, name, {"user": name}, rights) for name in ("ann", "ben")}


@pytest.fixture(scope="module")
def directory(tmp_path_factory, trained_directory):
    import shutil

    return shutil.copytree(trained_directory, tmp_path_factory.mktemp("served") / "agent.mem")


@pytest.fixture(scope="module")
def server(directory, keys):
    server = Server([sys.executable, "-c", SERVER, str(directory), str(keys[0])])
    yield server
    if server.process.poll() is None:
        server.process.kill()
        server.wait()


@pytest.fixture(scope="module")
def ann(server, keys):
    with server.client(keys[1]["ann"]) as client:
        yield client


@pytest.fixture(scope="module")
def ben(server, keys):
    with server.client(keys[1]["ben"]) as client:
        yield client


def test_the_client_chats(ann):
    reply = ann.chat.completions.create(model="memkit", messages=[NORA], max_tokens=8, user="x")

    assert reply.choices[0].message.content == "4471"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.model == "tiny-llama-0"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    assert reply.memkit["citations"] == ["Nora"]


def test_the_client_streams(ann):
    chunks = list(
        ann.chat.completions.create(
            model="memkit",
            messages=[SONG],
            max_completion_tokens=12,
            temperature=0.5,
            seed=3,
            stream=True,
            stream_options={"include_usage": True},
            store=False,
        )
    )
    whole = ann.chat.completions.create(
        model="memkit", messages=[SONG], max_tokens=12, temperature=0.5, seed=3, store=False
    )

    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said.strip() == whole.choices[0].message.content
    assert len(chunks) > 4
    assert chunks[-2].choices[0].finish_reason in {"stop", "length"}
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens


def test_the_clients_own_reader_of_streams_understands(ann):
    with ann.chat.completions.stream(model="memkit", messages=[NORA], max_tokens=8) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "4471"


def test_the_client_embeds(ann):
    texts = ["the archive", "a zebra"]
    rows = HashingEmbedder().encode_document(texts)
    for encoding in ("float", "base64", None):  # the client asks for base64 by itself
        given = {"encoding_format": encoding} if encoding else {}
        reply = ann.embeddings.create(model="memkit", input=texts, **given)
        for item, row in zip(reply.data, rows, strict=True):
            if encoding != "base64":
                assert item.embedding == pytest.approx(row.tolist())


def test_the_client_lists_models(ann):
    names = [model.id for model in ann.models.list()]
    assert names == ["memkit", "tiny-llama-0", "hashing-64"]
    assert ann.models.retrieve("memkit").owned_by == "memkit"


@pytest.mark.parametrize(
    ("request_says", "error", "param"),
    [
        ({"n": 2}, openai.BadRequestError, "n"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]},
         openai.BadRequestError, "tools"),
        ({"model": "gpt-4o"}, openai.NotFoundError, "model"),
        ({"max_tokens": 5000}, openai.BadRequestError, "max_completion_tokens"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_the_client_raises_its_own_errors(ann, request_says, error, param, stream):
    with pytest.raises(error) as raised:
        ann.chat.completions.create(
            **{"model": "memkit", "messages": [NORA], "stream": stream} | request_says
        )
    assert raised.value.param == param
    assert raised.value.type == "invalid_request_error"
    assert raised.value.request_id


def test_a_wrong_key_is_an_authentication_error(server, keys):
    with server.client("mk-wrong") as client, pytest.raises(openai.AuthenticationError) as raised:
        client.models.list()
    assert raised.value.code == "invalid_api_key"


def test_each_key_has_its_own_memory(ann, ben):
    for client, city in ((ann, "Oslo"), (ben, "Rome")):
        client.chat.completions.create(
            model="memkit", messages=[{"role": "user", "content": f"My home town is {city}."}],
            max_tokens=4,
        )  # fmt: skip
    question = [{"role": "user", "content": "What is my home town?"}]
    exact = {"memkit": {"min_score": 0, "quote": True}}

    def asked(client):
        reply = client.chat.completions.create(
            model="memkit", messages=question, store=False, extra_body=exact
        )
        return reply.choices[0].message.content

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(asked, [ann, ben] * 8))
    assert answers == ["My home town is Oslo.", "My home town is Rome."] * 8


def test_a_client_that_leaves_a_stream_gets_no_reply_stored(server, ann, keys):
    headers = {"authorization": f"Bearer {keys[1]['ann']}"}
    turns = f"{server.url}/memory/turns?limit=1000"
    before = httpx.get(turns, headers=headers, timeout=60).json()
    stream = ann.chat.completions.create(
        model="memkit", messages=[SONG], max_tokens=300, stream=True
    )
    next(stream)
    stream.close()
    reply = ann.chat.completions.create(model="memkit", messages=[SONG], max_tokens=2, store=False)
    assert reply.choices
    after = httpx.get(turns, headers=headers, timeout=60).json()["turns"]
    assert [turn["content"] for turn in after[len(before["turns"]) :]] == [SONG["content"]]


def test_sigterm_finishes_what_is_under_way(server, ann, keys, directory, opener):
    stream = ann.chat.completions.create(
        model="memkit", messages=[SONG], max_tokens=200, stream=True
    )
    first = next(stream)
    server.process.send_signal(signal.SIGTERM)
    rest = list(stream)

    assert first.choices[0].delta.role == "assistant"
    assert rest[-1].choices[0].finish_reason in {"length", "stop"}
    assert server.wait() == 0
    log = "".join(server.log)
    assert "Traceback" not in log
    assert 0 < log.index("loading the models") < log.index("running on http://127.0.0.1:")
    assert "POST /v1/chat/completions 200" in log
    assert all(word not in log for word in ("Sing", "Oslo", keys[1]["ann"]))
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/health")
    with opener(directory) as memory:
        asked, answered = memory.turns(scope={"user": "ann"}, limit=2)
        said = "".join(c.choices[0].delta.content or "" for c in [first, *rest] if c.choices)
        assert (asked.content, answered.content) == (SONG["content"], said.strip())


def refused(tmp_path, *words):
    from memkit.cli.main import main

    return main(["serve", str(tmp_path / "agent.mem"), *words])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected either --keys FILE or --no-auth"),
        (["--no-auth", "--keys", "k"], "expected either --keys FILE or --no-auth"),
        (["--no-auth", "--host", "0.0.0.0"], "without keys only this machine is served"),
        (["--no-auth", "--host", "example.com"], "without keys only this machine is served"),
        (
            ["--keys", "missing.toml"],
            "there is no key file 'missing.toml' hint: memkit serve MEMORY "
            "--keys missing.toml --new-key NAME",
        ),
        (["--keys", "k", "--scope", "user=ann"], "keys have their scopes"),
        (["--no-auth", "--shared"], "--shared and --right are for --new-key"),
        (["--new-key", "ann", "--scope", "user=ann"], "--new-key needs --keys"),
        (["--new-key", "ann", "--keys", "k"], "either --scope"),
        (["--new-key", "ann", "--keys", "k", "--scope", "user=ann", "--shared"], "either --scope"),
        (["--new-key", "ann", "--keys", "k", "--shared", "--right", "root"], "`rights` must be"),
        (["--no-auth"], "no memory"),
    ],
)
def test_what_would_not_be_safe_or_cannot_be_is_refused(
    tmp_path, monkeypatch, capsys, words, message
):
    monkeypatch.chdir(tmp_path)
    assert refused(tmp_path, *words) in {1, 2}
    assert message in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.glob("*.toml")) == []


def test_a_new_key_is_printed_once(tmp_path, capsys):
    path = tmp_path / "keys.toml"
    words = ["--new-key", "ann", "--scope", "user=ann", "--right", "read", "--keys", str(path)]
    assert refused(tmp_path, *words) == 0
    key = capsys.readouterr().out.strip()

    from memkit.server.http.api_keys import KeyFile

    assert KeyFile(path).find(key).rights == {"read"}
    assert refused(tmp_path, *words) == 1
    error = capsys.readouterr().err
    assert f"memkit: {str(path)!r} has a key named 'ann' already" in error
    assert "hint: Give the new key another name" in error
    assert json.dumps(key) not in path.read_text()


@pytest.mark.parametrize("command", [["serve", "--no-auth"], ["mcp", "--http"]])
def test_a_port_that_is_taken_is_told_before_models_are_loaded(
    tmp_path, monkeypatch, capsys, opener, command
):
    from memkit.cli.main import main
    from memkit.server.http import run_http

    opener(tmp_path / "agent.mem").close()
    monkeypatch.setattr(run_http, "warm_up", lambda memory: pytest.fail("models are loaded"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        name, *options = command
        status = main([name, str(tmp_path / "agent.mem"), *options, "--port", str(port)])
    assert status == 1
    assert capsys.readouterr().err == (
        f"memkit: port {port} of 127.0.0.1 is taken by another program\n"
        "hint: Give another port with --port, or --port 0 for any that is free.\n"
    )


def test_a_missing_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.setattr("memkit.server.extras.find_spec", lambda name: None)
    assert refused(tmp_path, "--no-auth") == 1
    assert "pip install 'memkit-sdk[serve]'" in capsys.readouterr().err


def test_a_second_signal_ends_the_process_at_once(monkeypatch):
    import uvicorn

    from memkit.server.http import run_http

    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    server = run_http._Server(uvicorn.Config(app=None))
    server.handle_exit(signal.SIGTERM, None)
    assert (server.should_exit, ended) == (True, [])
    server.handle_exit(signal.SIGTERM, None)
    assert ended == [128 + signal.SIGTERM]
