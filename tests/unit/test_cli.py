"""The command line hands arguments to `Memory`, prints what comes back, and maps errors."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import memkit
from memkit import (
    Answer,
    ConsolidationReport,
    Draft,
    Hit,
    Memory,
    Page,
    Recall,
    Receipt,
    Record,
    RecordNotFoundError,
    Route,
    Stats,
    Version,
)
from memkit.cli import main as cli
from memkit.memory.config import ALL_BACKENDS
from memkit.types import UNCHANGED, Claim, Sampling, TransferReport
from memkit.types.explanation import Explanation

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
LIGHT = ("open", "a.mem", False, ("buffer",))
CREATED = ("open", "a.mem", True)
OPENED = ("open", "a.mem", False)
TRAINS = (*OPENED, "shows training")


class FakeStream:
    """Gives an answer in two pieces."""

    def __init__(self, answer):
        self.answer = answer
        self._pieces = iter([answer.text[:2], answer.text[2:]])

    def __next__(self):
        return next(self._pieces)


class FakeMemory:
    """Keeps what it was asked, and answers with the constants above."""

    def __init__(self):
        self.calls = []
        self.answer = ANSWER
        self.modules = self

    def open(self, path, *, create=True, backends=ALL_BACKENDS, recipe=None, **models):
        more = [backends] if backends != ALL_BACKENDS else []
        more += ["shows training"] if recipe is not None and recipe.progress is not None else []
        more += [models] if models else []
        self.calls.append(("open", path, create, *more))
        return self

    def close(self):
        self.calls.append("closed")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.calls.append("closed")

    def add(self, texts, **options):
        self.calls.append((texts, options))
        return [PORTER] * len(texts)

    def update(self, id, **options):
        self.calls.append((id, options))
        return PORTER

    def get(self, id, **options):
        self.calls.append((id, options))
        return PORTER

    def get_many(self, ids, **options):
        return [PORTER for id in ids if id == PORTER.id]

    def records(self, **options):
        self.calls.append(options)
        return Page((PORTER,), None)

    def history(self, id, **options):
        self.calls.append((id, options))
        return [Version(id, 1, PORTER.text, None, None, {}, NOW)]

    def list(self):
        return ["a module"]

    def consolidate(self, **options):
        self.calls.append(options)
        return ConsolidationReport((), 0.0)

    def compact(self, **options):
        self.calls.append(options)
        return ConsolidationReport((), 0.0)

    def retrain(self, names):
        self.calls.append(names)
        return ConsolidationReport((), 0.0)

    def search(self, *arguments, **options):
        self.calls.append((*arguments, options))
        return [HIT]

    def recall(self, *arguments, **options):
        self.calls.append((*arguments, options))
        return ANSWER.recall

    def ask(self, *arguments, **options):
        self.calls.append((*arguments, options))
        return self.answer

    def stream(self, *arguments, **options):
        self.calls.append((*arguments, options))
        return FakeStream(self.answer)

    def explain(self, *arguments, **options):
        self.calls.append((*arguments, options))
        return Explanation(ANSWER.recall, ())

    def forget(self, ids, **options):
        if ids not in ([PORTER.id], None):
            raise RecordNotFoundError(f"no record has the id {ids[0]!r}", "Ids are printed by add.")
        self.calls.append((ids, options))
        return RECEIPT

    def stats(self, **options):
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


ANYTIME = {"since": None, "until": None, "as_of": None}
ASKED = {"k": 3, "scope": {}, "where": None, **ANYTIME, "strict": False, "quote": None}
NOTHING = ConsolidationReport((), 0.0)


def drafts(*texts, **given):
    return [Draft(text, **given) for text in texts]


@pytest.mark.parametrize(
    ("argv", "calls", "printed"),
    [
        (["add", "a.mem", "one", "two"], [CREATED, (drafts("one", "two"), {})], "r1\nr1\n"),
        (
            ["add", "a.mem", "one", "--question", "Which?", "--answer", "one", "--scope", "u=1=2"],
            [CREATED, (drafts("one", question="Which?", answer="one", scope={"u": "1=2"}), {})],
            "r1\n",
        ),
        (
            ["add", "a.mem", "one", "--metadata", "source=hr", "--metadata", "year:=2020",
             "--metadata", '{"tags": ["a"]}', "--at", "2025-01-01", "--ttl", "60", "--pinned",
             "--key", "k"],
            [CREATED, (drafts(
                "one", metadata={"source": "hr", "year": 2020, "tags": ["a"]}, at=NOW, ttl=60.0,
                pinned=True, key="k",
            ), {})],
            "r1\n",
        ),
        (
            ["update", "a.mem", "r1", "new", "--question", "", "--metadata", "a=b"],
            [OPENED, ("r1", {"scope": "all"}),
             ("r1", {"text": "new", "question": None, "answer": UNCHANGED, "metadata": {"a": "b"},
                     "scope": "all"})],
            f"{PORTER}\n",
        ),
        (
            ["get", "a.mem", "r1", "--scope", "u=1"],
            [LIGHT, ("r1", {"scope": {"u": "1"}})],
            f"id\tr1\ntext\t{PORTER.text}\nversion\t1\nadded\t2025-01-01 00:00 UTC\n",
        ),
        (
            ["list", "a.mem", "--where", "a=b", "--where", '{"n": {"$gt": 1}}', "--limit", "5"],
            [LIGHT, {"scope": "all", "after": None, "limit": 5,
                     "where": {"$and": [{"a": "b"}, {"n": {"$gt": 1}}]}}],
            f"r1\t\t{PORTER.text}\n",
        ),
        (
            ["history", "a.mem", "r1"],
            [LIGHT, ("r1", {"scope": "all"})],
            f"1\t2025-01-01 00:00\t\t{PORTER.text}\n",
        ),
        (
            ["consolidate", "a.mem", "--scope", "u=1", "--scope", "app=x", "--retry-missed"],
            [LIGHT, "closed", TRAINS, {"scope": {"u": "1", "app": "x"}, "where": None,
                                       "include_turns": False, "retry_missed": True}],
            f"{NOTHING}\n",
        ),
        (
            ["consolidate", "a.mem", "--rebuild"],
            [LIGHT, "closed", (*TRAINS, {"rebuild": True}),
             {"scope": None, "where": None, "include_turns": False, "retry_missed": False}],
            f"{NOTHING}\n",
        ),
        (["modules", "retrain", "a.mem"], [LIGHT, "closed", TRAINS, None], ""),
        (["modules", "retrain", "a.mem", "m1"], [LIGHT, "closed", TRAINS, ["m1"]], ""),
        (["modules", "compact", "a.mem", "--scope", "u=1"],
         [LIGHT, "closed", TRAINS, {"scope": {"u": "1"}}], f"{NOTHING}\n"),
        (
            ["search", "a.mem", "badge", "-k", "1", "--since", "2025-01-01"],
            [("open", "a.mem", False, ("rag",)),
             ("badge", 1, {"scope": {}, "where": None, **ANYTIME, "since": NOW})],
            f"0.500\tr1\t{PORTER.text}\n",
        ),
        (
            ["recall", "a.mem", "badge?", "--budget", "40"],
            [OPENED, ("badge?", 40, {"k": 5, "scope": {}, "where": None, **ANYTIME})],
            f"{PORTER.text}\n",
        ),
        (
            ["ask", "a.mem", "badge?", "--budget", "0", "--strict", "--scope", "u=1"],
            [OPENED, ("badge?", 0, {**ASKED, "scope": {"u": "1"}, "strict": True})],
            "4471\n",
        ),
        (
            ["ask", "a.mem", "badge?", "--json", "--no-quote", "--max-tokens", "9"],
            [OPENED, ("badge?", 512, {**ASKED, "quote": False,
                                      "sampling": Sampling(max_new_tokens=9)})],
            f"{ANSWER.to_json(indent=2)}\n",
        ),
        (
            ["explain", "a.mem", "badge?", "-k", "2", "--where", "a=b", "--since", "2025-01-01"],
            [OPENED, ("badge?", 512, {"k": 2, "scope": {}, "where": {"a": "b"}, **ANYTIME,
                                      "since": NOW})],
            f"{Explanation(ANSWER.recall, ())}\n",
        ),
        (
            ["explain", "a.mem", "badge?", "--json"],
            [OPENED, ("badge?", 512, {"k": 3, "scope": {}, "where": None, **ANYTIME})],
            f"{Explanation(ANSWER.recall, ()).to_json(indent=2)}\n",
        ),
        (
            ["forget", "a.mem", "r1"],
            [LIGHT, "closed", LIGHT, "closed", TRAINS,
             (["r1"], {"scope": "all", "where": None, "retrain": True})],
            f"{RECEIPT}\n",
        ),
        (
            ["forget", "a.mem", "--scope", "u=1", "--where", "a=b", "--no-retrain"],
            [LIGHT, "closed",
             LIGHT, (None, {"scope": {"u": "1"}, "where": {"a": "b"}, "retrain": False})],
            f"{RECEIPT}\n",
        ),
        (
            ["export", "a.mem", "x", "--scope", "u=1"],
            [LIGHT, (Path("x"), {"scope": {"u": "1"}, "adapters": False})],
            f"{MOVED}\n",
        ),
        (
            ["export", "a.mem", "x", "--adapters"],
            [OPENED, (Path("x"), {"scope": None, "adapters": True})],
            f"{MOVED}\n",
        ),
        (
            ["import", "a.mem", "x", "--on-conflict", "skip"],
            [CREATED, (Path("x"), {"scope": None, "adapters": False, "on_conflict": "skip"})],
            f"{MOVED}\n",
        ),
        (["stats", "a.mem"], [LIGHT], f"{STATS}\n"),
        (["stats", "a.mem", "--json"], [LIGHT], f"{STATS.to_json(indent=2)}\n"),
    ],
)  # fmt: skip
def test_a_command_opens_the_memory_asks_it_and_closes_it(memory, capsys, argv, calls, printed):
    assert cli.main(argv) == 0

    assert memory.calls == [*calls, "closed"]
    assert capsys.readouterr().out == printed


def test_ask_says_on_stderr_where_the_answer_is_from(memory, capsys):
    cli.main(["ask", "a.mem", "badge?"])

    assert capsys.readouterr().err == (
        f"source: r1 {PORTER.text}\nadapters: m0001 x 1.00; 12 tokens of prompt\n"
    )


@pytest.mark.parametrize(
    ("tokens", "way"),
    [
        (0, "found in the index; no adapter and no prompt were needed"),
        (1, "no adapter was used; 1 token of prompt"),
    ],
)
def test_ask_says_so_if_no_adapter_was_used(memory, capsys, tokens, way):
    bare = replace(ANSWER.recall, route=Route(weights={}))
    memory.answer = replace(ANSWER, recall=bare, prompt_tokens=tokens)

    cli.main(["ask", "a.mem", "badge?"])

    assert capsys.readouterr().err.splitlines()[-1] == way


def test_ask_says_on_stderr_why_it_has_no_answer(memory, capsys):
    memory.answer = replace(ANSWER, text="", withheld="nothing supports '4471'")

    assert cli.main(["ask", "a.mem", "badge?", "--strict"]) == 3
    assert "withheld: nothing supports '4471'\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["add", "a.mem", "one", "two", "--question", "Which?"], "belong to one text"),
        (["search", "a.mem", "x", "--scope", "u=1", "--scope", "u=2"], "expected each key once"),
        (["search", "a.mem", "x", "-k", "0"], "expected 1 or more, got 0"),
        (["forget", "a.mem"], "expected an ID, a --scope or a --where"),
        (["forget", "a.mem", "r1", "--no-retrain", "--embedder", "x"], "there is none to choose"),
        (["update", "a.mem", "r1"], "expected a new text, question, answer or metadata"),
        (["add", "a.mem"], "expected a text, - or --from FILE"),
        (["add", "a.mem", "  ", "--metadata", "a"], "expected KEY=TEXT, KEY:=JSON or a JSON"),
        (["add", "a.mem", "x", "--metadata", "a=1", "--metadata", "a=2"], "each key once"),
        (["update", "a.mem", "r1", "--metadata", "a=b", "--remove-metadata", "a"], "taken out"),
        (["list", "a.mem", "--where", '{"a": {"$foo": 1}}'], "expected one of $eq, $ne, $gt"),
        (["list", "a.mem", "--where", "a:=x"], "expected JSON, got 'a:=x'"),
        (["search", "a.mem", "x", "--since", "yesterday"], "expected a time such as"),
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
    def broken(**_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(memory, "stats", broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        cli.main(["stats", "a.mem"])


def test_an_interrupt_is_no_traceback(memory, monkeypatch, capsys):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(memory, "stats", interrupted)

    assert cli.main(["stats", "a.mem"]) == 130
    assert capsys.readouterr().err == "memkit: interrupted\n"


@pytest.mark.parametrize(
    "argv",
    [
        ["nonsense"],
        ["add"],
        ["demo", "--seed", "x"],
        ["bench", "train"],
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

    given = ["--full", "--seed", "7", "--base-model", "m", "--embedder", "e", "--json", "f.json"]
    assert cli.main(["demo", *given]) == 3
    assert cli.main(["demo"]) == 3
    named, none = {"base_model": "m", "embedder": "e"}, {"base_model": None, "embedder": None}
    assert calls == [
        {"full": True, "seed": 7, "models": named, "json_path": Path("f.json")},
        {"full": False, "seed": 0, "models": none, "json_path": None},
    ]


def test_the_demo_runs_on_the_models_that_are_named(tmp_path, capsys):
    assert cli.main(["demo", "--base-model", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_the_environment_may_name_the_models(memory, monkeypatch):
    looked_for = []
    for kind in ("base", "embedder"):
        monkeypatch.setattr(f"memkit.models.sources.find_{kind}", looked_for.append)
    monkeypatch.setenv("MEMKIT_BASE_MODEL", "a/model")
    monkeypatch.setenv("MEMKIT_EMBEDDER", "an/embedder")

    assert cli.main(["ask", "a.mem", "x", "--base-model", "another/model"]) == 0
    assert looked_for == ["another/model", "an/embedder"]  # what is said on the command line counts
    assert memory.calls[0][-1] == {"base_model": "another/model", "embedder": "an/embedder"}


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
    assert capsys.readouterr().out.startswith("1 record (")


def test_a_path_that_is_no_memory_is_refused(tmp_path, capsys):
    assert cli.main(["stats", str(tmp_path / "nothing")]) == 1

    assert capsys.readouterr().err.startswith("memkit: ")
    assert not (tmp_path / "nothing").exists()


def test_reembed_adopts_the_embedder_on_opening(monkeypatch, capsys):
    calls, looked_for = [], []

    class Reembedded(FakeMemory):
        def open(self, path, **options):
            calls.append((path, options))
            return self

    monkeypatch.setattr(Memory, "open", Reembedded().open)
    monkeypatch.setattr("memkit.models.sources.find_embedder", looked_for.append)

    assert cli.main(["reembed", "a.mem", "some/model"]) == 0
    options = {"create": False, "backends": ("rag",), "embedder": "some/model", "rebuild": True}
    assert [opened for _, opened in calls] == [{"create": False, "backends": ("buffer",)}, options]
    assert looked_for == ["some/model"]
    assert capsys.readouterr().out == f"{STATS}\n"
