"""Every block of Python and every command in the documentation runs as it stands.

Commands that set things up or take hours are of kinds that are listed here; of those the names
that they use are checked.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import mcp.client.stdio  # noqa: F401 - it takes stderr as it is now, before it is captured
import pytest
from opentelemetry import trace
from opentelemetry.util._once import Once

from docs import pages
from memkit.cli.reference import reference
from memkit.models.sources import quiet

ALL = [pages.read(path) for path in pages.PAGES]
RUN = [page for page in ALL if page.runs]
FIRST = [page for page in RUN if page.before is None]
EXTRAS = {
    extra
    for folder in (pages.ROOT, pages.ROOT / "integrations" / "langchain")
    for extra in tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
}


class HostedModel(BaseHTTPRequestHandler):
    """Stands for a hosted model: answers with what it was shown that fits best."""

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        request = json.loads(self.rfile.read(length))
        self.server.requests.append(request)
        last, message = request["messages"][-1], {"role": "assistant"}
        asked = last["content"] if last["role"] == "user" else ""
        if request.get("tools") and asked.startswith("Please remember: "):
            arguments = {"text": asked.removeprefix("Please remember: ")}
            function = {"name": "remember", "arguments": json.dumps(arguments)}
            call = {"id": "call_1", "type": "function", "function": function}
            message |= {"content": None, "tool_calls": [call]}
        else:
            seen = [m["content"] for m in request["messages"] if m["role"] == "system"]
            lines = re.findall(r"^(?:- |user: )(.*\.)$", "\n".join(seen), re.MULTILINE)
            words = set(re.findall(r"\w+", asked.lower()))
            shared = [len(words & set(re.findall(r"\w+", line.lower()))) for line in lines]
            best = max(zip(shared, lines, strict=True), default=(0, ""))
            message["content"] = best[1] if best[0] else "I do not know."
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        reply = {"id": "1", "object": "chat.completion", "created": 0, "model": request["model"],
                 "choices": [choice]}  # fmt: skip
        body = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def hosted_model():
    with ThreadingHTTPServer(("127.0.0.1", 0), HostedModel) as server:
        server.requests = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path, monkeypatch, hosted_model, tiny):
    """Where a reader works: the examples lie there, and a base model of their own."""
    # A process can set this up once only, and the pages are many readers.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{hosted_model.server_port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    home = tmp_path / "first"
    home.mkdir()
    with quiet():  # what pages call my-model
        tiny.model.save_pretrained(home / "my-model")
        tiny.tokenizer.save_pretrained(home / "my-model")
    return home


@pytest.mark.real
@pytest.mark.parametrize("first", FIRST, ids=lambda page: page.name)
def test_a_page_runs_as_it_stands(first, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    pages.run(first, capsys)
    for number, page in enumerate(page for page in RUN if page.before == first.path):
        copy = folder.parent / str(number)
        shutil.copytree(folder, copy)
        monkeypatch.chdir(copy)
        pages.run(page, capsys)


def test_pages_go_on_from_pages_that_run():
    assert {page.before for page in RUN} <= {page.path for page in FIRST} | {None}


COMMANDS = [(page.name, command) for page in ALL for command, _ in page.commands()]


@pytest.fixture(scope="module")
def benchmarks():
    done = subprocess.run(
        [sys.executable, "tests/benchmarks", "--help"],
        cwd=pages.ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_commands_are_run_or_name_what_there_is(page, command, benchmarks):
    program, *arguments = shlex.split(command)
    given = dict(word.split("=", 1) for word in arguments if re.match(r"[A-Z]+=", word))
    if program == "make":
        makefile = (pages.ROOT / "Makefile").read_text(encoding="utf-8")
        assert re.search(rf"^{arguments[0]}:", makefile, re.MULTILINE)
        assert "NAME" not in given or re.search(rf"\b{given['NAME']}\b", benchmarks)
    elif program == "pip":
        assert arguments[0] == "install"
        for extra in re.findall(r"\[([\w,]+)\]", command):
            assert set(extra.split(",")) <= EXTRAS
    elif program == "python" and arguments[0] == "tests/benchmarks":
        assert arguments[1].startswith("--") or re.search(rf"\b{arguments[1]}\b", benchmarks)
    elif program == "source":
        assert arguments == [".venv/bin/activate"]  # which make setup creates
    elif program in {"python", "pytest"}:
        assert (pages.ROOT / arguments[0].partition("::")[0]).exists()
    else:
        assert program == "memkit", f"{page}: {command} is of no kind that is known"


def test_code_with_a_title_is_run_by_a_test_of_its_page():
    tests = [path.read_text(encoding="utf-8") for path in pages.ROOT.glob("tests/*/test_*.py")]
    for page in ALL:
        if re.search(r"^ *```python .+$", page.path.read_text(encoding="utf-8"), re.MULTILINE):
            assert any(f'"{page.path.name}"' in test for test in tests), page.name


def shell_lines():
    for page in ALL:
        text = page.path.read_text(encoding="utf-8")
        for block in re.findall(r"^```(?:sh|bash)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            for line in block.replace("\\\n", " ").splitlines():
                yield page.name, line


def test_commands_that_wait_for_a_client_have_the_options_that_they_are_given():
    sections = re.split(r"^## `(memkit \w+)`$", reference(), flags=re.MULTILINE)
    known = dict(zip(sections[1::2], sections[2::2], strict=True))
    for page, line in shell_lines():
        for command, options in re.findall(r"(memkit (?!-)\w+)([^)|]*)", line.partition(" #")[0]):
            for option in re.findall(r"--[\w-]+", options):
                assert f"`{option}" in known[command], f"{page}: {line}"
