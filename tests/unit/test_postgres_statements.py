"""Statements as PostgreSQL gets them, URLs of memories, and what a server cannot do yet."""

from pathlib import Path

import pytest

from memkit import Memory
from memkit.errors import InvalidInputError
from memkit.ledger.engine import dialect
from memkit.ledger.engine.postgres.address import Address, is_address
from memkit.ledger.engine.postgres.portable import portable

URL = "postgresql://ann:secret@db.example:5433/notes?sslmode=require&schema=team_a"


def test_parameters_become_placeholders_in_order():
    statement = portable("SELECT a % 2 FROM t WHERE b = ? AND c = ?")
    assert statement.sql == "SELECT a %% 2 FROM t WHERE b = %s AND c = %s"
    assert statement.values(["x", "y"], now=0.0) == ["x", "y"]


def test_postgresql_takes_its_own_form_with_the_parameters_that_it_names():
    both = dialect.either("sqlite(?, ?, ?)", "postgres(?2, ?0, ?0, ?now) % 2")
    statement = portable(f"SELECT ? WHERE {both} AND x = ?")
    assert statement.sql == "SELECT %s WHERE postgres(%s, %s, %s, %s) %% 2 AND x = %s"
    assert statement.values([1, 2, 3, 4, 5], now=9.5) == [1, 4, 2, 2, 9.5, 5]
    assert statement.asks_time


def test_forms_in_a_form_of_sqlite_only_count_for_their_parameters():
    inner = dialect.in_list("key")
    sql, parameters = dialect.shortcut((f"number IN (SELECT 1 WHERE {inner} AND a = ?)", [1, 2]))
    statement = portable(f"SELECT 1 WHERE {sql} AND z = ?")
    assert statement.sql == "SELECT 1 WHERE TRUE AND z = %s"
    assert statement.values([*parameters, 3], now=0.0) == [3]


def test_a_form_that_is_not_closed_is_noticed():
    with pytest.raises(ValueError, match="not closed"):
        portable(f"SELECT {dialect.OPEN}x{dialect.INSTEAD_OF} y")


def test_a_url_names_a_schema_and_is_told_without_its_secrets():
    address = Address.parse(URL)
    assert address.schema == "team_a"
    assert address.url == "postgresql://ann:secret@db.example:5433/notes?sslmode=require"
    assert address.shown == "postgresql://db.example:5433/notes?schema=team_a"
    assert "secret" not in repr(address)
    assert Address.parse("postgres:///db").schema == "memkit"
    assert Address.parse("postgresql:///db?host=/run/pg").url == "postgresql:///db?host=/run/pg"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://ann:pa#ss@host/db", "pa#ss"),
        ("postgresql://ann:pa?ss@host/db?connect_timeout=5", "pa?ss"),
        ("postgresql://host/db?user=ann&password=pa+ss", "pa+ss"),
        ("postgresql://ann:pa%40ss@host/db?schema=team%5Fa&", "pa@ss"),
    ],
)
def test_a_password_is_the_one_that_postgresql_reads(given, expected):
    """Its library is asked what it reads in the URL, where a # begins no fragment."""
    conninfo = pytest.importorskip("psycopg.conninfo")
    address = Address.parse(given)
    read = conninfo.conninfo_to_dict(address.url)
    assert [read[name] for name in ("user", "password", "host", "dbname")] == [
        *("ann", expected, "host", "db")
    ]
    assert address.shown == f"postgresql://host/db?schema={address.schema}"


@pytest.mark.parametrize("url", ["postgresql://ann:pa@ss@host/db", "postgres://ann:pa/ss@host/db"])
def test_a_url_that_cannot_be_taken_apart_is_refused_without_being_told(url):
    with pytest.raises(InvalidInputError, match="with one @") as error:
        Address.parse(url)
    assert "ss" not in str(error.value).replace("password", "")


@pytest.mark.parametrize("schema", ["", "Team", "a b", "1a", "pg_catalog", "a" * 64, 'a"; --'])
def test_a_schema_has_a_plain_name(schema):
    with pytest.raises(InvalidInputError, match="`schema` must begin with a small letter"):
        Address.parse(f"postgresql://host/db?schema={schema}")


def test_what_is_no_url_is_a_path():
    assert [is_address(place) for place in (URL, "notes.mem", Path("notes.mem"))] == [
        True,
        False,
        False,
    ]
    with pytest.raises(InvalidInputError, match="URL of a PostgreSQL database"):
        Address.parse("mysql://host/db")


def test_a_url_that_was_made_a_path_makes_no_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError, match="URL of a server as a string"):
        Memory.open(Path(URL))
    assert list(tmp_path.iterdir()) == []
