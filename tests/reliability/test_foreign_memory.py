"""A memory that somebody else prepared harms no file of whoever opens it."""

import os
import shutil
import sqlite3
from contextlib import closing, suppress

import pytest

from memkit.errors import (
    CorruptFileError,
    DestructionPendingError,
    InvalidInputError,
    MemkitError,
    UnsafePathError,
)
from memkit.ledger import Ledger
from memkit.ledger.engine.checksums import checksum, stamp
from memkit.memory.check import check

TEXT = "what the opener would miss\n" * 400


@pytest.fixture
def directory(tmp_path, trained_directory):
    """A trained memory, to be tampered with."""
    return shutil.copytree(trained_directory, tmp_path / "agent.mem")


@pytest.fixture
def victim(tmp_path):
    """A file beside the memory that is none of its business."""
    path = tmp_path / "victim.txt"
    path.write_text(TEXT)
    return path


def sql(directory, statement, *parameters):
    with closing(sqlite3.connect(directory / "ledger.sqlite3")) as database, database:
        database.create_function("checksum", 2, lambda *row: checksum(row))  # as anybody can
        database.execute(statement, parameters)


def use(opener, directory, **options):
    """Open a memory and do all that writes to its files."""
    with suppress(MemkitError), opener(directory, **options) as memory:
        memory.add("A new fact.")
        memory.forget(next(iter(memory)).id, retrain=False)
        memory.retention.sweep()
        memory.forget_all()
    with suppress(MemkitError):
        check(directory, repair=True)


PATHS = {
    "parent": lambda victim: f"../{victim.name}",
    "through a folder of ours": lambda victim: f"adapters/../../{victim.name}",
    "absolute": str,
    "absolute folder": lambda victim: str(victim.parent / "folder"),
    "row of a file elsewhere": lambda victim: f"../{victim.name}#0",
    "backslash": lambda victim: f"..\\{victim.name}",
    "NUL": lambda victim: f"../{victim.name}\0.bank",
    "folder inside of ours": lambda victim: "adapters/inner/kept.txt",
    "our own folder": lambda victim: "adapters",
    "the memory itself": lambda victim: ".",
    "the ledger": lambda victim: "ledger.sqlite3",
    "nothing": lambda victim: "",
    "a row that is no number": lambda victim: "adapters/x.bank#-1",
}
PLACES = {
    "erasure": "INSERT INTO erasures VALUES (?)",
    "being written": "REPLACE INTO meta VALUES ('adapter_being_written', ?1, "
    "checksum('adapter_being_written', ?1))",
    "module": "UPDATE module_versions SET file = ? WHERE module = 'm0001'",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", PATHS)
def test_no_path_of_a_ledger_leads_out_of_the_memory(directory, victim, opener, name, place):
    folder = victim.parent / "folder"
    inner = directory / "adapters" / "inner"
    for path in (folder, inner):
        path.mkdir()
        (path / "kept.txt").write_text(TEXT)
    sql(directory, PLACES[place], PATHS[name](victim))
    use(opener, directory, backends=("buffer",) if place == "erasure" else ("rag", "lora"))
    assert victim.read_text() == TEXT
    assert (folder / "kept.txt").read_text() == TEXT
    assert (inner / "kept.txt").read_text() == TEXT
    assert (directory / "ledger.sqlite3").stat().st_size > 0


@pytest.mark.parametrize("place", ["erasure", "being written"])
def test_opening_says_which_path_it_refuses_and_repair_removes_it(directory, victim, opener, place):
    sql(directory, PLACES[place], f"../{victim.name}")
    with pytest.raises(UnsafePathError, match=r"below adapters/ or index/.*'\.\./victim\.txt'"):
        opener(directory)
    assert any("'../victim.txt'" in problem for problem in check(directory).left)
    assert check(directory, repair=True).left == []
    assert victim.read_text() == TEXT
    with opener(directory) as memory:
        assert memory.stats().modules == 2


def test_a_module_with_a_path_elsewhere_is_out_of_service_after_a_repair(directory, victim, opener):
    sql(directory, PLACES["module"], f"../{victim.name}#0")
    with pytest.raises(UnsafePathError, match=r"victim\.txt#0"):
        opener(directory)
    assert check(directory, repair=True).left == []
    with opener(directory) as memory:
        assert [module.name for module in memory.modules.list()] == ["m0002"]
        assert len(memory.consolidate().held) == 4
    assert victim.read_text() == TEXT


LINKED = ["adapters", "index"]


@pytest.mark.parametrize("backends", [("buffer",), ("rag", "lora")], ids=str)
@pytest.mark.parametrize("name", LINKED)
def test_a_folder_of_the_memory_that_leads_elsewhere_is_refused(
    tmp_path, directory, opener, name, backends
):
    elsewhere = tmp_path / "elsewhere"
    shutil.move(directory / name, elsewhere)
    (elsewhere / "other.faiss").write_text(TEXT)
    (elsewhere / "stray.bank").write_text(TEXT)
    (directory / name).symlink_to(elsewhere)
    before = {path.name: path.read_bytes() for path in elsewhere.iterdir()}
    use(opener, directory, backends=backends)
    assert {path.name: path.read_bytes() for path in elsewhere.iterdir()} == before
    with pytest.raises(UnsafePathError, match=rf"{name}'.*symbolic link"):
        opener(directory)


FILES = [
    "ledger.sqlite3", "ledger.sqlite3-wal", "ledger.sqlite3-shm", "ledger.sqlite3-journal",
    "adapters.lock", "embedding.lock", "index/dense.lock", "index/build.lock",
    "index/dense.faiss", "index/dense.faiss.tmp", "index/clusters.head", "index/clusters.head.tmp",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["symbolic link", "names"])
@pytest.mark.parametrize("name", [*FILES, "bank"])
def test_a_file_of_the_memory_that_is_another_one_too_is_left_alone(
    directory, victim, opener, name, kind
):
    if name == "bank":
        [bank] = (directory / "adapters").glob("*.bank")
        name = f"adapters/{bank.name}"
    path = directory / name
    if path.exists():  # so that its content is taken for the memory's
        victim.write_bytes(path.read_bytes())
        path.unlink()
    before = victim.read_bytes()
    if kind == "names":
        path.hardlink_to(victim)
    else:
        path.symlink_to(victim)
    use(opener, directory)
    assert victim.read_bytes() == before


@pytest.mark.parametrize("name", ["ledger.sqlite3", "ledger.sqlite3-wal", "adapters.lock", "bank"])
@pytest.mark.parametrize("kind", ["symbolic link", "2 names"])
def test_the_error_says_what_is_wrong_with_the_file(directory, victim, opener, name, kind):
    if name == "bank":
        [bank] = (directory / "adapters").glob("*.bank")
        name = f"adapters/{bank.name}"
    path = directory / name
    if path.exists():
        path.rename(victim)
    (path.hardlink_to if kind == "2 names" else path.symlink_to)(victim)
    with pytest.raises(UnsafePathError, match=rf"{path.name}'.*{kind}"):
        open_and_forget(opener, directory)


def open_and_forget(opener, directory):
    try:
        with opener(directory) as memory:
            memory.forget_all()
    except DestructionPendingError as exc:
        raise exc.__cause__ from exc


def test_a_backup_made_of_links_can_be_read_where_nothing_can_be_written(
    tmp_path, directory, opener, monkeypatch
):
    copy = shutil.copytree(directory, tmp_path / "copy", copy_function=os.link)
    monkeypatch.setattr("memkit.ledger.engine.connect._can_write", lambda _: False)
    with opener(copy) as memory:
        assert memory.ask("What is the badge number of Nora?", budget=0).text == "4471"
    assert check(directory).problems == check(copy).problems


def test_an_export_does_not_take_the_place_of_the_memorys_files(directory, opener, tmp_path):
    (tmp_path / "link").symlink_to(directory)
    with opener(directory) as memory:
        for path in (directory / "ledger.sqlite3", tmp_path / "link" / "adapters" / "x"):
            with pytest.raises(InvalidInputError, match="outside of the memory's directory"):
                memory.export(path)
    assert check(directory).sound


def test_what_the_user_has_put_into_a_folder_of_the_memory_stays(directory, opener):
    names = ["adapters/notes.txt", "adapters/deep/notes.bank", "index/notes.txt"]
    for name in names:
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(TEXT)
    use(opener, directory)
    assert [(directory / name).read_text() for name in names] == [TEXT] * 3
    notes = [f.what for f in check(directory).findings if f.state == "note"]
    assert any("notes.txt" in note for note in notes)


def test_a_memory_may_be_opened_through_a_link_to_it(tmp_path, directory, opener):
    (tmp_path / "link").symlink_to(directory)
    with opener(tmp_path / "link") as memory:
        (tmp_path / "link").unlink()  # where it leads is settled by now
        memory.add("A new fact.")
        memory.forget_all()
    assert check(directory).sound
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.mem"]


def test_a_journal_that_names_another_file_is_refused(directory, victim, opener):
    # The end of a journal, by SQLite's file format: the name of a "super-journal", its length, the
    # sum of its bytes, and a magic number; SQLite removes that file when it rolls back.
    name = str(victim).encode()
    end = (len(name)).to_bytes(4) + sum(name).to_bytes(4) + bytes.fromhex("d9d505f920a163d7")
    head = bytes.fromhex("d9d505f920a163d7") + bytes(500)
    (directory / "ledger.sqlite3-journal").write_bytes(head + bytes(4) + name + end)
    with pytest.raises(UnsafePathError, match="journal"):
        opener(directory)
    assert victim.read_text() == TEXT


NAMES = ["../../evil", "/evil", "a/b", "a\\b", ".", "..", "a\0b"]


def rename_module(directory, name):
    for table, column in (("modules", "name"), ("module_versions", "module"), ("members", "module"),
                          ("placements", "module")):  # fmt: skip
        sql(directory, f"UPDATE {table} SET {column} = ? WHERE {column} = 'm0001'", name)


@pytest.mark.parametrize("name", NAMES)
def test_a_module_whose_name_was_changed_is_not_looked_for(directory, tmp_path, opener, name):
    rename_module(directory, f"{tmp_path}/evil" if name == "/evil" else name)
    assert any("not as written" in problem for problem in check(directory).left)
    with pytest.raises(CorruptFileError, match="its row in 'modules' has another checksum"):
        opener(directory)
    check(directory, repair=True)
    with opener(directory) as memory:
        assert [module.name for module in memory.modules.list()] == ["m0002"]
        memory.export(tmp_path / "dump", adapters=True)
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_module_leads_nowhere(directory, tmp_path, opener, name):
    """Whoever changes names may compute checksums, too."""
    rename_module(directory, f"{tmp_path}/evil" if name == "/evil" else name)
    with closing(Ledger.open(directory)) as ledger, ledger.transaction():
        for table in ("modules", "module_versions", "members"):
            stamp(ledger._database, table, "TRUE")
    assert any("the name of a module" in problem for problem in check(directory).left)
    (tmp_path / "out").mkdir()
    with opener(directory) as memory, pytest.raises(UnsafePathError, match="name of a module"):
        memory.export(tmp_path / "out" / "dump", adapters=True)
    assert list((tmp_path / "out").iterdir()) == []
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("harm", ["record = 'Other'", "version = 7", "module = 'm0002'"])
def test_forgetting_does_not_go_by_damaged_members(directory, opener, harm):
    sql(directory, f"UPDATE members SET {harm} WHERE record = 'Nora'")
    with opener(directory) as memory:
        with pytest.raises(CorruptFileError, match="its row in 'members' has another checksum"):
            memory.forget("Nora")
        assert "Nora" in memory
    check(directory, repair=True)
    with opener(directory) as memory:
        assert "m0001" not in {module.name for module in memory.modules.list()}
        assert all(memory.forget("Nora").checks.values())
    assert check(directory).sound
