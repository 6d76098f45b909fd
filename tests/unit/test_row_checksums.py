"""Rows of records, versions, turns and items are given as they were written, or not at all."""

import hashlib
import json
import re
import sqlite3
from contextlib import closing

import pytest

from memkit.errors import CorruptFileError
from memkit.ledger import Ledger
from memkit.ledger.engine import schema
from memkit.ledger.engine.sqlite import SqliteDatabase
from memkit.ledger.items import NewItem
from memkit.memory.check import check
from memkit.types import Example

ANN = {"user": "ann"}
COLUMNS = {
    "records": {
        "scope": "'{}'", "metadata": "'{\"level\":9}'", "created_at": 1.0, "updated_at": 1.0,
        "version": 7, "key": "'other'", "expires_at": 9e9, "pinned": 1, "said_at": 1.0,
        "text": "'The safe opens with 4472.'", "question": "'Who?'", "answer": "'Me'",
    },
    "versions": {
        "text": "'The safe opens with 4472.'", "question": "'Who?'", "answer": "'Me'",
        "metadata": "'{\"level\":9}'", "created_at": 1.0, "said_at": 1.0,
    },
    "turns": {
        "scope": "'{}'", "role": "'assistant'", "content": "'No.'", "name": "'Bob'",
        "created_at": 1.0, "added_at": 1.0, "record": 2, "expires_at": 9e9, "source": "'x'",
    },
    "items": {
        "value": "'{\"v\":2}'", "scope": "'{}'", "created_at": 1.0, "updated_at": 1.0,
        "ttl": 5.0, "expires_at": 9e9, "key": "'other'", "namespace": "'b'",
    },
}  # fmt: skip
# What reads the row, whatever scope it says that it is of.
READS = {
    "records": lambda memory: memory.get("safe", scope="all"),
    "versions": lambda memory: memory.history("safe", scope=ANN),
    "turns": lambda memory: [memory.turns(scope=scope) for scope in (ANN, {})],
    "items": lambda memory: list(memory.items.below(())),
}


@pytest.fixture
def directory(tmp_path, open_memory):
    with open_memory(tmp_path / "m", backends=("buffer", "rag"), count_tokens=len) as memory:
        memory.add("The safe opens with 4470.", scope=ANN, id="safe", metadata={"level": 1})
        memory.update("safe", "The safe opens with 4471.", scope=ANN)
        memory.add("The archive is on the second floor.", id="archive")
        memory.add_turn("user", "I lost my key.", scope=ANN, remember=False)
        memory.items.write([NewItem(("a",), "k", {"v": 1}, ttl=3600, scope=ANN)])
    return tmp_path / "m"


def sql(directory, *statements):
    with closing(sqlite3.connect(directory / "ledger.sqlite3")) as database, database:
        return [database.execute(statement).fetchall() for statement in statements][-1]


@pytest.mark.parametrize(
    ("table", "column"), [(table, column) for table, of in COLUMNS.items() for column in of]
)
def test_a_value_that_was_changed_on_disk_is_not_given(directory, open_memory, table, column):
    which = " WHERE id = 'safe'" if table == "records" else ""
    sql(directory, f"UPDATE {table} SET {column} = {COLUMNS[table][column]}{which}")
    with (
        open_memory(directory, backends=("buffer", "rag"), count_tokens=len) as memory,
        pytest.raises(CorruptFileError, match=r"as it was stored, its (row|text)") as caught,
    ):
        READS[table](memory)
    assert "4472" not in str(caught.value)
    for repair in (False, True):
        report = check(directory, repair=repair)
        assert any("not as written" in p or "than the text" in p for p in report.problems)
    if column not in ("text", "question", "answer") or table == "versions":
        assert any("not as written" in problem for problem in report.left)


def test_every_column_of_these_tables_is_checked(directory):
    numbers = {"number", "record", "version", "id", "checksum", "content_hash"}
    for table, columns in COLUMNS.items():
        present = {name for _, name, *_ in sql(directory, f"PRAGMA table_info({table})")}
        assert present - numbers <= columns.keys()


def test_a_secret_whose_scope_was_changed_is_told_to_nobody(directory, open_memory):
    sql(directory, "UPDATE records SET scope = '{}' WHERE id = 'safe'")
    with open_memory(directory, backends=("buffer", "rag"), count_tokens=len) as memory:
        for verb in (memory.search, memory.recall):
            with pytest.raises(CorruptFileError, match="record 'safe' as it was stored"):
                verb("Which code opens the safe?")


def test_the_checksum_is_that_of_the_columns(directory):
    """Computed here from what the file says, in the order of the table that the code names."""
    columns = "id, scope, role, content, name, created_at, added_at, record, expires_at, source"
    [(*values, checksum)] = sql(directory, f"SELECT {columns}, checksum FROM turns")
    content = json.dumps(values, ensure_ascii=False).encode()
    assert checksum == hashlib.blake2b(content, digest_size=16).hexdigest()


@pytest.mark.parametrize("table", COLUMNS)
def test_what_is_damaged_can_go_and_the_rest_be_read(directory, open_memory, table):
    column = {"turns": "content", "items": "value"}.get(table, "metadata")
    sql(directory, f"UPDATE {table} SET {column} = '{{\"damaged\": 1}}'")
    with open_memory(directory, backends=("buffer", "rag"), count_tokens=len) as memory:
        [turn] = sql(directory, "SELECT id FROM turns")
        if table == "turns":
            memory.forget(turn[0], scope=ANN)
        elif table == "items":
            memory.items.write((), deleted=[(("a",), "k")])
        else:
            assert all(memory.forget(["safe"], scope=ANN).checks.values())
        if table == "records":
            memory.forget("archive")
        READS["turns"](memory)
        READS["items"](memory)
        memory.records(scope="all")
    assert not any("not as written" in problem for problem in check(directory).problems)


@pytest.mark.parametrize(
    "change",
    [
        lambda memory: memory.add("The archive is on the second floor.", metadata={"x": 1}),
        lambda memory: memory.update("archive", metadata={"x": 1}),
        lambda memory: memory.retention.pin("archive"),
        lambda memory: memory.merge(["archive", memory.add("It is cold there.").id]),
    ],
    ids=["add", "update", "pin", "merge"],
)
def test_a_change_does_not_make_damage_look_right(directory, open_memory, change):
    sql(directory, "UPDATE records SET said_at = 5 WHERE id = 'archive'")
    with open_memory(directory, backends=("buffer", "rag"), count_tokens=len) as memory:
        with pytest.raises(CorruptFileError, match="record 'archive' as it was stored"):
            change(memory)
        with pytest.raises(CorruptFileError):
            memory.get("archive")


def test_an_import_puts_damage_right(directory, open_memory, tmp_path):
    with open_memory(directory, backends=("buffer", "rag"), count_tokens=len) as memory:
        memory.export(tmp_path / "out")
    for table, column in (("records", "said_at"), ("turns", "created_at"), ("items", "updated_at")):
        sql(directory, f"UPDATE {table} SET {column} = 5")
    sql(directory, "UPDATE versions SET metadata = '{\"level\":9}'")
    with open_memory(directory, backends=("buffer", "rag"), count_tokens=len) as memory:
        with pytest.raises(CorruptFileError):
            memory.export(tmp_path / "never")
        memory.import_(tmp_path / "out", on_conflict="replace")
        assert memory.history("safe", scope=ANN)[0].metadata == {"level": 1}
        memory.export(tmp_path / "again")
    assert check(directory).sound


def test_what_an_earlier_format_holds_gets_its_checksums(tmp_path, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        earlier.setattr(schema, "CHECKED", {})
        database = SqliteDatabase(
            sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None),
            tmp_path / "ledger.sqlite3", wait=1.0, read_only=False,
        )  # fmt: skip
        with closing(database), database.transaction():
            schema.migrate(database, 0)
    sql(
        tmp_path,
        "INSERT INTO turns (id, scope, role, content, created_at, added_at) "
        "VALUES ('t', '{}', 'user', 'I lost my key.', 5.0, 5.0)",
    )
    ledger = Ledger.open(tmp_path)
    assert [turn.content for turn in ledger.turns.recent({}, 5)] == ["I lost my key."]
    ledger.close()
    assert check(tmp_path).sound


@pytest.mark.parametrize(
    "damage",
    ["detail = 'x'", "detail = '[1]'", "detail = x'00ff'", "created_at = 'x'", "kind = x'00'"],
)
def test_an_event_that_cannot_be_read_is_named(directory, damage):
    ledger = Ledger.open(directory)
    ledger.log_event("merge")
    ledger.log_event("merge")
    sql(directory, f"UPDATE events SET {damage} WHERE seq = 1")
    with pytest.raises(CorruptFileError, match="expected event 1 as it was stored"):
        ledger.events()
    assert ledger.events(after=1)
    ledger.close()


MORE = {
    "vectors": "vector = zeroblob(length(vector)) WHERE passage = 2",
    "item_vectors": "vector = x'0000003f'",
    "examples": "answer = '4472'",
    "meta": "value = 'other embedder' WHERE name = 'embedder'",
    "ttls": "seconds = 61",
    "events": "detail = '{\"records\": 3}'",
}


@pytest.fixture
def filled(directory, open_memory):
    """Every table has rows."""
    with open_memory(directory, backends=("buffer", "rag"), count_tokens=len) as memory:
        memory.items.write([NewItem(("b",), "k", {}, [[1.0]])])
        memory.retention.set_ttl(ANN, 60)
        memory._engine.ledger.log_event("merge", {"records": 2})
        made = [Example("Which code?", "4471", "safe", False, origin="said")]
        memory._engine.ledger.examples.put("by hand", {"safe": made})
        memory.search("code")
    return directory


def read_all(memory):
    """Reads every table but those of vectors, which only `check` looks at: searches are quicker."""
    ledger = memory._engine.ledger
    return (
        lambda: ledger.examples.ever(["safe"]),
        lambda: ledger.get_meta("embedder"),
        lambda: memory.add("x", scope=ANN),
        ledger.events,
    )


@pytest.fixture
def use(open_memory):
    def open_and_read(directory):
        with open_memory(directory, backends=("buffer", "rag"), count_tokens=len) as memory:
            for read in read_all(memory):
                read()

    return open_and_read


@pytest.mark.parametrize("table", MORE)
def test_flipped_bytes_are_noticed_on_reading_or_by_check(filled, open_memory, use, table):
    assert check(filled).sound
    sql(filled, f"UPDATE {table} SET {MORE[table]}")
    problems = [p for p in check(filled).problems if f"of {table!r} is not as written" in p]
    assert len(problems) == 1
    if "vectors" not in table:
        with pytest.raises(CorruptFileError, match=f"its row in {table!r} has another checksum"):
            use(filled)
    left = check(filled, repair=True).left
    assert bool(left) == (table in {"item_vectors", "ttls"})
    with open_memory(filled, backends=("buffer", "rag"), count_tokens=len) as memory:
        memory.retention.set_ttl(ANN, 60)
        memory.items.write([NewItem(("b",), "k", {}, [[1.0]])])
        assert memory.search("Which code opens the safe?", scope=ANN)[0].id == "safe"
    use(filled)
    assert check(filled).sound


def test_a_memory_of_before_gets_all_checksums(filled, monkeypatch):
    """One of the format before, with rows in every table."""
    adds = "ALTER TABLE vectors ADD COLUMN checksum"
    before = next(n for n, each in enumerate(schema.MIGRATIONS) if any(adds in s for s in each))
    path = filled / "ledger.sqlite3"
    with closing(sqlite3.connect(path)) as database, database:
        added = re.findall(r"ALTER TABLE (\w+) ADD COLUMN", str(schema.MIGRATIONS[before:]))
        assert {*MORE, "syntheses", "modules", "module_versions", "members"} == {*added}
        for table in added:
            database.execute(f"ALTER TABLE {table} DROP COLUMN checksum")
        for table in reversed(re.findall(r"CREATE TABLE (\w+)", str(schema.MIGRATIONS[before:]))):
            database.execute(f"DROP TABLE {table}")
        database.execute(f"PRAGMA user_version = {before}")
    Ledger.open(filled).close()
    assert check(filled).sound
    assert sql(filled, "SELECT count(*) FROM vectors WHERE checksum = ''") == [(0,)]
