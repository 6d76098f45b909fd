"""`memkit add` from files, folders, pipes, JSON lines and chat logs: all of it or nothing."""

import io
import json
import sys
from functools import partial

import pytest

from memkit import Memory
from memkit.cli import main as cli
from memkit.cli import reading_files
from memkit.testing import HashingEmbedder


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(Memory, "open", partial(Memory.open, embedder=HashingEmbedder()))


@pytest.fixture
def add(tmp_path, capsys):
    """Adds to a memory; gives the status, the records that are there, and what was told."""
    path = tmp_path / "agent.mem"

    def run(*words):
        capsys.readouterr()
        status = cli.main(["add", str(path), *map(str, words)])
        told = capsys.readouterr().err
        with Memory.open(path) as memory:
            records = list(memory.records(scope="all").records)
        return status, records, told

    return run


@pytest.fixture
def piped(monkeypatch):
    def pipe(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return pipe


def test_a_file_is_one_record_that_knows_where_it_is_from(add, tmp_path):
    file = tmp_path / "dock.md"
    file.write_text("Deliveries are unloaded at dock three.\n", encoding="utf-8")
    status, (record,), _ = add("--from", file, "--metadata", "kind=rule", "--scope", "user=ada")
    assert status == 0
    assert record.text.strip() == "Deliveries are unloaded at dock three."
    assert record.metadata == {"source": "dock.md", "kind": "rule"}
    assert record.scope == {"user": "ada"}

    file.write_text("Deliveries are unloaded at dock four.\n", encoding="utf-8")
    status, (record,), _ = add("--from", file, "--metadata", "kind=rule", "--scope", "user=ada")
    assert (status, record.version) == (0, 2)
    assert "dock four" in record.text


def test_of_a_folder_all_texts_are_taken_and_the_rest_is_named(add, tmp_path):
    folder = tmp_path / "notes"
    (folder / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / "a.txt").write_text("Alpha is first.", encoding="utf-8")
    (folder / "deep" / "b.txt").write_text("\ufeffBeta is second.", encoding="utf-8")
    (folder / ".hidden" / "c.txt").write_text("Gamma is hidden.", encoding="utf-8")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00")
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    (folder / "empty.txt").write_text(" \n", encoding="utf-8")

    status, records, told = add("--from", folder)

    assert status == 0
    assert [record.text for record in records] == ["Alpha is first.", "Beta is second."]
    assert [record.metadata["source"] for record in records] == ["a.txt", "deep/b.txt"]
    assert "left out 2 files that are no text: latin.txt, picture.png" in told


def test_lines_of_json_bring_what_the_command_line_does_not_say(add, tmp_path):
    file = tmp_path / "facts.jsonl"
    lines = [
        {"text": "Nora has badge 4471.", "question": "Which badge has Nora?", "answer": "4471"},
        {"text": "Emil is away.", "scope": {"user": "bob"}, "metadata": {"kind": "own"},
         "at": "2025-01-01", "id": "emil"},
    ]  # fmt: skip
    file.write_text("\n\n".join(map(json.dumps, lines)), encoding="utf-8")

    status, (nora, emil), _ = add("--from", file, "--scope", "user=ada", "--metadata", "kind=hr")

    assert status == 0
    assert (nora.answer, nora.scope, nora.metadata) == ("4471", {"user": "ada"}, {"kind": "hr"})
    assert (emil.id, emil.scope, emil.metadata) == ("emil", {"user": "bob"}, {"kind": "own"})
    assert emil.said_at.isoformat() == "2025-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "expected JSON in line 2 of facts.jsonl"),
        ("[1]", "expected an object in line 2 of facts.jsonl"),
        ('{"txt": "x"}', "in line 2 of facts.jsonl, got the unknown field 'txt'"),
        ('{"id": "x"}', "in line 2 of facts.jsonl, got no `text`"),
        ('{"role": "user", "content": "x"}', "--format chat takes chat logs"),
        ('{"text": "x", "scope": "ada"}', "`scope` in line 2 of facts.jsonl to be an object"),
        ('{"text": "x", "at": "soon"}', "`at` in line 2 of facts.jsonl: expected a time"),
        ('{"text": 7}', "line 2 of facts.jsonl: `text` must be a string"),
    ],
)
def test_one_wrong_line_keeps_all_of_a_file_out(add, tmp_path, line, complaint):
    file = tmp_path / "facts.jsonl"
    file.write_text('{"text": "Alpha is first."}\n' + line, encoding="utf-8")

    status, records, told = add("Beta is second.", "--from", file)

    assert (status, records) == (1, [])
    assert complaint in told


def test_a_pipe_is_a_text_or_what_it_is_said_to_be(add, piped):
    piped(b"Alpha is\nfirst.\n")
    assert [record.text for record in add("-")[1]] == ["Alpha is\nfirst."]
    piped(b'{"text": "Beta is second."}\n{"text": "Gamma is third."}\n')
    assert [record.text for record in add("-", "--format", "jsonl")[1]][1:] == [
        "Beta is second.", "Gamma is third.",
    ]  # fmt: skip
    piped(b"caf\xe9")
    status, _, told = add("-")
    assert status == 1
    assert "expected text in UTF-8, byte 3 of the standard input is none" in told


LOG = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "My sister lives in Malmö."},
    {"role": "assistant", "content": "Noted."},
]


@pytest.mark.parametrize("form", ["list", "object", "lines"])
def test_a_chat_log_becomes_turns_and_records_once(add, tmp_path, form):
    file = tmp_path / "log.json"
    content = {
        "list": json.dumps(LOG),
        "object": json.dumps({"model": "x", "messages": LOG}),
        "lines": "\n".join(map(json.dumps, LOG)),
    }[form]
    file.write_text(content, encoding="utf-8")

    for _ in range(2):
        status, records, _ = add("--from", file, "--scope", "user=ada")
        assert status == 0
        assert [record.text for record in records] == ["My sister lives in Malmö."]
        assert records[0].scope == {"user": "ada"}


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["--from", "nowhere.txt"], 1, "there is nothing at 'nowhere.txt'"),
        (["--from", "{tmp}/log.json", "A text."], 2, "one after the other"),
        (["--from", "{tmp}/log.json", "--metadata", "a=b"], 2, "--scope and --at only"),
        (["--from", "{tmp}/object.json"], 1, "expected object.json to be a list of messages"),
        (["--from", "{tmp}/no-log.json"], 1, "expected no-log.json to be a list of messages"),
        (["--from", "{tmp}/blank.txt"], 2, "there is no text in what was given"),
        ([""], 1, "`text` must not be empty or blank"),
        (["--from", "{tmp}/latin.txt"], 1, "byte 3 of"),
        (["one", "two", "--key", "k"], 2, "belong to one text, got 2"),
        (["one", "{tmp}/log.json"], 2, "--from {tmp}/log.json adds what it says"),
    ],
)
def test_what_cannot_be_added_is_told_and_nothing_is(add, tmp_path, words, status, complaint):
    (tmp_path / "log.json").write_text(json.dumps(LOG), encoding="utf-8")
    (tmp_path / "object.json").write_text('["a", 1]', encoding="utf-8")
    (tmp_path / "no-log.json").write_text('{"a": 1}', encoding="utf-8")
    (tmp_path / "blank.txt").write_text("\n", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")

    done, records, told = add(*(word.format(tmp=tmp_path) for word in words))

    assert (done, records) == (status, [])
    assert complaint.format(tmp=tmp_path) in told


DEEP = "[" * 100_000


@pytest.mark.parametrize("form", ["jsonl", "chat"])
def test_json_that_is_too_deep_is_told(add, tmp_path, form):
    path = tmp_path / "deep.json"
    path.write_text(DEEP)
    status, records, told = add("--from", path, "--format", form)
    assert (status, records) == (1, [])
    assert "nested too deeply" in told
    status, records, told = add("A text.", "--metadata", f"a={DEEP}")
    assert status in (0, 2)
    assert "Traceback" not in told


def test_what_never_ends_is_not_read_to_its_end(add, tmp_path, piped, monkeypatch):
    status, records, told = add("--from", "/dev/zero")
    assert (status, records) == (1, [])
    assert "/dev/zero is a device" in told
    monkeypatch.setattr(reading_files, "MOST", 10)
    (tmp_path / "long.txt").write_text("x" * 11)
    piped(b"x" * 11)
    for words, where in ((("--from", tmp_path / "long.txt"), "long.txt"), (("-",), "the standard")):
        status, records, told = add(*words)
        assert (status, records) == (1, [])
        assert "at most 10 bytes, there are more in" in told
        assert where in told
