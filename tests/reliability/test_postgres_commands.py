"""The command line, `check` included, on a memory of a PostgreSQL server."""

import json
import re

import pytest

from memkit import Memory
from memkit.cli import main as cli
from memkit.memory.check import check

pytestmark = pytest.mark.engines("postgresql")

PASSWORD = "hush-4711"
NORA = "What is the badge number of Nora?"


@pytest.fixture
def url(trained_place, small_models):
    """The URL of a memory with two modules, with a password that the server does not ask for."""
    return trained_place.replace("//postgres:@", f"//postgres:{PASSWORD}@")


@pytest.fixture
def run(capfd):
    """Runs a command; gives its status and all that it printed, which is never the password."""

    def run_command(*arguments):
        status = cli.main(list(map(str, arguments)))
        output = "".join(capfd.readouterr())
        assert PASSWORD not in output
        return status, output

    return run_command


def test_a_memory_is_made_filled_and_emptied(postgres, tmp_path, monkeypatch, run, small_models):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    postgres.execute("DROP SCHEMA IF EXISTS by_command CASCADE")
    url = postgres.place("by_command").replace("//postgres:@", f"//postgres:{PASSWORD}@")
    shown = "postgresql:///postgres?schema=by_command"
    assert run("init", url) == (0, f"made the memory {shown}\n")
    assert run("init", url)[1].startswith(f"{shown} is a memory already: 0 records")
    assert run("add", url, "The canteen opens at noon.", "--json")[0] == 0
    status, output = run("list", url, "--json")
    assert status == 0
    (record,) = json.loads(output)["records"]
    assert record["text"] == "The canteen opens at noon."
    assert run("get", url, record["id"][:8])[0] == 0
    assert run("update", url, record["id"], "The canteen opens at one.")[0] == 0
    assert "at noon" in run("history", url, record["id"])[1]
    assert run("forget", url, record["id"])[0] == 0
    assert "0 records" in run("stats", url)[1]


def test_every_command_that_reads_takes_a_url(url, run, tmp_path):
    for command in (
        ["search", url, NORA],
        ["ask", url, NORA],
        ["stats", url],
        ["inspect", url],
        ["inspect", url, "--html", tmp_path / "page.html"],
        ["modules", "list", url],
        ["export", url, tmp_path / "all.zst"],
    ):
        status, output = run(*command)
        assert status == 0, (command, output)
    assert PASSWORD not in (tmp_path / "page.html").read_text()


def test_an_export_goes_from_a_server_into_a_directory_by_commands(url, run, tmp_path):
    assert run("export", url, tmp_path / "all.zst", "--adapters")[0] == 0
    assert run("import", tmp_path / "m", tmp_path / "all.zst", "--adapters")[0] == 0
    with Memory.open(tmp_path / "m") as memory:
        assert memory.stats().held == 8


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("schema=Not+One", "`schema` must begin"),
        ("schema=elsewhere", "there is no memory at postgresql://"),
        ("nonsense=1", "with settings of libpq"),
        ("sslmode=%zz", "with settings of libpq"),
        ("connect_timeout=1&port=1&host=127.0.0.1", "there is no connection to postgresql://"),
    ],
)
def test_what_is_wrong_with_a_url_is_said_without_the_password(run, postgres, query, message):
    server = postgres.url.partition("?")[2]
    url = f"postgresql://postgres:{PASSWORD}@/postgres?{server}&{query}"
    for command in ("check", "stats", "search"):
        status, output = run(command, url, *(["x"] if command == "search" else []))
        assert status == 1
        assert message in output


def test_a_url_with_a_percent_sign_in_the_password_is_not_quoted(run):
    status, output = run("stats", f"postgresql://ann:{PASSWORD}%zz@host/db")
    assert status == 1
    assert "%25 for %" in output


# -- check


def test_a_sound_memory_is_sound(url, run):
    status, output = run("check", url)
    assert status == 0, output
    assert output.splitlines()[-1] == "postgresql:///postgres?schema=memkit is sound"
    for line in (
        "sound     tables, indexes and triggers are those of this format",
        "sound     the word index has the words of the passages",
        "sound     the checksums of 8 records",
        "sound     the weights of 2 module versions",
        "sound     the copies of weights on this machine",
    ):
        assert line in output


DAMAGE = {
    "a trigger": (
        "DROP TRIGGER weights_deleted ON module_versions",
        "the trigger 'weights_deleted' is missing",
    ),
    "an index": ("DROP INDEX members_by_record", "the index 'members_by_record' is missing"),
    "words": (
        "UPDATE word_counts SET times = 9 WHERE word = 'nora'",
        "the word index is not that of the passages",
    ),
    "lost words": (
        "DELETE FROM word_lengths",
        "the word index is not that of the passages",
    ),
    "a checksum": (
        "UPDATE records SET content_hash = 'x' WHERE id = 'Nora'",
        "1 record has another checksum than the text, such as ['Nora']",
    ),
    "a counter": (
        "SELECT setval(pg_get_serial_sequence('records', 'number'), 1)",
        "the counter of 'records' is behind",
    ),
    "a passage": (
        "UPDATE passages SET text = 'another' WHERE key = 1",
        "1 record has passages that are no slices of the text",
    ),
    "a vector": (
        "UPDATE vectors SET vector = overlay(vector PLACING '\\x00008040' FROM 1) "
        "WHERE passage = 1",
        "1 passage has no vector, or one that is not of length 1",
    ),
    "weights": (
        "UPDATE weights SET data = set_byte(data, 9, 255 - get_byte(data, 9)) "
        "WHERE piece = 1 AND path = (SELECT file FROM module_versions WHERE module = 'm0001')",
        "module m0001 v1: expected SHA-256",
    ),
    "lost weights": (
        "DELETE FROM weights WHERE path = "
        "(SELECT file FROM module_versions WHERE module = 'm0002')",
        "module m0002 v1: expected",
    ),
    "a setting": (
        "UPDATE meta SET value = 'x' WHERE name = 'embedder_dim'",
        "the setting 'embedder_dim' cannot be 'x'",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_and_what_is_derived_is_made_again(trained_place, postgres, name):
    statement, message = DAMAGE[name]
    postgres.execute(statement, "memkit")
    try:
        found = check(trained_place).problems
        assert any(message in problem for problem in found), found
        assert check(trained_place).problems == found  # looking changes nothing
        assert check(trained_place, repair=True).left == []
        assert check(trained_place).sound
    finally:
        if name in {"a trigger", "an index"}:  # the tables are those of other tests as well
            check(trained_place, repair=True)


def test_what_others_have_put_into_the_schema_is_told_and_left_alone(trained_place, postgres):
    postgres.execute("CREATE TABLE orders (id int)", "memkit")
    try:
        report = check(trained_place, repair=True)
        assert report.left == ["the table 'orders' is not memkit's"]
        assert postgres.execute("SELECT count(*) FROM orders", "memkit") == [(0,)]
    finally:
        postgres.execute("DROP TABLE orders", "memkit")


def test_the_copies_of_this_machine_are_compared(trained, trained_place, tmp_path):
    trained.ask(NORA, budget=0)
    (copy,) = (tmp_path / "cache").rglob("*.bank")
    whole = copy.read_bytes()
    copy.write_bytes(whole[:-100])
    (problem,) = check(trained_place).problems
    assert re.match(r"the copy of adapters/\w+\.bank#0 on this machine is not what", problem)
    assert check(trained_place, repair=True).left == []
    assert not copy.exists()
    assert check(trained_place).sound
