"""The command line of the benchmarks, and the benchmark `ask` on its tiny model."""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from benchmarks import command, processes, report
from benchmarks.engine import ask
from benchmarks.store import peers

from memkit.errors import InvalidInputError, MissingDependencyError

FOLDER = Path(command.__file__).parent


@pytest.mark.parametrize("name", sorted(command.BENCHMARKS))
def test_a_benchmark_gets_the_options_that_it_declares(name, monkeypatch, tmp_path):
    benchmark = command.BENCHMARKS[name]
    module = import_module(f"benchmarks.{benchmark.module}")
    accepted = set(module.main.__kwdefaults__ or {}) | set(module.main.__annotations__)
    given = []
    monkeypatch.setattr(module, "main", lambda **options: given.append(options) or 3)

    assert command.main([name, "--json", str(tmp_path / "f.json")]) == 3

    assert given[0].pop("json_path") == tmp_path / "f.json"
    assert set(given[0]) == set(benchmark.options)
    assert set(given[0]) <= accepted


def test_data_are_named_by_option_or_environment(monkeypatch):
    routing = import_module("benchmarks.evals.routing")
    folders = []
    monkeypatch.setattr(routing, "main", lambda **options: folders.append(options["data"]) or 0)

    monkeypatch.delenv("MEMKIT_EVAL_DATA", raising=False)
    command.main(["routing"])
    monkeypatch.setenv("MEMKIT_EVAL_DATA", "a")
    command.main(["routing"])
    command.main(["routing", "--data", "b"])

    assert folders == [None, Path("a"), Path("b")]


def test_missing_data_are_an_error_with_a_hint(tmp_path, capsys):
    assert command.main(["train", "--data", str(tmp_path)]) == 1

    message = capsys.readouterr().err
    assert message.startswith("python tests/benchmarks: expected the study's PhoneBook in")
    assert "`--data` left out uses invented entries" in message


def test_a_missing_peer_is_an_error_that_names_the_extra(monkeypatch):
    absent = peers.PeerStore("absent", 10, ("no_such_package",), lambda *_: None)
    monkeypatch.setattr(peers, "PEERS", (absent,))

    with pytest.raises(MissingDependencyError, match=r"expected absent .*no_such_package") as error:
        peers.peers_by_name(["absent"])
    assert "'.[bench]'" in error.value.hint
    with pytest.raises(InvalidInputError, match="expected peers among absent, got mem1"):
        peers.peers_by_name(["mem1"])
    assert peers.peers_by_name([]) == []


@pytest.mark.parametrize(
    "arguments", [[], ["capacity"], ["store", "--records", "0"], ["mix", "--seeds", "1"]]
)
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(arguments)
    assert "usage: python tests/benchmarks" in capsys.readouterr().err


def test_the_folder_runs_from_anywhere(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parents[1])}
    done = subprocess.run(
        [sys.executable, str(FOLDER), "--help"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert set(command.BENCHMARKS) <= set(done.stdout.split())


def test_a_process_that_fails_is_an_error():
    with pytest.raises(subprocess.CalledProcessError):
        processes.output_of(report.write, "one argument too few")


@pytest.mark.slow
def test_ask_counts_what_a_question_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(ask, "FACTS", (4,))
    file = tmp_path / "ask.json"

    assert command.main(["ask", "--json", str(file)]) == 0

    report = json.loads(file.read_text(encoding="utf-8"))
    assert report["name"] == "ask"
    assert set(report["ratios"]) == {
        "ask_files", "ask_functions", "ask_calls", "ask_reads", "ask_statements", "ask_cpu_ms",
    }  # fmt: skip
    assert all(value > 0 for value in report["ratios"].values())
    assert report["ratios"]["ask_files"] <= report["ratios"]["ask_functions"]
    assert report["ratios"]["ask_functions"] < report["ratios"]["ask_calls"]
    assert report["ratios"]["ask_reads"] <= report["ratios"]["ask_statements"]
    cases = {result["case"] for result in report["results"]}
    assert cases == {"held in weights, 8 facts", "in the index alone, 8 facts"}


def test_only_code_of_memkit_counts_and_every_call_is_seen():
    from memkit.text.words import stem_counts

    with ask.entered_code() as entered:
        stem_counts("one word")
        stem_counts("another")
        json.dumps([1])

    names = [code.co_name for code in entered()]
    assert names.count("stem_counts") == 2
    assert "dumps" not in names
    assert sys.getprofile() is None


def test_statements_are_recorded_as_they_are_run(tmp_path):
    import sqlite3

    statements = ask.Statements()
    with statements.recorded():
        connection = sqlite3.connect(tmp_path / "x")
    connection.execute("CREATE TABLE t (x)")
    connection.execute("SELECT x FROM t WHERE x = ?", (1,))
    connection.close()
    unseen = sqlite3.connect(tmp_path / "x")
    unseen.execute("SELECT 1")
    unseen.close()

    assert statements.texts == ["CREATE TABLE t (x)", "SELECT x FROM t WHERE x = 1"]
