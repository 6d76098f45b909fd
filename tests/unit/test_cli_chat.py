"""`memkit chat`: a conversation that is remembered, through a pipe and at a terminal."""

import io
import json
import sys

import pytest

from memkit import Memory
from memkit.cli import conversation
from memkit.cli import main as cli
from memkit.errors import ModelUnavailableError
from memkit.testing import HashingEmbedder, HashingModel


@pytest.fixture(autouse=True)
def small(monkeypatch):
    opened = Memory.open

    def open_memory(path, **options):
        models = {"embedder": HashingEmbedder(), "base_model": HashingModel()}
        return opened(path, backends=("buffer", "rag"), **(options | models))

    monkeypatch.setattr(Memory, "open", open_memory)


@pytest.fixture
def chat(tmp_path, monkeypatch, capsys):
    """Says lines, in a pipe or as typed; gives what was printed."""
    path = tmp_path / "agent.mem"

    def run(*lines, options=(), typed=False):
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        monkeypatch.setattr(sys.stdin, "isatty", lambda: typed, raising=False)
        said = iter(lines)

        def typing(prompt):
            line = next(said, None)
            if line is None:
                raise EOFError
            return line

        monkeypatch.setattr("builtins.input", typing)
        capsys.readouterr()
        assert cli.main(["chat", str(path), *options]) == 0
        return capsys.readouterr()

    run.path = path
    return run


def turns(path, scope):
    with Memory.open(path) as memory:
        records = [record.text for record in memory.records(scope="all").records]
        return [(turn.role, turn.content) for turn in memory.turns(scope=scope)], records


def test_what_was_said_is_noted_for_the_next_time(chat):
    scope = ("--scope", "user=ada")
    first = chat("My boat is called Petrel.", "", options=scope).out
    second = chat("What is my boat called?", "/quit", "never said", options=scope).out

    noted, records = turns(chat.path, {"user": "ada"})
    assert noted == [
        ("user", "My boat is called Petrel."),
        ("assistant", first.strip()),
        ("user", "What is my boat called?"),
        ("assistant", second.strip()),
    ]
    assert records == ["My boat is called Petrel."]  # neither questions nor answers
    assert turns(chat.path, {})[0] == []


def test_what_was_said_before_is_evidence(chat):
    chat("My boat is called Petrel.", options=("--scope", "user=ada"))

    (answer,) = map(json.loads, chat(
        "What is my boat called?", options=("--scope", "user=ada", "--json"),
    ).out.splitlines())  # fmt: skip
    (other,) = map(json.loads, chat(
        "What is my boat called?", options=("--scope", "user=bob", "--json"),
    ).out.splitlines())  # fmt: skip

    assert "Petrel" in answer["recall"]["text"]
    assert "Petrel" not in other["recall"]["text"]


def test_only_what_passes_a_filter_is_evidence(chat):
    words = ["add", str(chat.path), "My boat is called Petrel.", "--metadata", "source=handbook"]
    assert cli.main(words) == 0
    for source, found in (("handbook", 1), ("hr", 0)):
        options = ("--json", "--where", f"source={source}")
        told = chat("What is my boat called?", options=options).out.splitlines()[-1]
        assert len(json.loads(told)["recall"]["hits"]) == found


def test_a_terminal_is_told_what_was_said_and_has_commands(chat):
    chat("My boat is called Petrel.")

    output, told = chat("/sources", "Hello there, Petrel.", "/sources", "/turns", "/x", typed=True)

    assert "user: My boat is called Petrel." in told
    assert "there is no answer yet" in told
    assert "source: " in told
    assert "user: Hello there, Petrel." in told
    assert conversation.HELP in told
    assert len(output.strip().splitlines()) == 1  # the answer alone


def test_ctrl_c_stops_an_answer_and_not_the_conversation(chat, monkeypatch):
    answering = conversation.streamed
    interrupts = iter([KeyboardInterrupt()])

    def stopped_once(*arguments):
        for interrupt in interrupts:
            raise interrupt
        return answering(*arguments)

    monkeypatch.setattr(conversation, "streamed", stopped_once)
    output, told = chat("It is late.", "It is early.", typed=True)
    assert "stopped; /turns shows what is noted" in told
    assert len(output.strip().splitlines()) == 1
    noted, records = turns(chat.path, {})
    assert [content for role, content in noted if role == "user"] == ["It is late.", "It is early."]
    assert records == ["It is late.", "It is early."]  # what was told is not lost


def test_what_was_told_is_noted_before_an_error_ends_a_piped_chat(chat, monkeypatch, capsys):
    def failing(*_):
        raise ModelUnavailableError("no model")

    monkeypatch.setattr(conversation, "streamed", failing)
    monkeypatch.setattr(sys, "stdin", io.StringIO("It is late.\n"))

    assert cli.main(["chat", str(chat.path)]) == 1
    assert capsys.readouterr().err == "memkit: no model\n"
    assert turns(chat.path, {}) == ([("user", "It is late.")], ["It is late."])
