"""The command line as a process: whatever becomes of its output, it ends with a status for it."""

import io
import logging
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from memkit import Memory
from memkit.cli import main as cli
from memkit.cli.output import NoteHandler
from memkit.testing import HashingEmbedder

pytestmark = pytest.mark.slow

FULL = Path("/dev/full")
TEXT = "Der Schlüssel liegt in Malmö ☃."
LATIN_1 = b"caf\xe9"

needs_full_device = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A memory that the command line opens without a model."""
    path = tmp_path_factory.mktemp("cli") / "agent.mem"
    with Memory.open(path, embedder=HashingEmbedder()) as memory:
        memory.add([TEXT] + [f"Locker {n} is red." for n in range(3)])
    return path


# As `memkit`, with an embedder that needs no files.
PROGRAM = """
import sys
import logging
import memkit.memory.engine
from memkit import Memory
from memkit.cli.main import main
from memkit.testing import HashingEmbedder
opened = Memory.open.__func__
def with_embedder(cls, path, **options):
    logging.getLogger("another.library").warning("no kernels")
    return opened(cls, path, embedder=HashingEmbedder(), **options)
Memory.open = classmethod(with_embedder)
sys.exit(main())
"""


def run(*arguments, stdout=subprocess.PIPE, buffered=True, **environment):
    """One run of the command: its status, its output and what it complained about."""
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    variables |= {} if buffered else {"PYTHONUNBUFFERED": "1"}
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=variables | environment,
        check=False,
    )
    return process.returncode, process.stdout, process.stderr.decode()


CASES = [
    (["search", "{}", "locker"], True),
    (["search", "{}", "locker"], False),
    (["--help"], True),
]


@pytest.mark.parametrize(("arguments", "buffered"), CASES)
def test_a_reader_that_goes_away_is_no_error(path, arguments, buffered):
    reading, writing = os.pipe()
    os.close(reading)
    arguments = [argument.format(path) for argument in arguments]
    status, _, complaint = run(*arguments, stdout=writing, buffered=buffered)
    os.close(writing)
    assert (status, complaint) == (141, "")


@needs_full_device
@pytest.mark.parametrize(("arguments", "buffered"), CASES)
def test_output_that_does_not_fit_is_not_lost_silently(path, arguments, buffered):
    arguments = [argument.format(path) for argument in arguments]
    with FULL.open("w") as full:
        status, _, complaint = run(*arguments, stdout=full, buffered=buffered)
    reason = "the output or a file cannot be written or read: No space left on device"
    assert (status, complaint) == (1, f"memkit: {reason}\n")


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_what_the_encoding_lacks_is_escaped(path, environment):
    status, output, complaint = run("search", path, "liegt", "-k", "1", **environment)
    assert (status, complaint) == (0, "")
    text = output.decode("ascii").strip().split("\t")[2]
    assert text.encode().decode("unicode_escape") == TEXT


def test_a_closed_output_is_told(path):
    command = f"{sys.executable} -c '{PROGRAM}' stats {path} >&-"
    closed = subprocess.run(command, shell=True, capture_output=True, check=False)
    assert closed.returncode == 1
    assert closed.stderr == (
        b"memkit: the standard output is closed, so nothing could be printed\n"
    )


def test_a_closed_stderr_does_not_put_messages_into_the_output(path):
    command = f"{sys.executable} -c '{PROGRAM}' stats {path}-not-there 2>&-"
    closed = subprocess.run(command, shell=True, capture_output=True, check=False)
    assert (closed.returncode, closed.stdout) == (1, b"")


@pytest.mark.parametrize(
    "interrupt",
    [
        "os.kill(os.getpid(), signal.SIGINT)",
        # In a text that is run, as dataclasses are made: Python remembers that, and would end by
        # the signal.
        'exec("import os, signal; os.kill(os.getpid(), signal.SIGINT); [0 for _ in [0] * 99]")',
    ],
    ids=["code", "text"],
)
def test_an_interrupt_is_told_in_a_word(path, tmp_path, interrupt):
    # The process interrupts itself where it opens the memory, as Ctrl-C does.
    interrupted = PROGRAM.replace(
        "sys.exit(main())",
        "import os, signal\n"
        # A shell that runs the tests in the background lets them ignore it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"Memory.open = lambda *_, **__: {interrupt}\n"
        "sys.exit(main())",
    )
    (tmp_path / "interrupted.py").write_text(interrupted)
    for run in (["-m", "interrupted"], [tmp_path / "interrupted.py"]):
        process = subprocess.run(
            [sys.executable, *run, "stats", path], capture_output=True, check=False, cwd=tmp_path
        )
        assert (process.returncode, process.stderr) == (
            128 + signal.SIGINT,
            b"memkit: interrupted\n",
        )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["add", "{}", LATIN_1], "must be valid Unicode, found the lone surrogate"),
        (["search", "{}", LATIN_1], "`query` must be valid Unicode"),
        (["search", "{}", "x", "--scope", b"u=" + LATIN_1], "`scope` must be valid Unicode"),
        (["forget", "{}", LATIN_1], "`id` must be valid Unicode"),
        (["forget", "{}", "nobody"], "no record has the id"),
        (["stats", b"/nowhere/" + LATIN_1], "there is no memory at"),
        (["stats", "/dev/null"], "expected a directory"),
        (["import", "{}", "/nowhere"], "there is no file '/nowhere' to import"),
        (["import", "{}", "{}/ledger.sqlite3"], "expected a whole archive of memkit"),
        (["export", "{}", "/nowhere/x"], "there is no folder"),
        (["export", "{}", "/tmp"], "found a folder\nhint: Give the path of a file"),
    ],
)
def test_bad_arguments_are_told_without_a_traceback(
    path, monkeypatch, capsys, arguments, complaint
):
    opened = partial(Memory.open, embedder=HashingEmbedder())
    monkeypatch.setattr(Memory, "open", opened)
    words = [os.fsdecode(a.format(path) if isinstance(a, str) else a) for a in arguments]
    assert cli.main(words) == 1
    output, told = capsys.readouterr()
    assert output == ""
    assert told.startswith("memkit: ")
    assert complaint in told


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["list", "x", "--limit", "many"], "'--limit': expected a whole number, got many\n"),
        (["list", "x", "--limit", "0"], "'--limit': expected 1 or more, got 0\n"),
        (["serve", "x", "--port", "99999"], "'--port': expected 65535 or less, got 99999\n"),
        (["study", "--minutes", "x"], "'--minutes': expected a number, got x\n"),
        (
            ["add", "x", "y", "--format", "csv"],
            "'csv' is not one of 'auto', 'text', 'jsonl', 'chat'\n",
        ),
    ],
)
def test_what_is_wrong_with_a_value_is_said_in_plain_words(capsys, words, complaint):
    assert cli.main(words) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["modules"]])
def test_without_a_command_the_help_is_all_that_is_said(capsys, words):
    assert cli.main(words) == 2
    output, told = capsys.readouterr()
    assert "Usage: memkit" in output
    assert told == ""


@pytest.mark.parametrize("file", ["/nowhere/figures.json", "/"])
def test_figures_are_measured_only_if_they_can_be_written(file, capsys):
    assert cli.main(["demo", "--json", file]) == 2
    assert "'--json': expected a file" in capsys.readouterr().err


def test_a_warning_is_printed_and_the_result_is_not_mixed_with_it(tmp_path):
    status, id, told = run(
        "add", str(tmp_path / "new.mem"), "Nora has badge 4471.", "--question", "Which badge?",
        "--answer", "9911",
    )  # fmt: skip
    assert (status, len(id.split())) == (0, 1)
    assert told == (
        f"memkit: the text of the record {id.decode().strip()} does not say the answer to its "
        "question: put the answer into the text, or correct it with update()\n"
    )


def test_a_log_makes_way_for_what_shows_progress(monkeypatch):
    handler = NoteHandler()
    display = io.StringIO()  # what rich puts in the place of stderr while it shows progress
    monkeypatch.setattr(sys, "stderr", display)
    handler.handle(logging.makeLogRecord({"msg": "careful", "name": "other.part"}))
    assert display.getvalue() == "other: careful\n"  # the package that says it


def test_what_other_libraries_warn_of_is_shown_on_demand(path):
    assert run("search", path, "locker")[2] == ""
    assert "another: no kernels" in run("search", path, "locker", "--debug")[2]


def test_what_is_done_is_logged_on_stderr_if_asked_for(path):
    assert run("search", path, "locker")[2] == ""
    status, _, log = run("search", path, "locker", "--debug")
    assert status == 0
    assert any(line.startswith("memkit: search: ") for line in log.splitlines()), log
    assert "locker" not in log  # what is asked is no business of a log
