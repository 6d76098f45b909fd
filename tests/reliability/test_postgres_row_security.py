"""Scopes as row-level security: what a tenant's own connection reads of a memory by SQL."""

from contextlib import closing

import psycopg
import pytest

from memkit import Memory
from memkit.errors import InvalidInputError, ReadOnlyError, UnsupportedOperationError
from memkit.ledger.items import NewItem
from memkit.memory.check import check

ANN, BOB, ANNS_TEAM = {"user": "ann"}, {"user": "bob"}, {"user": "ann", "team": "x"}


@pytest.fixture(scope="module")
def schema(postgres, tmp_path_factory):
    """A memory with row-level security, and three roles: of Ann, of Bob, of an application."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        for role in ("ann", "bob", "app", "nobody"):
            postgres.execute(f"CREATE ROLE {role} LOGIN")
        place = f"{postgres.empty('rows')}&row_security=on"
        with Memory.open(place, backends=["buffer"], count_tokens=len) as memory:
            for name, scope in (("all", {}), ("ann", ANN), ("bob", BOB), ("team", ANNS_TEAM)):
                record = memory.add(f"for {name}, first", scope=scope)
                memory.update(record.id, f"for {name}", scope=scope)
                memory.add_turn("user", f"turn of {name}", scope=scope, remember=False)
                memory.items.write([NewItem((name,), "k", {"of": name}, scope=scope)])
        postgres.execute("SELECT rows.give_scope('ann', '{\"user\": \"ann\"}')")
        postgres.execute("SELECT rows.give_scope('bob', '{\"user\": \"bob\"}')")
        postgres.execute("SELECT rows.give_scope('app', NULL)")
        yield "rows"
        postgres.execute("DROP SCHEMA rows CASCADE")
        for role in ("ann", "bob", "app", "nobody"):
            postgres.execute(f"DROP OWNED BY {role}")
            postgres.execute(f"DROP ROLE {role}")


@pytest.fixture
def read(postgres, schema):
    """Runs statements on a connection of a role; gives the first column of the last one."""

    def run(role, *statements):
        url = postgres.url.replace("//postgres:@", f"//{role}@")
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            connection.execute(f"SET search_path = {schema}")
            for statement in statements:
                cursor = connection.execute(statement)
            return sorted(row[0] for row in cursor.fetchall())

    return run


@pytest.mark.parametrize(
    ("role", "names"), [("ann", ["all", "ann"]), ("bob", ["all", "bob"]), ("nobody", None)]
)
def test_a_role_reads_the_rows_of_its_scope_alone(read, role, names):
    queries = {
        "SELECT text FROM rows.records": "for {}",
        "SELECT text FROM rows.versions": "for {}, first",
        "SELECT content FROM rows.turns": "turn of {}",
        "SELECT key FROM rows.items": "k",
    }
    for query, form in queries.items():
        if names is None:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                read(role, query)
        else:
            assert read(role, query) == [form.format(name) for name in names], query


@pytest.mark.parametrize(
    "trick",
    [
        'SET memkit.scope = \'{"user": "bob"}\'',
        "SET row_security = on",
        "SET search_path = pg_temp, rows",
        "CREATE TEMP TABLE role_scopes AS SELECT 'ann' AS role, '{\"user\":\"bob\"}' AS scope",
    ],
)
def test_it_cannot_make_itself_another(read, trick):
    assert read("ann", trick, "SELECT text FROM rows.records") == ["for all", "for ann"]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT rows.give_scope('ann', '{\"user\": \"bob\"}')",
        "UPDATE rows.role_scopes SET scope = NULL",
        "INSERT INTO rows.records SELECT * FROM rows.records",
        "DELETE FROM rows.records",
        "SELECT vector FROM rows.vectors",
        "SELECT value FROM rows.meta",
        "SET ROLE bob",
    ],
)
def test_it_can_neither_write_nor_read_what_has_no_scope(read, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        read("ann", statement)


def test_row_security_cannot_be_left_out(read):
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        read("ann", "SET row_security = off", "SELECT text FROM records")


def test_whoever_was_given_all_tables_sees_no_more(read, postgres):
    postgres.execute("GRANT SELECT ON ALL TABLES IN SCHEMA rows TO bob")
    assert read("bob", "SELECT text FROM records") == ["for all", "for bob"]
    assert read("bob", "SELECT value FROM meta") == []
    assert read("bob", "SELECT role FROM role_scopes") == ["bob"]


def test_an_application_says_its_scope_for_each_request(read):
    assert read("app", "SELECT text FROM records") == []
    said = 'SET memkit.scope = \'{"user": "ann", "team": "x"}\''
    assert read("app", said, "SELECT text FROM records") == ["for all", "for ann", "for team"]
    assert read("app", "SET memkit.scope = '{}'", "SELECT text FROM records") == ["for all"]


def test_memkit_itself_is_not_for_a_role_that_sees_a_part(postgres, schema):
    place = postgres.place(schema).replace("//postgres:@", "//ann@")
    with pytest.raises(UnsupportedOperationError, match="sees only its scope"):
        Memory.open(place, backends=["buffer"])


def test_the_owner_sees_all_and_the_memory_is_sound(postgres, schema, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with Memory.open(postgres.place(schema), backends=["buffer"], count_tokens=len) as memory:
        assert memory.count(scope="all") == 4
        assert [r.text for r in memory.records(scope=BOB).records] == ["for bob"]
    assert check(postgres.place(schema)).sound


def test_it_can_be_switched_off_again(postgres, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = postgres.empty("switched")
    enabled = "SELECT DISTINCT rowsecurity FROM pg_tables WHERE schemaname = 'switched'"
    for value, expected in (("on", True), ("on", True), ("off", False)):
        Memory.open(f"{place}&row_security={value}", backends=["buffer"]).close()
        assert postgres.execute(enabled) == [(expected,)]
    with pytest.raises(InvalidInputError, match="`row_security` must be on or off, got 'yes'"):
        Memory.open(f"{place}&row_security=yes", backends=["buffer"])
    postgres.execute("CREATE ROLE stranger LOGIN")
    postgres.execute("GRANT USAGE ON SCHEMA switched TO stranger")
    postgres.execute("GRANT ALL ON ALL TABLES IN SCHEMA switched TO stranger")
    stranger = place.replace("//postgres:@", "//stranger@")
    with pytest.raises(ReadOnlyError):
        Memory.open(f"{stranger}&row_security=on", backends=["buffer"])
    postgres.execute("DROP OWNED BY stranger")
    postgres.execute("DROP ROLE stranger")
