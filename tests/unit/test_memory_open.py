"""Opening and closing: what is refused, what is brought in line, what is let go of."""

import logging
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from torch.nn import Linear

from memkit.errors import (
    DirectoryChangedError,
    FormatVersionError,
    IncompatibleModelError,
    NotAMemoryError,
    ReadOnlyError,
    StorageError,
)
from memkit.ledger import Ledger
from memkit.ledger.engine import connect as opening
from memkit.models.language_model import TransformersModel
from memkit.models.sources import Source
from memkit.testing import HashingEmbedder, tiny_llama
from memkit.types import Draft

NORA = "What is the badge number of Nora?"


@pytest.fixture
def directory(tmp_path, trained_directory):
    return shutil.copytree(trained_directory, tmp_path / "copy.mem")


@pytest.fixture(scope="module")
def other_base():
    return tiny_llama(seed=1)


# -- what is refused


def test_a_directory_with_something_else_is_no_memory(tmp_path, open_memory):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(NotAMemoryError, match=r"holds \['thesis.txt'\]") as caught:
        open_memory(tmp_path)
    assert "needs a directory of its own" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(NotAMemoryError, match="got the file"):
        open_memory(tmp_path / "thesis.txt")


def test_nothing_is_made_unless_asked(tmp_path, open_memory):
    with pytest.raises(NotAMemoryError, match="there is no memory at"):
        open_memory(tmp_path / "m", create=False)
    assert not (tmp_path / "m").exists()


def test_a_newer_memory_is_refused(directory, open_memory):
    with sqlite3.connect(directory / "ledger.sqlite3") as plain:
        plain.execute("PRAGMA user_version = 99")
    plain.close()
    with pytest.raises(
        FormatVersionError, match=r"format 99, this memkit reads up to \d+"
    ) as caught:
        open_memory(directory)
    assert caught.value.hint == "Install a newer memkit."


def test_an_opening_that_fails_leaves_no_lock_behind(directory, open_memory):
    with pytest.raises(IncompatibleModelError, match="hashing-32"):
        open_memory(directory, embedder=HashingEmbedder(32))
    with sqlite3.connect(directory / "ledger.sqlite3", timeout=0) as plain:
        plain.execute("BEGIN EXCLUSIVE")
        plain.execute("ROLLBACK")
    plain.close()


# -- another embedder


def test_another_embedder_is_refused_with_the_remedy(directory, open_memory):
    with pytest.raises(
        IncompatibleModelError,
        match=r"made with the embedder 'hashing-64' \(dimension 64\), got 'hashing-32'",
    ) as caught:
        open_memory(directory, embedder=HashingEmbedder(32))
    assert "rebuild=True" in caught.value.hint
    assert open_memory(directory, backends=("buffer",), embedder=HashingEmbedder(32)).stats()


def test_rebuild_adopts_another_embedder_and_keeps_the_adapters(directory, open_memory, badges):
    before = open_memory(directory)
    threshold = before._engine.ledger.get_meta("router_calibration")
    before.close()
    memory = open_memory(directory, embedder=HashingEmbedder(256), rebuild=True)
    assert memory.search(NORA)[0].id == "Nora"
    assert memory.stats().embedder == "hashing-256"
    for draft in badges:
        assert memory.ask(draft.question, budget=0).text == draft.answer
    assert not memory.ask("How do I boil an egg?", budget=0).route
    # Where "none" begins was measured again, with the new similarities.
    assert memory._engine.ledger.get_meta("router_calibration") != threshold
    memory.close()
    assert open_memory(directory, embedder=HashingEmbedder(256)).search(NORA)[0].id == "Nora"


def test_rebuild_needs_no_base_model_without_adapters(tmp_path, open_memory, monkeypatch):
    memory = open_memory(tmp_path / "m")
    memory.add("Deliveries are unloaded at dock three.")
    memory.close()
    monkeypatch.setattr(
        TransformersModel, "load", lambda *_: pytest.fail("a base model was loaded")
    )
    memory = open_memory(
        tmp_path / "m", base_model=None, embedder=HashingEmbedder(32), rebuild=True
    )
    assert memory.search("deliveries")


@pytest.mark.parametrize("kept", ["{}", '{"threshold": 0.4, "version": 1}'])
def test_opening_calibrates_the_router_if_another_version_did(
    directory, open_memory, badges, caplog, kept
):
    with closing(Ledger.open(directory)) as ledger:
        ledger.set_meta("router_calibration", kept)
    with caplog.at_level(logging.INFO, "memkit"):
        memory = open_memory(directory)
    assert "the router is calibrated" in caplog.text
    assert all(memory.recall(draft.question).route for draft in badges)
    memory.close()
    caplog.clear()
    with caplog.at_level(logging.INFO, "memkit"):
        open_memory(directory)
    assert "the router is calibrated" not in caplog.text


def test_opening_calibrates_a_router_that_never_was(directory, open_memory, badges):
    with sqlite3.connect(directory / "ledger.sqlite3") as plain:
        plain.execute("DELETE FROM meta WHERE name = 'router_calibration'")
    plain.close()
    memory = open_memory(directory)
    assert all(memory.recall(draft.question).route for draft in badges)
    assert not memory.recall("How do I boil an egg?").route


# -- another base model


def test_another_base_model_is_refused_with_the_remedy(directory, open_memory, other_base):
    with pytest.raises(
        IncompatibleModelError,
        match=r"module m0001 was trained for 'tiny-llama-0' .*, the base model is 'tiny-llama-1'",
    ) as caught:
        open_memory(directory, base_model=other_base)
    assert "base_model='tiny-llama-0'" in caught.value.hint
    assert "rebuild=True" in caught.value.hint
    kept = open_memory(directory, base_model=other_base, backends=("buffer", "rag"))
    assert kept.search(NORA)[0].id == "Nora"
    assert "m0001" in {module.name for module in kept.modules.list()}


def test_a_crash_is_cleared_up_whatever_the_base_model(directory, open_memory, other_base):
    (directory / "adapters" / "stray.bank").write_bytes(b"x")
    with pytest.raises(IncompatibleModelError, match="module m0001 was trained for"):
        open_memory(directory, base_model=other_base)
    assert not (directory / "adapters" / "stray.bank").exists()


def test_a_model_of_the_same_name_is_compared_when_it_is_used(
    directory, open_memory, other_base, monkeypatch, tmp_path
):
    monkeypatch.setattr(
        "memkit.models.sources.find_base", lambda spec: Source("tiny-llama-0", tmp_path, "path")
    )
    monkeypatch.setattr(TransformersModel, "load", lambda spec, **_: other_base)
    memory = open_memory(directory, base_model="./tiny-llama-0", count_tokens=len)
    assert memory.search(NORA)[0].id == "Nora"
    memory.add("The badge number of Zoe is 7070.", question="Zoe?", answer="7070")
    for use in (
        lambda: memory.ask(NORA),
        lambda: memory.ask("How do I boil an egg?"),
        lambda: memory.stream(NORA),
        memory.consolidate,
    ):
        with pytest.raises(IncompatibleModelError, match="module m0001 was trained for"):
            use()


def test_without_adapters_no_base_model_is_looked_for(tmp_path, open_memory, monkeypatch):
    monkeypatch.setattr("memkit.models.sources.find_base", lambda spec: pytest.fail("looked for"))
    memory = open_memory(tmp_path / "m", base_model="some/model", count_tokens=len)
    memory.add("Deliveries are unloaded at dock three.")
    memory.close()
    assert open_memory(tmp_path / "m", base_model=None, count_tokens=len).search("deliveries")


@pytest.mark.slow
def test_rebuild_adopts_another_base_model(directory, open_memory, other_base, caplog):
    old = open_memory(directory)
    names, records = [module.name for module in old.modules.list()], old.records().records
    old.close()
    memory = open_memory(directory, base_model=other_base, rebuild=True)
    assert (
        "module m0001 is to be trained anew: it was trained for another base model" in caplog.text
    )
    assert memory.modules.list() == []
    assert list((directory / "adapters").iterdir()) == []
    assert memory.records().records == records
    assert memory.search(NORA)[0].id == "Nora"
    assert not memory.ask(NORA, budget=0).route
    memory.close()
    memory = open_memory(directory, base_model=other_base)  # the change is made once
    report = memory.consolidate()
    assert report.held
    answer = memory.ask(memory.get(report.held[0]).question, budget=0)
    assert answer.text == memory.get(report.held[0]).answer
    again = {module.name: module for module in memory.modules.list()}
    assert names[0] in again
    assert again[names[0]].version == 2
    assert {m.manifest["base_model"] for m in again.values()} == {"tiny-llama-1"}
    memory.close()
    assert open_memory(directory, base_model=other_base, rebuild=True).modules.list()


@pytest.mark.slow
def test_retrain_makes_modules_for_another_base_model(directory, open_memory, other_base):
    memory = open_memory(directory, base_model=other_base, rebuild=True)
    assert memory.modules.retrain("m0001").held
    assert memory.modules.list()[0].manifest["base_model"] == "tiny-llama-1"


# -- what is brought in line


def test_records_without_passages_are_indexed(tmp_path, open_memory):
    memory = open_memory(tmp_path / "m")
    memory.add("one", id="one")
    memory._engine.ledger.records.add([Draft("two", id="two")])
    memory.close()
    memory = open_memory(tmp_path / "m")
    assert {hit.id for hit in memory.search("two")} == {"one", "two"}


def test_adapter_files_that_no_module_names_are_removed(
    directory, open_memory, caplog, adapters_in
):
    folder, known = directory / "adapters", adapters_in(directory)
    (bank,) = folder.iterdir()
    shutil.copy(bank, folder / "0123456789abcdef-r4-float16.bank")
    (folder / "m0003-0123456789ab").mkdir()
    (folder / "m0003-0123456789ab" / "weights").write_bytes(b"x")
    (folder / "stray").write_bytes(b"x")
    memory = open_memory(directory)
    left = {path.name for path in folder.iterdir()}
    assert left == {bank.name, "m0003-0123456789ab", "stray"}  # not of memkit's making
    (folder / "stray").unlink()
    shutil.rmtree(folder / "m0003-0123456789ab")
    assert adapters_in(directory) == known
    assert "removing adapters/0123456789abcdef-r4-float16.bank: no module" in caplog.text
    assert memory.ask(NORA, budget=0).text == "4471"


# -- a directory that cannot be written to


@pytest.fixture
def read_only(directory, open_memory, monkeypatch, caplog):
    monkeypatch.setattr(opening, "_can_write", lambda path: False)
    return open_memory(directory)


def test_a_read_only_memory_can_be_asked(read_only, directory, badges):
    assert read_only.search(NORA)[0].id == "Nora"
    assert read_only.recall(NORA).hits[0].id == "Nora"
    assert read_only.ask(NORA, budget=0).text == "4471"
    assert "".join(read_only.stream(NORA, budget=0)) == "4471"
    assert read_only.get("Nora").answer == "4471"
    assert (read_only.stats().records, read_only.stats().held) == (8, 8)


def test_a_read_only_memory_refuses_to_write(read_only, directory):
    def files():
        return {
            path: path.read_bytes()
            for path in directory.rglob("*")
            if path.is_file() and path.name != "adapters.lock"
        }

    before = files()
    for write in (
        lambda: read_only.add("more"),
        lambda: read_only.add_turn("user", "more"),
        lambda: read_only.update("Nora", metadata={"a": 1}),
        lambda: read_only.forget("Nora"),
        lambda: read_only.forget(where={"a": {"$exists": False}}),
        read_only.consolidate,
    ):
        with pytest.raises(ReadOnlyError, match="cannot be opened or written to") as caught:
            write()
        assert "permissions of the directory" in caught.value.hint
    read_only.close()
    assert files() == before


AS_NOBODY = """
import os, sys, tempfile
sys.path[:0] = sys.argv[2:]
from memkit import Memory, MemkitError
from memkit.testing import HashingEmbedder
small = {"backends": ("buffer", "rag"), "embedder": HashingEmbedder(), "count_tokens": len}
with tempfile.TemporaryDirectory() as other, Memory.open(other, **small) as memory:
    memory.add("imports all that nobody may not read")
    memory.recall("imports", 100)
if os.getuid() == 0:  # permissions do not bind root
    os.setuid(65534)
with Memory.open(sys.argv[1], **small) as memory:
    print(memory.search("deliveries")[0].text)
    print(memory.recall("deliveries", 100).hits[0].text)
    try:
        memory.add("more")
    except MemkitError as error:
        print(type(error).__name__)
"""


@pytest.mark.slow
@pytest.mark.parametrize("indexed", [True, False])
def test_real_permissions_make_a_memory_read_only(open_memory, indexed):
    parent = Path(tempfile.mkdtemp())  # not `tmp_path`, whose parents are closed to others
    parent.chmod(0o755)
    directory = parent / "m"
    memory = open_memory(directory)
    memory.add("Deliveries are unloaded at dock three.")
    memory.close()
    if not indexed:
        (directory / "index" / "dense.faiss").unlink()
    for path in (*directory.rglob("*"), directory):
        path.chmod(0o555 if path.is_dir() else 0o444)
    command = [sys.executable, "-c", AS_NOBODY, str(directory), *sys.path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(parent)
    assert done.stdout.splitlines() == [
        "Deliveries are unloaded at dock three.",
        "Deliveries are unloaded at dock three.",
        "ReadOnlyError",
    ], done.stderr
    assert done.stderr == ""


# -- closing


def test_a_memory_is_a_context_manager(tmp_path, opener):
    with opener(tmp_path / "m") as memory:
        memory.add("kept")
    with pytest.raises(StorageError, match="the memory is closed"):
        memory.search("kept")
    with pytest.raises(NotAMemoryError), opener(tmp_path / "m") as memory:  # noqa: PT012
        assert memory.search("kept")
        opener(tmp_path / "other", create=False)
    with pytest.raises(StorageError, match="the memory is closed"):
        memory.search("kept")
    memory.close()


def test_every_verb_of_a_closed_memory_says_that_it_is_closed(trained, caplog):
    trained.close()
    for verb in (
        lambda: trained.add("text"),
        lambda: trained.add_turn("user", "text"),
        lambda: trained.update("Nora", "4471"),
        trained.consolidate,
        lambda: trained.forget("Nora"),
        lambda: trained.get("Nora"),
        lambda: trained.history("Nora"),
        trained.records,
        trained.turns,
        trained.modules.list,
        lambda: trained.search("badge"),
        lambda: trained.recall("badge"),
        lambda: trained.ask("badge"),
        lambda: trained.ask_batch(["badge"]),
        lambda: trained.stream("badge"),
        trained.stats,
    ):
        with pytest.raises(StorageError, match="the memory is closed") as e:
            verb()
        assert e.value.hint == "Open it again, or use it inside its `with` block."
    assert "trained.mem" in repr(trained)
    assert caplog.records == []


def test_closing_takes_the_hooks_off_the_base_model(tmp_path, open_memory, trained_directory):
    base = tiny_llama()
    linear = [layer for layer in base.model.modules() if isinstance(layer, Linear)]
    shutil.copytree(trained_directory, tmp_path / "m")
    memory = open_memory(tmp_path / "m", base_model=base)
    assert memory.ask(NORA, budget=0).text == "4471"
    assert sum(bool(layer._forward_hooks) for layer in linear) == 14  # seven in each of two layers
    memory.close()
    assert sum(bool(layer._forward_hooks) for layer in linear) == 0


def test_closing_writes_the_index_for_the_next_opening(tmp_path, open_memory, caplog):
    memory = open_memory(tmp_path / "m")
    memory.add("Deliveries are unloaded at dock three.")
    memory.close()
    with caplog.at_level(logging.INFO, logger="memkit"):
        again = open_memory(tmp_path / "m")
    assert caplog.records == []  # nothing had to be rebuilt
    assert again.search("deliveries")


# -- models are loaded late, and once


def test_the_base_model_is_loaded_when_it_is_needed_and_once(
    directory, open_memory, monkeypatch, tiny
):
    loads = []

    def load(spec, **_):
        loads.append(spec)
        time.sleep(0.2)
        return tiny

    monkeypatch.setattr(TransformersModel, "load", load)
    memory = open_memory(directory, base_model="some/model", count_tokens=len)
    memory.add("text")
    memory.search("text")
    memory.recall("text")
    memory.update("Nora", metadata={"a": 1})
    memory.stats()
    assert loads == []
    threads = [threading.Thread(target=memory.ask, args=("text",)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == ["some/model"]


# -- a directory that goes away


@pytest.mark.parametrize("harm", ["removed", "moved", "replaced", "ledger removed"])
def test_a_directory_that_went_away_while_it_was_open_is_noticed(tmp_path, open_memory, harm):
    path = tmp_path / "m"
    memory = open_memory(path, backends=("rag",))
    memory.add("The archive is on the second floor.", id="a")
    if harm == "ledger removed":
        (path / "ledger.sqlite3").unlink()
    elif harm == "removed":
        shutil.rmtree(path)
    else:
        path.rename(tmp_path / "moved")
    if harm == "replaced":
        open_memory(path, backends=("rag",)).close()
    expected = pytest.raises(DirectoryChangedError, match=r"removed, moved or replaced while")
    backup = tmp_path / "backup"
    backup.write_text("what was exported before")
    for use in (
        lambda: memory.export(backup),
        lambda: memory.add("The key is in the drawer."),
        lambda: memory.add_turn("user", "Hello."),
        lambda: memory.forget("a"),
        lambda: memory.retention.pin("a"),
        memory.close,
    ):
        with expected:
            use()
    memory.close()  # it is closed by now
    assert backup.read_text() == "what was exported before"
    if harm == "ledger removed":
        assert not (path / "ledger.sqlite3").exists()
    if harm in {"removed", "moved"}:
        assert not path.exists()  # nothing was made anew in its place


def test_a_memory_that_is_left_alone_closes_quietly(tmp_path, open_memory):
    memory = open_memory(tmp_path / "m", backends=("rag",))
    memory.add("The archive is on the second floor.")
    memory.close()
    memory.close()
