"""The page about the server, followed from its first command to its last."""

import os
import re
import signal
import subprocess
import sys

import pytest

from docs import pages

PAGE = pages.DOCS / "server.md"
BLOCK = re.compile(
    r'^```(sh|python|text)(?: title="[\w.]+")?\n(.*?)^```$', re.DOTALL | re.MULTILINE
)
SERVE = "memkit serve agent.mem --keys keys.toml\n"
AT = "http://127.0.0.1:8000"


class Reader:
    """Somebody who types what the page says."""

    def __init__(self, folder):
        self.folder = folder
        self.names, self.server, self.url, self.printed = {}, None, AT, ""
        self.environment = os.environ | {"PYTHON": sys.executable, "MEMKIT_KEY": ""}

    def types(self, language, code, monkeypatch, capsys):
        if language == "python":
            monkeypatch.setenv("MEMKIT_KEY", self.environment["MEMKIT_KEY"])
            exec(compile(code.replace(AT, self.url), str(PAGE), "exec"), self.names)
            self.printed = capsys.readouterr().out
        else:
            self.printed = self.runs(code.replace(SERVE, "").replace(AT, self.url))
            if SERVE in code:
                self.starts()

    def runs(self, script):
        script = re.sub(r"^pip .*$", "", script, flags=re.MULTILINE)  # all is installed
        memkit = 'memkit() { "$PYTHON" -m memkit "$@"; }\nset -eu\n'
        done = subprocess.run(
            ["bash", "-c", f"{memkit}{script}\nprintf %s \"$MEMKIT_KEY\" > key"],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self.environment["MEMKIT_KEY"] = (self.folder / "key").read_text()
        return done.stdout.replace("}{", "}\n{")  # curl ends no lines

    def starts(self):
        words = [*SERVE.split()[1:], "--port", "0"]  # 8000 may be taken
        self.server = subprocess.Popen(
            [sys.executable, "-m", "memkit", *words],
            cwd=self.folder, env=self.environment, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        lines = iter(self.server.stderr.readline, "")
        self.url = next(found[1] for line in lines if (found := re.search(r"on (http\S+)", line)))

    def stops(self):
        if "client" in self.names:
            self.names["client"].close()
        if self.server is not None:
            self.server.send_signal(signal.SIGTERM)
            with self.server.stderr:
                self.server.stderr.read()
            assert self.server.wait() == 0


@pytest.mark.real
def test_the_page_can_be_followed(tmp_path, monkeypatch, capsys, smollm2, minilm):
    reader, followed = Reader(tmp_path), 0
    try:
        for language, code in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
            if language == "text":
                assert pages.agrees(reader.printed, code), reader.printed
                followed += 1
            else:
                reader.types(language, code, monkeypatch, capsys)
    finally:
        reader.stops()
    assert followed == 6


def test_the_options_and_calls_that_are_named_exist():
    from memkit.cli.app import command_line
    from memkit.server.http.http_app import create_app

    text = PAGE.read_text(encoding="utf-8")
    serve = command_line().commands["serve"]
    options = {name for option in serve.params for name in option.opts + option.secondary_opts}
    assert set(re.findall(r"`(--[\w-]+)`", text)) <= options

    app = create_app(None, None).app
    paths = {path for path in app.openapi()["paths"] if not path.startswith("/v1")}
    assert set(re.findall(r"(?<=[ `])(/(?:memory|health)[\w/{}]*)`", text)) == paths


def test_the_defaults_that_are_named_are_those_of_the_command():
    import inspect

    from memkit.cli.serve_commands import serve
    from memkit.server.http.openai_schema import MemoryOptions
    from memkit.server.http.serving_limits import Limits

    text = PAGE.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `--([\w-]+)` \|[^|]*\| ([^|]+) \|", text, re.MULTILINE))
    parameters = inspect.signature(serve).parameters
    for name, shown in rows.items():
        default = parameters[name.replace("-", "_")].default
        assert default == (1 << 20 if shown == "1 MiB" else float(shown)), name
    limits = Limits()
    of_command = [parameters[f"max_{name}"].default for name in ("body", "seconds", "requests")]
    assert of_command == [limits.body, limits.seconds, limits.requests]
    assert parameters["max_per_key"].default == limits.requests_per_key
    assert parameters["batch"].default == limits.batch
    assert limits.max_tokens == 1024

    options = re.findall(r"^\| `(\w+)` \|[^|]*\| ([\w.]+) \|$", text, re.MULTILINE)
    fields = MemoryOptions.model_fields
    assert {name for name, _ in options} == fields.keys()
    spelled = {"false": "False", "null": "None"}
    assert {n: spelled.get(d, d) for n, d in options} == {
        name: str(field.default) for name, field in fields.items()
    }
