"""Opening a memory makes nothing heavy; the first verb that needs it does, once."""

import threading

import pytest

from memkit import Memory
from memkit.errors import IncompatibleModelError, ModelUnavailableError
from memkit.memory import assembly
from memkit.memory.engine import Engine
from memkit.models.sources import Source
from memkit.testing import HashingEmbedder


@pytest.fixture
def loaded(monkeypatch, tmp_path):
    """Counts how often the default embedder is loaded, which is a small one here."""
    counts = []

    def load(given):
        counts.append(given)
        return HashingEmbedder()

    def find(given=None, *, fetch=True):
        assert not fetch, "opening must not go to the network"
        return Source(given or "hashing-64", tmp_path, "package")

    monkeypatch.setattr(Engine, "load_embedder", staticmethod(load))
    monkeypatch.setattr(assembly, "find_embedder", find)
    return counts


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "agent.mem"
    with Memory.open(path, embedder=HashingEmbedder(), backends=("rag",)) as memory:
        memory.add("The archive is on the second floor.", id="archive")
    return path


def test_looking_at_records_loads_no_embedder(path, loaded):
    with Memory.open(path) as memory:
        assert memory.get("archive").version == 1
        assert memory.count() == len(list(memory)) == 1
        assert memory.stats().backends == {
            "buffer": {"turns": 0}, "rag": {"passages": 1}, "lora": {"modules": 0, "held": 0},
        }  # fmt: skip
        assert memory.modules.list() == []
        assert memory.history("archive")
        memory.add_turn("assistant", "Noted.", remember=False)
        assert loaded == [None]  # a turn is written to every backend
        assert memory.search("archive")[0].id == "archive"
        assert memory.search("floor")
    assert loaded == [None]


def test_a_memory_that_was_only_looked_at_is_closed_as_it_was(path, loaded):
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with Memory.open(path) as memory:
        assert memory.count() == 1
    assert loaded == []
    after = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    assert {name: after.get(name) for name in before} == before


def test_an_embedder_of_another_name_is_refused_on_opening(path, loaded):
    with Memory.open(path, embedder="hashing-64"):
        assert loaded == []
    # It is loaded to compare what tells embedders apart; here that is the same, after all.
    with Memory.open(path, embedder="org/other"):
        assert loaded == ["org/other"]


def test_other_weights_of_the_same_name_are_refused_when_they_are_used(path, loaded, monkeypatch):
    monkeypatch.setattr(Engine, "load_embedder", staticmethod(lambda _: HashingEmbedder(32)))
    with Memory.open(path) as memory:
        assert memory.count() == 1
        for _ in range(2):  # and whenever it is tried again
            with pytest.raises(IncompatibleModelError, match="hashing-64"):
                memory.search("archive")


def test_records_can_be_read_where_there_is_no_embedder(path, monkeypatch):
    def nowhere(given=None, *, fetch=True):
        raise ModelUnavailableError("expected the model in one of these places", "install it")

    monkeypatch.setattr(assembly, "find_embedder", nowhere)
    monkeypatch.setattr("memkit.models.embedder.find_embedder", nowhere)
    with Memory.open(path) as memory:
        assert memory.get("archive")
        with pytest.raises(ModelUnavailableError, match="expected the model"):
            memory.search("archive")


def test_threads_that_come_first_together_make_the_parts_once(path, loaded, monkeypatch):
    begun, all_there = threading.Event(), threading.Barrier(4, timeout=60)
    load = Engine.load_embedder

    def slow(given):
        begun.set()
        return load(given)

    monkeypatch.setattr(Engine, "load_embedder", staticmethod(slow))
    found = []
    with Memory.open(path) as memory:

        def search():
            all_there.wait()
            found.append(memory.search("archive")[0].id)

        threads = [threading.Thread(target=search) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == ["archive"] * 4
    assert loaded == [None]
    assert begun.is_set()


def test_what_was_written_without_an_index_is_indexed_when_one_is_needed(path, loaded):
    with Memory.open(path, backends=("buffer",)) as memory:
        memory.add("The night porter keeps the keys.", id="porter")
    with Memory.open(path) as memory:
        assert memory.count() == 2
        assert loaded == []
        assert memory.search("keys of the porter")[0].id == "porter"
