"""Another embedder for a memory in use: nothing is lost, nothing waits, one moment of change."""

import threading

import numpy as np
import pytest

from memkit import IncompatibleModelError
from memkit.errors import BusyError, NonFiniteError
from memkit.ledger import Ledger
from memkit.ledger.engine.locks import embedding_lock
from memkit.rag.index import FactIndex
from memkit.rag.reembed import reembed
from memkit.testing import HashingEmbedder
from memkit.types import Draft

pytestmark = pytest.mark.engines

TEXTS = [f"Parcel {n} is at gate {n * 7}." for n in range(300)]


class Other(HashingEmbedder):
    """The same words at other coordinates, and something to do while it embeds."""

    def __init__(self, dim=64, *, meanwhile=None):
        super().__init__(dim)
        self.name = f"other-{dim}"
        self.calls = 0
        self._meanwhile = meanwhile

    def encode_document(self, texts):
        self.calls += 1
        if self._meanwhile is not None:
            self._meanwhile(self.calls)
        return np.roll(super().encode_document(texts), 1, axis=1)


@pytest.fixture
def rag(open_memory, place):
    memory = open_memory(place, backends=("rag",), base_model=None)
    memory.add(TEXTS)
    return memory


def vectors(memory):
    """What the ledger holds, against what the embedder gives for the passages' texts."""
    database = memory._engine.ledger._database
    rows = database.rows(
        "SELECT text, vector FROM passages LEFT JOIN vectors ON passage = key ORDER BY key"
    )
    return [text for text, _ in rows], np.array([np.frombuffer(v, "<f4") for _, v in rows])


@pytest.mark.parametrize("dim", [64, 32])
def test_the_memory_goes_on_with_the_new_embedder(rag, open_memory, dim):
    new = Other(dim)

    assert rag.vectors.reembed(new) == len(TEXTS)

    texts, stored = vectors(rag)
    assert np.array_equal(stored, new.encode_document(texts))
    assert rag.search(TEXTS[7], k=1)[0].text == TEXTS[7]
    assert rag.search(TEXTS[7], k=1)[0].similarity > 0.99
    assert rag.stats().embedder == new.name
    record = rag.add("A late parcel.")
    assert rag.search("late parcel", k=1)[0].id == record.id
    place = rag._engine.ledger.place
    rag.close()
    with pytest.raises(IncompatibleModelError, match=f"made with the embedder '{new.name}'"):
        open_memory(place, backends=("rag",))
    again = open_memory(place, backends=("rag",), embedder=new)
    assert again.search(TEXTS[9], k=1)[0].similarity > 0.99
    assert again.vectors.reembed(new) == 0


def test_searches_and_writes_go_on_meanwhile(rag):
    seen = []

    def meanwhile(call):
        if call == 2:
            rag.add("Added while embedding.")
            rag.forget(rag.search(TEXTS[0], k=1)[0].id)
        hit = rag.search(TEXTS[5], k=1)[0]
        seen.append((hit.text, hit.similarity > 0.99, rag.vectors.embedder.name))

    new = Other(32, meanwhile=meanwhile)
    rag.vectors.reembed(new)

    assert set(seen) == {(TEXTS[5], True, "hashing-64")}
    texts, stored = vectors(rag)
    assert "Added while embedding." in texts
    assert TEXTS[0] not in texts
    assert stored.shape == (len(TEXTS), 32)


def test_threads_never_see_a_mixture(rag):
    stop, wrong, count = threading.Event(), [], [0]

    def search():
        while not stop.is_set():
            hit = rag.search(TEXTS[5], k=1)[0]
            count[0] += 1
            if hit.text != TEXTS[5] or hit.similarity < 0.99:
                wrong.append(hit)

    def add():
        for n in range(40):
            rag.add(f"Letter {n} is late.")

    threads = [threading.Thread(target=task) for task in (search, add)]
    for thread in threads:
        thread.start()
    for dim in (32, 64, 48, 64):
        rag.vectors.reembed(Other(dim))
    stop.set()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert count[0] > 0
    texts, stored = vectors(rag)
    assert len(texts) == len(TEXTS) + 40
    assert np.array_equal(stored, Other(64).encode_document(texts))


def test_what_a_killed_run_has_done_is_not_done_again(rag):
    def killed(call):
        if call == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rag.vectors.reembed(Other(32, meanwhile=killed))
    assert rag.search(TEXTS[5], k=1)[0].similarity > 0.99  # with the old one
    assert rag.vectors.reembed(Other(32)) == len(TEXTS) - 128

    texts, stored = vectors(rag)
    assert np.array_equal(stored, Other(32).encode_document(texts))


def test_half_done_for_another_embedder_is_dropped(rag):
    with pytest.raises(ZeroDivisionError):
        rag.vectors.reembed(Other(32, meanwhile=lambda call: 1 // (2 - call)))
    assert rag._engine.ledger.shadow_vectors.begun == "other-32"
    assert rag.vectors.reembed(Other(48)) == len(TEXTS)
    assert rag._engine.ledger.shadow_vectors.begun is None


def test_another_user_of_the_memory_is_told(rag):
    ledger = Ledger.open(rag._engine.ledger.place)
    other = FactIndex(ledger, HashingEmbedder())
    other.sync()
    rag.vectors.reembed(Other(64))

    with pytest.raises(IncompatibleModelError, match="made with the embedder 'other-64'"):
        other.sync()
    with pytest.raises(IncompatibleModelError, match="made with the embedder 'other-64'"):
        other.write(ledger.records.add([Draft("From elsewhere.")]))
    other.close()
    ledger.close()


@pytest.mark.parametrize("dim", [64, 32])
def test_another_user_in_the_middle_of_a_search_is_told(rag, dim):
    ledger = Ledger.open(rag._engine.ledger.place)

    class Slow(HashingEmbedder):
        def encode_query(self, texts):
            rag.vectors.reembed(Other(dim))
            return super().encode_query(texts)

    other = FactIndex(ledger, Slow())
    with pytest.raises(IncompatibleModelError, match=f"made with the embedder 'other-{dim}'"):
        other.query_vector("parcel")
    other.close()
    ledger.close()


def test_one_at_a_time(rag):
    with (
        embedding_lock(rag._engine.ledger),
        pytest.raises(BusyError, match="is embedding this memory anew"),
    ):
        rag.vectors.reembed(Other())


def test_an_embedder_that_fails_changes_nothing(rag):
    class Broken(Other):
        def encode_document(self, texts):
            return super().encode_document(texts) * np.nan

    with pytest.raises(NonFiniteError, match="row 0 holds NaN"):
        rag.vectors.reembed(Broken())
    assert rag.search(TEXTS[5], k=1)[0].text == TEXTS[5]


def test_a_reembedding_alone_needs_no_index(rag):
    place = rag._engine.ledger.place
    rag.close()
    ledger = Ledger.open(place)
    assert reembed(ledger, Other(16)) == len(TEXTS)
    assert ledger.get_meta("embedder") == "other-16"
    ledger.close()


def test_modules_go_on_answering(trained):
    trained.vectors.reembed(HashingEmbedder(256))

    answer = trained.ask("What is the badge number of Nora?", budget=0)

    assert (answer.text, bool(answer.route)) == ("4471", True)


def test_a_memory_without_records(open_memory, place):
    memory = open_memory(place, backends=("rag",))
    assert memory.vectors.reembed(Other(32)) == 0
    memory.add("Something.")
    assert memory.stats().embedder == "other-32"
