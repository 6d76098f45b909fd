"""The command line hands arguments to `Memory`, prints what comes back, and maps errors."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import memkit
from memkit import Answer, Hit, Memory, Recall, Receipt, Record, RecordNotFoundError, Route, Stats
from memkit.answering.explain import Explanation
from memkit.cli import main as cli
from memkit.memory.config import ALL_BACKENDS
from memkit.types import Claim, TransferReport

NOW = datetime(2025, 1, 1, tzinfo=UTC)
PORTER = Record(
    id="r1",
    text="The night porter's badge is 4471.",
    question=None,
    answer=None,
    scope={},
    metadata={},
    created_at=NOW,
    updated_at=NOW,
    version=1,
    content_hash="h",
)
HIT = Hit(PORTER, text=PORTER.text, start=0, end=33, score=0.5, similarity=0.9)
ROUTE = Route(weights={"m0001": 1.0}, reason="one fact was near")
ANSWER = Answer(
    text="4471",
    recall=Recall(
        query="badge?",
        text=PORTER.text,
        hits=(HIT,),
        turns=(),
        route=ROUTE,
        tokens=9,
        budget=512,
        omitted=0,
        counter="words",
    ),
    prompt_tokens=12,
    completion_tokens=3,
    claims=(Claim("badge?", "4471", record_id="r1", supported=True),),
    seconds=0.1,
)
RECEIPT = Receipt(("r1",), 1, 0, (), ("m0001",), (), (), {"ledger": True})
STATS = Stats(1, 1, 0, 1, 0, 0, 2**20, "e", None)
MOVED = TransferReport(Path("x"), 3, 2, 1, 0, 0, 0, skipped=4)
LIGHT = ("open", Path("a.mem"), False, ("buffer",))
CREATED = ("open", Path("a.mem"), True)
OPENED = ("open", Path("a.mem"), False)


class FakeMemory:
    """Keeps what it was asked, and answers with the constants above."""

    def __init__(self):
        self.calls = []
        self.answer = ANSWER

    def open(self, path, *, create=True, backends=ALL_BACKENDS):
        self.calls.append(("open", path, create, *([backends] * (backends != ALL_BACKENDS))))
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.calls.append("closed")

    def add(self, text, **options):
        self.calls.append((text, options))
        return PORTER if isinstance(text, str) else [PORTER] * len(text)

    def consolidate(self, **options):
        self.calls.append(options)
        return "report"

    def search(self, *arguments, **options):
        self.calls.append((*arguments, options))
        return [HIT]

    def ask(self, *arguments, **options):
        self.calls.append((*arguments, options))
        return self.answer

    def explain(self, *arguments, **options):
        self.calls.append((*arguments, options))
        return Explanation(ANSWER.recall, ())

    def forget(self, id, **options):
        if id not in {PORTER.id, None}:
            raise RecordNotFoundError(f"no record has the id {id!r}", "Ids are printed by add.")
        self.calls.append((id, options))
        return RECEIPT

    def stats(self):
        return STATS

    def export(self, file, **options):
        self.calls.append((file, options))
        return MOVED

    def import_(self, file, **options):
        self.calls.append((file, options))
        return MOVED


@pytest.fixture
def memory(monkeypatch):
    fake = FakeMemory()
    monkeypatch.setattr(Memory, "open", fake.open)
    return fake


@pytest.mark.parametrize(
    ("argv", "calls", "printed"),
    [
        (
            ["add", "a.mem", "one", "two"],
            [CREATED, (["one", "two"], {"scope": {}}), "closed"],
            "r1\nr1\n",
        ),
        (
            ["add", "a.mem", "one", "--question", "Which?", "--answer", "one", "--scope", "u=1=2"],
            [
                CREATED,
                ("one", {"question": "Which?", "answer": "one", "scope": {"u": "1=2"}}),
                "closed",
            ],
            "r1\n",
        ),
        (
            ["consolidate", "a.mem", "--scope", "u=1", "--scope", "app=x"],
            [OPENED, {"scope": {"u": "1", "app": "x"}}, "closed"],
            "report\n",
        ),
        (["consolidate", "a.mem"], [OPENED, {"scope": None}, "closed"], "report\n"),
        (
            ["search", "a.mem", "badge", "-k", "1"],
            [OPENED, ("badge", 1, {"scope": {}}), "closed"],
            f"0.500\tr1\t{PORTER.text}\n",
        ),
        (
            ["ask", "a.mem", "badge?", "--budget", "0", "--strict", "--scope", "u=1"],
            [OPENED, ("badge?", 0, {"k": 3, "scope": {"u": "1"}, "strict": True}), "closed"],
            "4471\n",
        ),
        (
            ["explain", "a.mem", "badge?", "-k", "2"],
            [OPENED, ("badge?", 512, {"k": 2, "scope": {}}), "closed"],
            f"{Explanation(ANSWER.recall, ())}\n",
        ),
        (
            ["explain", "a.mem", "badge?", "--json"],
            [OPENED, ("badge?", 512, {"k": 3, "scope": {}}), "closed"],
            f"{Explanation(ANSWER.recall, ()).to_json(indent=2)}\n",
        ),
        (["forget", "a.mem", "r1"], [OPENED, ("r1", {"scope": "all"}), "closed"], f"{RECEIPT}\n"),
        (
            ["forget", "a.mem", "--scope", "u=1"],
            [OPENED, (None, {"scope": {"u": "1"}}), "closed"],
            f"{RECEIPT}\n",
        ),
        (
            ["export", "a.mem", "x"],
            [LIGHT, (Path("x"), {"adapters": False}), "closed"],
            f"{MOVED}\n",
        ),
        (
            ["export", "a.mem", "x", "--adapters"],
            [OPENED, (Path("x"), {"adapters": True}), "closed"],
            f"{MOVED}\n",
        ),
        (
            ["import", "a.mem", "x", "--on-conflict", "skip"],
            [CREATED, (Path("x"), {"adapters": False, "on_conflict": "skip"}), "closed"],
            f"{MOVED}\n",
        ),
        (["stats", "a.mem"], [OPENED, "closed"], f"{STATS}\n"),
    ],
)
def test_a_command_opens_the_memory_asks_it_and_closes_it(memory, capsys, argv, calls, printed):
    assert cli.main(argv) == 0

    assert memory.calls == calls
    assert capsys.readouterr().out == printed


def test_ask_says_on_stderr_where_the_answer_is_from(memory, capsys):
    cli.main(["ask", "a.mem", "badge?"])

    assert capsys.readouterr().err == f"{ROUTE}\ncitations: r1\n"


def test_ask_says_on_stderr_why_it_has_no_answer(memory, capsys):
    memory.answer = replace(ANSWER, text="", withheld="nothing supports '4471'")

    assert cli.main(["ask", "a.mem", "badge?", "--strict"]) == 1
    assert "withheld: nothing supports '4471'\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["add", "a.mem", "one", "two", "--question", "Which?"], "a question belongs to one text"),
        (["search", "a.mem", "x", "--scope", "u=1", "--scope", "u=2"], "expected each key once"),
        (["search", "a.mem", "x", "-k", "0"], "greater than or equal to 1"),
        (["forget", "a.mem"], "name either a record or a scope"),
        (["forget", "a.mem", "r1", "--scope", "u=1"], "name either a record or a scope"),
    ],
)
def test_what_does_not_go_together_is_refused(memory, capsys, argv, message):
    assert cli.main(argv) == 2

    assert message in capsys.readouterr().err
    assert memory.calls == []


def test_an_error_is_printed_with_its_hint_and_no_traceback(memory, capsys):
    assert cli.main(["forget", "a.mem", "r9"]) == 1

    assert capsys.readouterr().err == (
        "memkit: no record has the id 'r9'\nhint: Ids are printed by add.\n"
    )
    assert memory.calls[-1] == "closed"


def test_debug_lets_the_error_through(memory):
    with pytest.raises(RecordNotFoundError, match="no record has the id 'r9'"):
        cli.main(["forget", "--debug", "a.mem", "r9"])


def test_an_error_that_is_not_memkits_is_not_hidden(memory, monkeypatch):
    def broken():
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(memory, "stats", broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        cli.main(["stats", "a.mem"])


def test_an_interrupt_is_no_traceback(memory, monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(memory, "stats", interrupted)

    assert cli.main(["stats", "a.mem"]) == 130
    assert capsys.readouterr().err == "memkit: interrupted\n"


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nonsense"],
        ["add", "a.mem"],
        ["demo", "--seed", "x"],
        ["bench", "train"],
        ["eval", "routing"],
        ["search", "a.mem", "x", "--scope", "ada"],
    ],
)
def test_wrong_usage_exits_with_2(argv, capsys):
    assert cli.main(argv) == 2
    assert "Usage: memkit" in capsys.readouterr().err


def test_the_demo_gets_its_options_and_gives_the_exit_status(monkeypatch):
    from memkit.cli.demo import demo_run

    calls = []
    monkeypatch.setattr(demo_run, "main", lambda **options: calls.append(options) or 3)

    assert cli.main(["demo", "--quick", "--seed", "7", "--json", "figures.json"]) == 3
    assert cli.main(["demo"]) == 3
    assert calls == [
        {"quick": True, "seed": 7, "json_path": Path("figures.json")},
        {"quick": False, "seed": 0, "json_path": None},
    ]


def test_python_m_memkit_is_the_command():
    result = subprocess.run(
        [sys.executable, "-m", "memkit", "--version"], capture_output=True, text=True, check=True
    )

    assert result.stdout == f"memkit {memkit.version.__version__}\n"


@pytest.mark.real
def test_a_memory_from_the_command_line(tmp_path, capsys):
    path = str(tmp_path / "agent.mem")

    assert cli.main(["add", path, PORTER.text, "The archive is on the second floor."]) == 0
    porter, archive = capsys.readouterr().out.split()
    assert cli.main(["search", path, "Where is the archive?"]) == 0
    assert capsys.readouterr().out.split()[1] == archive
    assert cli.main(["forget", path, porter]) == 0
    assert porter in capsys.readouterr().out
    assert cli.main(["stats", path]) == 0
    assert capsys.readouterr().out.startswith("1 records")


def test_a_path_that_is_no_memory_is_refused(tmp_path, capsys):
    assert cli.main(["stats", str(tmp_path / "nothing")]) == 1

    assert capsys.readouterr().err.startswith("memkit: ")
    assert not (tmp_path / "nothing").exists()


def test_reembed_adopts_the_embedder_on_opening(monkeypatch, capsys):
    calls = []

    class Reembedded(FakeMemory):
        def open(self, path, **options):
            calls.append((path, options))
            return self

    monkeypatch.setattr(Memory, "open", Reembedded().open)

    assert cli.main(["reembed", "a.mem", "some/model"]) == 0
    options = {"create": False, "backends": ("rag",), "embedder": "some/model", "rebuild": True}
    assert calls == [(Path("a.mem"), options)]
    assert capsys.readouterr().out == f"{STATS}\n"
