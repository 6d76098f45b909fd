"""The command line helps to find what was meant: short ids, filters, scopes, changes."""

import json

import pytest

from memkit import Memory
from memkit.cli import main as cli
from memkit.testing import HashingEmbedder

NORA, EMIL = "01a22cfb-6e35-nora", "01a22cfb-77aa-emil"


@pytest.fixture
def path(tmp_path, monkeypatch):
    opened = Memory.open
    monkeypatch.setattr(
        Memory, "open", lambda path, **options: opened(path, **options, embedder=HashingEmbedder())
    )
    with Memory.open(tmp_path / "agent.mem") as memory:
        memory.add("Nora has badge 4471.", id=NORA, metadata={"source": "hr", "year": 2020})
        memory.add("Emil is away.", id=EMIL, scope={"user": "bob"})
    return str(tmp_path / "agent.mem")


@pytest.fixture
def run(path, capsys):
    """Runs a command on the memory; gives the status, what was printed and what was told."""

    def run(command, *words):
        capsys.readouterr()
        status = cli.main([command, path, *words])
        return status, *capsys.readouterr()

    return run


def metadata(run):
    return json.loads(run("get", NORA, "--json")[1])["metadata"]


@pytest.mark.slow
def test_metadata_is_merged_key_by_key(run):
    assert run("update", NORA, "--metadata", "source=security", "--metadata", "floor:=2")[0] == 0
    assert metadata(run) == {"source": "security", "year": 2020, "floor": 2}

    assert run("update", NORA, "--metadata", "source=", "--remove-metadata", "year")[0] == 0
    assert metadata(run) == {"source": "", "floor": 2}

    status, _, told = run("update", NORA, "--remove-metadata", "yaer")
    assert (status, told) == (
        1, "memkit: expected a key of the record's metadata, got 'yaer'\nhint: it has floor, "
        "source\n",
    )  # fmt: skip
    assert metadata(run) == {"source": "", "floor": 2}


def test_history_shows_what_became_of_the_metadata(run):
    run("update", NORA, "--metadata", "source=security")

    rows = [line.split("\t") for line in run("history", NORA)[1].splitlines()]
    assert [(row[0], *row[2:]) for row in rows] == [
        ("1", "source=hr, year=2020", "Nora has badge 4471."),
        ("2", "source=security, year=2020", "Nora has badge 4471."),
    ]


@pytest.mark.slow
def test_the_beginning_of_an_id_will_do(run):
    assert run("get", "01a22cfb-6")[1].startswith(f"id\t{NORA}\n")
    assert "Emil is away." in run("history", "01a22cfb-7")[1]
    assert run("update", "01a22cfb-77", "Emil is back.")[1].startswith(EMIL)
    # What a scope does not see is not among what begins so.
    assert run("get", "01a22cfb", "--scope", "user=ada")[1].startswith(f"id\t{NORA}\n")
    assert run("forget", "01a22cfb-77", "--no-retrain")[0] == 0
    assert run("get", EMIL)[0] == 1


def test_a_beginning_of_several_ids_is_refused_with_a_list(run):
    status, printed, told = run("forget", "01a22cfb", "--no-retrain")
    assert (status, printed) == (1, "")
    assert told == (
        "memkit: expected the beginning of one record's id, 2 begin with '01a22cfb'\n"
        f"hint: give more of it: {NORA} Nora has badge 4471.; {EMIL} Emil is away.\n"
    )
    assert "no record has the id '01a22'" in run("get", "01a22")[2]  # too short to be meant
    assert "no record has the id '01a22cfc'" in run("get", "01a22cfc")[2]


def test_of_many_ids_that_begin_so_a_few_are_listed(run, path):
    with Memory.open(path) as memory:
        for number in range(9):
            memory.add(f"Locker {number} is free.", id=f"locker-{number}")
    status, printed, told = run("get", "locker-")
    assert (status, printed) == (1, "")
    assert "one record's id, more than 5 begin with 'locker-'\nhint: give more of it: " in told
    assert told.endswith("; locker-4 Locker 4 is free.; …\n")
    assert "locker-5" not in told
    assert run("get", "locker-5")[1].startswith("id\tlocker-5\n")


def test_a_piped_list_has_the_same_columns_whatever_it_holds(run):
    assert run("list", "--limit", "1")[1] == f"{NORA}\t\tNora has badge 4471.\n"
    assert run("list", "--scope", "user=bob")[1] == f"{EMIL}\tuser=bob\tEmil is away.\n"


@pytest.mark.slow
def test_a_list_shows_the_beginning_of_a_long_text(run):
    long = "word " * 1000
    run("update", NORA, long)
    for command, words in (("list", ["--limit", "1"]), ("history", [NORA])):
        cell = run(command, *words)[1].splitlines()[-1].split("\t")[-1]
        assert (len(cell), cell[-1]) == (200, "…")
    assert len(run("get", NORA)[1]) > len(long)


def test_an_empty_list_says_so(run):
    assert run("list", "--where", "source=nowhere") == (0, "", "there are no such records\n")
    assert run("list", "--where", "source=nowhere", "--json")[1:] == (
        '{\n  "records": [],\n  "next": null\n}\n', "there are no such records\n",
    )  # fmt: skip


@pytest.mark.parametrize("command", [["list"], ["search", "badge"]])
def test_a_number_that_was_given_as_a_text_is_told(run, command):
    status, printed, told = run(*command, "--where", "year=2020")
    assert (status, printed) == (0, "")
    assert "year is no text here: --where year:=2020 finds it\n" in told
    assert "year is no text" not in run(*command, "--where", "year=2021")[2]


def test_a_scope_without_records_is_told(run):
    status, printed, told = run("search", "badge", "--scope", "user=nobody")
    assert (status, NORA in printed) == (0, True)
    assert told == "user=nobody has no records of its own; this is what everybody may see\n"
    assert run("search", "badge", "--scope", "user=bob")[2] == ""
    assert run("search", "badge")[2] == ""


def test_added_chat_logs_print_the_ids_of_their_records(run, tmp_path):
    log = tmp_path / "log.json"
    log.write_text('[{"role": "user", "content": "My sister lives in Malmö."}]', encoding="utf-8")

    status, printed, told = run("add", "--from", str(log))
    assert status == 0
    assert told == "1 turn added, and 1 record; 0 were there already, 0 were left out\n"
    assert run("get", printed.strip())[1].splitlines()[1] == "text\tMy sister lives in Malmö."
    assert run("add", "--from", str(log))[1] == ""  # it is there already


def test_what_is_no_archive_is_told_apart_from_a_damaged_one(run, path, tmp_path):
    (tmp_path / "empty.txt").write_bytes(b"")
    assert (
        "it is no archive\nhint: `memkit export`" in run("import", str(tmp_path / "empty.txt"))[2]
    )

    run("export", str(tmp_path / "archive"))
    whole = (tmp_path / "archive").read_bytes()
    (tmp_path / "archive").write_bytes(whole[:-9])
    assert "it is cut off\nhint: fetch" in run("import", str(tmp_path / "archive"))[2]
