"""A ledger has memkit's tables, indexes and triggers and no others, and says what it was told."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from memkit.errors import CorruptFileError, MemkitError
from memkit.ledger import Ledger
from memkit.memory.check import check

ANN = {"user": "ann"}
TEXT = "The safe opens with 4471."


@pytest.fixture
def directory(tmp_path, open_memory):
    with open_memory(tmp_path / "m", backends=("rag",)) as memory:
        memory.add(TEXT, scope=ANN, id="safe")
        memory.add("The archive is on the second floor.", id="archive")
    return tmp_path / "m"


def sql(directory, *statements):
    with closing(sqlite3.connect(directory / "ledger.sqlite3")) as database, database:
        return [database.execute(statement).fetchall() for statement in statements][-1]


# By what it does, what is said about it, and whether a repair removes it.
FOREIGN = {
    "trigger": (
        ["CREATE TRIGGER leak AFTER INSERT ON records BEGIN "
         "UPDATE records SET scope = '{}' WHERE number = new.number; END"],
        "the trigger 'leak' is not memkit's", True,
    ),
    "trigger with a name in quotes": (
        ['CREATE TRIGGER "a ""b" AFTER INSERT ON turns BEGIN DELETE FROM records; END'],
        """the trigger 'a "b' is not memkit's""", True,
    ),
    "trigger of ours, changed": (
        ["DROP TRIGGER passage_added",
         "CREATE TRIGGER passage_added AFTER INSERT ON passages BEGIN DELETE FROM changes; END"],
        "the trigger 'passage_added' is another one", True,
    ),
    "trigger of ours, gone": (
        ["DROP TRIGGER terms_added"], "the trigger 'terms_added' is missing", True,
    ),
    "view": (["CREATE VIEW secrets AS SELECT text FROM records"],
             "the view 'secrets' is not memkit's", True),
    "view in a table's place": (
        ["ALTER TABLE ttls RENAME TO other", "CREATE VIEW ttls AS SELECT * FROM other"],
        "the table 'ttls' is missing", False,
    ),
    "index": (["CREATE UNIQUE INDEX once ON records (text)"],
              "the index 'once' is not memkit's", True),
    "index of ours, changed": (
        ["DROP INDEX turns_by_scope", "CREATE INDEX turns_by_scope ON turns (role)"],
        "the index 'turns_by_scope' is another one", True,
    ),
    "table": (["CREATE TABLE notes (text)"], "the table 'notes' is not memkit's", False),
    "virtual table": (["CREATE VIRTUAL TABLE words USING fts5(text)"],
                      "the table 'words' is not memkit's", False),
    "table of ours, changed": (
        ["DROP TABLE ttls", "CREATE TABLE ttls (scope TEXT PRIMARY KEY, seconds REAL)"],
        "the table 'ttls' is another one", False,
    ),
    "former vectors, changed": (["CREATE TABLE old_vectors (passage, vector, more)"],
                                "the table 'old_vectors' is not memkit's", False),
}  # fmt: skip


@pytest.mark.parametrize("case", FOREIGN)
def test_what_memkit_has_not_made_is_refused(directory, open_memory, case):
    statements, words, mendable = FOREIGN[case]
    sql(directory, *statements)
    with pytest.raises(CorruptFileError, match="expected the tables, indexes and trig") as caught:
        open_memory(directory, backends=("rag",))
    assert words in caught.value.message
    assert "memkit check --repair" in caught.value.hint
    assert words in check(directory).left
    left = check(directory, repair=True).left
    assert (words not in left) == mendable
    if mendable:
        with open_memory(directory, backends=("rag",)) as memory:
            memory.add("The key is in the drawer.", scope=ANN)
            assert memory.search("drawer", scope={"user": "bob"}, k=9)[0].id == "archive"
        assert check(directory).sound


def test_what_sqlite_notes_for_its_planner_is_no_fault(directory, open_memory):
    sql(directory, "ANALYZE")
    with open_memory(directory, backends=("rag",)) as memory:
        assert memory.stats().records == 2
    assert check(directory).sound


def test_a_read_only_ledger_is_looked_at_as_well(directory, monkeypatch):
    sql(directory, *FOREIGN["trigger"][0])
    monkeypatch.setattr("memkit.ledger.engine.connect._can_write", lambda _: False)
    with pytest.raises(CorruptFileError, match="'leak' is not memkit's"):
        Ledger.open(directory)


# -- texts


READS = {
    "get": lambda memory: memory.get("safe", scope=ANN),
    "get_many": lambda memory: memory.get_many(["archive", "safe"], scope=ANN),
    "prefix": lambda memory: memory.get_by_prefix("saf", scope=ANN),
    "all": lambda memory: memory.records(scope="all"),
    "page": lambda memory: memory.records(scope=ANN),
    "search": lambda memory: memory.search("safe", scope=ANN),
    "recall": lambda memory: memory.recall("What opens the safe?", scope=ANN),
    "history": lambda memory: memory.history("safe", scope=ANN),
    "export": lambda memory: memory.export(memory._engine.ledger.directory.parent / "out"),
    "update": lambda memory: memory.update("safe", "The safe is open.", scope=ANN),
}


@pytest.mark.parametrize("read", READS)
def test_a_text_that_was_changed_on_disk_is_not_given(directory, open_memory, read):
    sql(directory, "UPDATE records SET text = 'The safe opens with 4472.' WHERE id = 'safe'")
    with (
        open_memory(directory, backends=("rag",), count_tokens=len) as memory,
        pytest.raises(CorruptFileError, match=r"expected record 'safe' as it was stored") as caught,
    ):
        READS[read](memory)
    assert "4472" not in str(caught.value)


@pytest.mark.parametrize("column", ["text", "question", "answer"])
def test_a_damaged_record_can_be_forgotten_and_others_be_read(directory, open_memory, column):
    sql(directory, f"UPDATE records SET {column} = 'another' WHERE id = 'safe'")
    with open_memory(directory, backends=("rag",)) as memory:
        assert memory.get("archive").text.startswith("The archive")
        with pytest.raises(CorruptFileError):
            memory.get("safe", scope=ANN)
        assert all(memory.forget("safe", scope=ANN).checks.values())
        assert [record.id for record in memory.records(scope="all").records] == ["archive"]


def test_a_flipped_bit_in_the_file_is_noticed(directory, open_memory, tmp_path):
    """Whichever byte of the text is damaged: an error, or the text as it was."""
    file = directory / "ledger.sqlite3"
    content = file.read_bytes()
    places = [start for start in range(len(content)) if content.startswith(TEXT.encode(), start)]
    assert places
    for number, place in enumerate(places):
        copy = shutil.copytree(directory, tmp_path / f"copy{number}")
        damaged = bytearray(content)
        damaged[place + len(TEXT) - 2] ^= 1
        (copy / "ledger.sqlite3").write_bytes(damaged)
        try:
            with open_memory(copy, backends=("rag",)) as memory:
                assert memory.get("safe", scope=ANN).text == TEXT
                assert {hit.text for hit in memory.search("safe", scope=ANN)} <= {
                    TEXT, "The archive is on the second floor.",
                }  # fmt: skip
        except MemkitError:
            continue
        assert not check(copy).sound


@pytest.mark.parametrize("version", [0, -1])
def test_tables_without_a_format_are_refused(tmp_path, version):
    Ledger.open(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as database:
        database.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(CorruptFileError, match=f"says {version} and has tables"):
        Ledger.open(tmp_path)
    for repair in (False, True):
        assert any("and has tables" in problem for problem in check(tmp_path, repair=repair).left)
