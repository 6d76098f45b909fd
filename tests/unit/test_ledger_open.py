from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from memkit.errors import (
    BackendError,
    BusyError,
    CorruptFileError,
    DiskFullError,
    FormatVersionError,
    NotAMemoryError,
    ReadOnlyError,
    StorageError,
    UnsupportedOperationError,
)
from memkit.ledger import Ledger
from memkit.ledger.engine import connect as opening
from memkit.ledger.engine import schema
from memkit.ledger.engine.schema import current_version
from memkit.ledger.engine.sqlite import SqliteDatabase
from memkit.memory.check import check
from memkit.types import Draft

FILE = "ledger.sqlite3"


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "deep" / "agent.mem"


def fill(directory, count=3):
    ledger = Ledger.open(directory)
    ledger.records.add([Draft(text=f"fact {n} " + "x" * 500) for n in range(count)])
    ledger.close()


def texts(ledger):
    return [record.text for record in ledger.records.page().records]


def reopened_texts(directory):
    ledger = Ledger.open(directory)
    try:
        return texts(ledger)
    finally:
        ledger.close()


def test_a_memory_is_made_where_there_is_none_and_found_again(directory):
    fill(directory)
    assert sorted(path.name for path in directory.iterdir()) == [FILE]
    with sqlite3.connect(directory / FILE) as plain:
        assert plain.execute("PRAGMA application_id").fetchone() == (0x6D6B6974,)
        assert plain.execute("PRAGMA user_version").fetchone() == (current_version(),)
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    plain.close()
    ledger = Ledger.open(directory, create=False)
    assert ledger.directory == directory
    assert ledger.records.count() == 3
    ledger.close()


def test_connections_are_durable_and_clean(directory):
    ledger = Ledger.open(directory)
    settings = {
        name: ledger._database.value(f"PRAGMA {name}")
        for name in ("synchronous", "secure_delete", "foreign_keys", "journal_mode")
    }
    assert settings == {
        "synchronous": 2,
        "secure_delete": 1,
        "foreign_keys": 1,
        "journal_mode": "wal",
    }
    ledger.close()


def test_an_existing_empty_directory_becomes_a_memory(tmp_path):
    Ledger.open(tmp_path).close()
    assert (tmp_path / FILE).stat().st_size > 0


def test_odd_paths_work(tmp_path):
    directory = tmp_path / "ünï côdé?mode=ro#%20 & 'x'"
    fill(directory)
    ledger = Ledger.open(str(directory), create=False)
    assert ledger.records.count() == 3
    ledger.close()


def test_nothing_is_made_unless_asked(directory):
    with pytest.raises(NotAMemoryError, match=r"there is no memory at .*agent.mem") as caught:
        Ledger.open(directory, create=False)
    assert "create=True" in caught.value.hint
    assert not directory.exists()


def test_a_directory_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for create in (True, False):
        with pytest.raises(NotAMemoryError, match=r"holds \['thesis.txt'\]|no memory at"):
            Ledger.open(tmp_path, create=create)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_is_no_memory(tmp_path):
    path = tmp_path / "notes"
    path.write_text("mine")
    with pytest.raises(NotAMemoryError, match="expected a directory, got the file"):
        Ledger.open(path)
    with pytest.raises(NotAMemoryError, match="leads through a file"):
        Ledger.open(path / "below")


def test_a_database_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / FILE
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE invoices (id)")
    foreign.close()
    before = path.read_bytes()
    with pytest.raises(NotAMemoryError, match="database of another program"):
        Ledger.open(tmp_path)
    assert path.read_bytes() == before


def test_garbage_is_reported_as_corrupt(tmp_path):
    (tmp_path / FILE).write_bytes(b"garbage " * 1000)
    with pytest.raises(CorruptFileError, match="expected a readable ledger") as caught:
        Ledger.open(tmp_path)
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.1, 4096, 1000, 100, 10])
def test_a_truncated_file_is_reported_as_corrupt(directory, keep):
    fill(directory, count=200)
    path = directory / FILE
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(keep if isinstance(keep, int) else int(size * keep))
    with pytest.raises(CorruptFileError, match="expected a readable ledger"):
        Ledger.open(directory)


def test_an_emptied_ledger_beside_other_files_is_not_taken_for_a_new_one(directory):
    fill(directory)
    (directory / "index").mkdir()
    (directory / FILE).write_bytes(b"")
    with pytest.raises(CorruptFileError, match="is empty, but there are other files"):
        Ledger.open(directory)


def test_damage_inside_is_reported_when_it_is_met(directory):
    fill(directory, count=200)
    path = directory / FILE
    content = bytearray(path.read_bytes())
    content[4096 * 4 :] = b"\xff" * (len(content) - 4096 * 4)
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"malformed|readable"):
        reopened_texts(directory)


def test_a_newer_format_is_refused(directory):
    fill(directory)
    with sqlite3.connect(directory / FILE) as plain:
        plain.execute("PRAGMA user_version = 99")
    plain.close()
    with pytest.raises(FormatVersionError, match=r"99, this memkit reads up to \d") as caught:
        Ledger.open(directory)
    assert "newer memkit" in caught.value.hint


def test_an_older_format_is_brought_up_to_date_in_order(directory, monkeypatch):
    fill(directory)
    later = (
        ["ALTER TABLE records ADD COLUMN colour TEXT", "UPDATE records SET colour = 'red'"],
        ["UPDATE records SET colour = colour || 'dish'"],
    )
    before = current_version()
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, *later))
    ledger = Ledger.open(directory)
    assert ledger._database.value("PRAGMA user_version") == current_version() == before + 2
    assert ledger._database.column("SELECT colour FROM records") == ["reddish"] * 3
    ledger.close()
    Ledger.open(directory).close()


def test_a_failed_migration_leaves_the_file_as_it_was(directory, monkeypatch):
    fill(directory)
    later = ["ALTER TABLE records ADD COLUMN colour TEXT", "UPDATE nowhere SET colour = 'red'"]
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, later))
        with pytest.raises(BackendError, match="no such table: nowhere"):
            Ledger.open(directory)
    ledger = Ledger.open(directory)
    assert ledger._database.value("PRAGMA user_version") == current_version()
    assert ledger.records.count() == 3
    ledger.close()


def test_an_older_format_that_cannot_be_written_is_refused(directory, monkeypatch):
    fill(directory)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ["SELECT 1"]))
    monkeypatch.setattr(opening, "_can_write", lambda path: False)
    formats = f"format {current_version() - 1}, this memkit reads {current_version()}"
    with pytest.raises(ReadOnlyError, match=formats):
        Ledger.open(directory)


@pytest.fixture
def read_only(monkeypatch):
    def deny():
        monkeypatch.setattr(opening, "_can_write", lambda path: False)

    return deny


def test_a_read_only_memory_can_be_read_and_not_written(directory, read_only):
    fill(directory)
    read_only()
    ledger = Ledger.open(directory)
    assert len(texts(ledger)) == 3
    for write in (
        lambda: ledger.records.add([Draft(text="more")]),
        lambda: ledger.set_meta("a", "b"),
        ledger.modules.next_name,
    ):
        with pytest.raises(ReadOnlyError, match="cannot be opened or written to"):
            write()
    ledger.close()
    assert [path.name for path in directory.iterdir()] == [FILE]


def test_what_is_still_in_the_log_can_be_read_where_nothing_can_be_written(directory, read_only):
    writer = Ledger.open(directory)
    writer.records.add([Draft(text="in the log")])
    read_only()
    reader = Ledger.open(directory)
    assert texts(reader) == ["in the log"]
    reader.close()
    writer.close()


def test_no_memory_is_made_where_nothing_can_be_written(tmp_path, read_only):
    read_only()
    with pytest.raises(ReadOnlyError, match="no memory can be made in"):
        Ledger.open(tmp_path)


def test_a_directory_that_cannot_be_looked_into_is_reported(tmp_path, monkeypatch):
    def deny(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", deny)
    with pytest.raises(StorageError, match=r"cannot be read: .*Permission denied") as caught:
        Ledger.open(tmp_path)
    assert isinstance(caught.value.__cause__, PermissionError)


READ_AS_NOBODY = """
import os, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from memkit.errors import ReadOnlyError
from memkit.ledger import Ledger
from memkit.types import Draft
if os.getuid() == 0:  # permissions do not bind root
    os.setuid(65534)
ledger = Ledger.open(Path(sys.argv[1]))
print([record.text for record in ledger.records.page().records])
for action in (lambda: ledger.records.add([Draft(text="more")]),
               lambda: Ledger.open(Path(sys.argv[1]) / "below")):
    try:
        action()
    except ReadOnlyError as error:
        print("refused")
ledger.close()
"""


@pytest.fixture
def public_directory():
    # Not `tmp_path`, whose parents are closed to other users.
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    (directory / "agent.mem").chmod(0o755)
    shutil.rmtree(directory)


def test_real_permissions_make_a_memory_read_only(public_directory):
    directory = public_directory / "agent.mem"
    ledger = Ledger.open(directory)
    ledger.records.add([Draft(text="for all to read")])
    ledger.close()
    (directory / FILE).chmod(0o444)
    directory.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", READ_AS_NOBODY, str(directory), *sys.path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["['for all to read']", "refused", "refused"], done.stderr


def test_a_full_disk_leaves_what_was_there(directory):
    ledger = Ledger.open(directory)
    ledger.records.add([Draft(text="before")])
    ledger._database.execute(
        f"PRAGMA max_page_count = {ledger._database.value('PRAGMA page_count') + 5}"
    )
    with pytest.raises(DiskFullError, match=r"no room left .* is intact") as caught:
        ledger.records.add([Draft(text=f"{n} " + "x" * 1000) for n in range(1000)])
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert texts(ledger) == ["before"]
    ledger._database.execute("PRAGMA max_page_count = 1000000")
    ledger.records.add([Draft(text="after")])
    ledger.close()
    assert reopened_texts(directory) == ["before", "after"]


def test_a_full_disk_prevents_neither_closing_nor_opening(directory, monkeypatch):
    ledger = Ledger.open(directory)
    records = ledger.records.add([Draft(text="kept"), Draft(text="gone")])
    ledger.records.delete([records[1].id])

    def fail(*_):
        raise DiskFullError("no room left")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteDatabase, "empty_log", fail)
        with pytest.raises(DiskFullError, match="no room left"):
            ledger.scrub()
        ledger.close()
        ledger = Ledger.open(directory)
        assert texts(ledger) == ["kept"]
        assert ledger.get_meta("scrub_pending") is not None
        ledger.close()
    ledger = Ledger.open(directory)
    assert ledger.get_meta("scrub_pending") is None
    ledger.close()


def test_a_full_disk_within_a_larger_transaction_takes_all_of_it_back(directory):
    ledger = Ledger.open(directory)
    pages = ledger._database.value("PRAGMA page_count")
    ledger._database.execute(f"PRAGMA max_page_count = {pages + 5}")

    def fill_up():
        with ledger.transaction():
            ledger.records.add([Draft(text="small")])
            ledger.records.add([Draft(text="x" * 100_000)])

    with pytest.raises(DiskFullError, match="no room left"):
        fill_up()
    assert ledger.records.count() == 0
    assert not ledger._database.in_transaction
    ledger.close()


def test_transactions_are_atomic_and_nest(directory):
    ledger = Ledger.open(directory)

    def fail():
        with ledger.transaction():
            ledger.records.add([Draft(text="a")])
            with ledger.transaction():
                ledger.set_meta("name", "value")
                ledger.log_event("happened")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert (ledger.records.count(), ledger.get_meta("name"), ledger.events()) == (0, None, [])
    with ledger.transaction(), ledger.transaction():
        ledger.records.add([Draft(text="a")])
    assert ledger.records.count() == 1
    with pytest.raises(StorageError, match="inside a transaction"), ledger.transaction():
        ledger.scrub()
    ledger.close()


def test_another_process_s_lock_is_waited_for_and_then_reported(directory):
    ledger = Ledger.open(directory, busy_timeout=0.05)
    other = sqlite3.connect(directory / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BusyError, match=r"waited 0\.05 s for a lock on .*ledger.sqlite3") as caught:
        ledger.records.add([Draft(text="a")])
    assert isinstance(caught.value, TimeoutError)
    assert texts(ledger) == []
    other.execute("COMMIT")
    ledger.records.add([Draft(text="a")])
    other.close()
    ledger.close()


def test_another_thread_s_transaction_is_waited_for_and_then_reported(directory):
    ledger = Ledger.open(directory, busy_timeout=0.05)
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with ledger.transaction():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(10)
    with pytest.raises(BusyError, match=r"waited 0\.05 s"):
        ledger.records.count()
    leave.set()
    thread.join()
    assert ledger.records.count() == 0
    ledger.close()


def test_threads_share_a_ledger(directory):
    ledger = Ledger.open(directory)

    def work(name):
        for n in range(20):
            with ledger.transaction():
                ledger.records.add([Draft(text=f"{name} {n}")])
                ledger.set_meta("count", str(ledger.records.count()))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.get_meta("count") == "80"
    ledger.close()


def test_a_closed_ledger_says_so(directory):
    ledger = Ledger.open(directory)
    ledger.close()
    ledger.close()
    with pytest.raises(StorageError, match="the memory is closed") as caught:
        ledger.records.count()
    assert "Open it again" in caught.value.hint


def test_closing_empties_the_log_even_beside_another_user(directory):
    first, second = Ledger.open(directory), Ledger.open(directory)
    first.records.add([Draft(text="a")])
    first.close()
    assert (directory / f"{FILE}-wal").stat().st_size == 0
    assert texts(second) == ["a"]
    second.close()


def test_meta_and_events(directory):
    ledger = Ledger.open(directory)
    assert ledger.get_meta("embedder") is None
    ledger.set_meta("embedder", "a")
    ledger.set_meta("embedder", "b")
    assert ledger.get_meta("embedder") == "b"
    ledger.set_meta("embedder", None)
    assert ledger.get_meta("embedder") is None
    for n in range(5):
        ledger.log_event("add", {"records": n})
    ledger.log_event("close")
    events = ledger.events(after=3, limit=2)
    assert [(event.seq, event.kind, event.detail) for event in events] == [
        (4, "add", {"records": 3}),
        (5, "add", {"records": 4}),
    ]
    assert ledger.events(after=5)[0].detail == {}
    assert events[0].created_at <= events[1].created_at
    ledger.close()


@pytest.mark.engines
def test_a_snapshot_within_a_transaction_is_refused_and_the_transaction_goes_on(ledger):
    database = ledger.records._database
    with ledger.transaction():
        ledger.records.add([Draft("kept")])
        with pytest.raises(UnsupportedOperationError, match="within a transaction"):  # noqa: SIM117
            with database.snapshot():
                pytest.fail("it began")
        ledger.records.add([Draft("kept, too")])
    with database.snapshot(), pytest.raises(UnsupportedOperationError), database.snapshot():
        pytest.fail("it began")
    assert [record.text for record in ledger.records.page().records] == ["kept", "kept, too"]


def test_a_schema_that_is_no_text_is_damage(tmp_path):
    """SQLite quotes it in its message, as it is."""
    Ledger.open(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as plain:
        plain.execute("PRAGMA writable_schema = ON")
        plain.execute(
            "UPDATE sqlite_master SET name = CAST(x'd0d028' AS TEXT), sql = 'x' WHERE name = 'ttls'"
        )
    plain.close()
    with pytest.raises(CorruptFileError, match=r"expected text in .*, found bytes that are none"):
        Ledger.open(tmp_path)
    report = check(tmp_path)
    assert any("found bytes that are none" in problem for problem in report.left)
