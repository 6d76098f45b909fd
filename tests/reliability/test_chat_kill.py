"""`kill -9` while an answer is made: what the user has said is in the memory all the same."""

import io
import re
import signal
import subprocess
import sys

import httpx
import pytest

from memkit import Memory
from memkit.cli.main import main
from memkit.testing import HashingEmbedder, HashingModel

START = """
import os, signal, sys
from pathlib import Path
from memkit import Memory
from memkit.testing import HashingEmbedder, HashingModel

class Dying(HashingModel):
    def generate(self, prompts, *given, **more):  # a server tries its model when it starts
        if any(b"Petrel" in bytes(prompt.question) for prompt in prompts):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().generate(prompts, *given, **more)

    def stream(self, *_, **__):
        yield "It "
        os.kill(os.getpid(), signal.SIGKILL)

opened = Memory.open
def open_memory(path, **options):
    options |= {"embedder": HashingEmbedder(), "base_model": Dying()}
    return opened(path, **options | {"backends": ("buffer", "rag")})
"""
CHAT = """
Memory.open = open_memory
from memkit.cli.main import main
main(["chat", sys.argv[1], "--no-quote", "--scope", "user=ann", *sys.argv[2:]])
"""
SERVE = """
from memkit.server.http.api_keys import local_key
from memkit.server.http.run_http import run
from memkit.server.http.serving_limits import Limits

run(open_memory(sys.argv[1]), local_key({"user": "ann"}), Limits(), port=0)
"""
SAID = "My boat is called Petrel."


def started(code, *words):
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", START + code, *map(str, words)]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


OPEN = Memory.open


def opened(path):
    models = {"embedder": HashingEmbedder(), "base_model": HashingModel()}
    return OPEN(path, backends=("buffer", "rag"), **models)


def check_kept(path):
    with opened(path) as memory:
        turns = memory.turns(scope={"user": "ann"})
        assert [(turn.role, turn.content) for turn in turns] == [("user", SAID)]
        assert memory.search("boat", scope={"user": "ann"})[0].id == turns[0].record_id


@pytest.mark.parametrize("option", [[], ["--json"]], ids=["streamed", "whole"])
def test_a_chat_that_is_killed_keeps_what_was_said(tmp_path, option):
    process = started(CHAT, tmp_path / "m", *option)
    process.communicate(f"{SAID}\n", timeout=120)
    assert process.returncode == -signal.SIGKILL
    check_kept(tmp_path / "m")


def test_a_server_that_is_killed_keeps_what_was_said_and_hears_it_once(tmp_path):
    body = {"model": "memkit", "messages": [{"role": "user", "content": SAID}]}
    body["memkit"] = {"quote": False}
    opened(tmp_path / "m").close()
    for stream in (False, True):  # a client sends again what got no answer
        process = started(SERVE, tmp_path / "m")
        with process:
            lines = (re.search(r"running on (http://\S+)", line) for line in process.stderr)
            url = next(match[1] for match in lines if match)
            with pytest.raises(httpx.HTTPError):
                httpx.post(f"{url}/v1/chat/completions", json=body | {"stream": stream}, timeout=60)
        assert process.returncode == -signal.SIGKILL
        check_kept(tmp_path / "m")


def test_what_was_noted_before_is_no_evidence_of_itself(tmp_path, monkeypatch, capsys):
    """The answer is that of a memory which has not noted the question yet."""
    path, other = tmp_path / "m", tmp_path / "other"
    asked = "I moved to Malmö. Where is my boat?"
    with opened(path) as memory:
        memory.add_turn("user", SAID)
        before = memory.ask(asked, quote=False)
        memory.add_turn("user", asked)
        after = memory.ask(asked, quote=False)
        assert (after.text, after.recall.text) == (before.text, before.recall.text)
        assert SAID in after.recall.text
        assert memory.search(asked)[0].text == asked  # where nobody answers, it is found
    with opened(other) as memory:
        memory.add_turn("user", SAID)
    monkeypatch.setattr(Memory, "open", lambda path, **_: opened(path))
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{asked}\n"))
    assert main(["chat", str(other), "--no-quote"]) == 0
    assert capsys.readouterr().out.strip() == before.text
