import numpy as np
import pytest

from memkit.errors import DimensionMismatchError, InvalidInputError, NonFiniteError
from memkit.ledger import NewPassage
from memkit.rag.vectors import ivf
from memkit.rag.vectors.flat import FlatIndex
from memkit.rag.vectors.ivf_files import IvfFiles
from memkit.rag.vectors.tiered import TieredIndex
from memkit.testing import MutableVectorIndexContract, VectorIndexContract
from memkit.types import Draft


def store(ledger, vectors):
    """Put vectors into the ledger; gives their keys."""
    last = ledger.passages.last_key()
    records = ledger.records.add([Draft(f"note {last + n}") for n in range(len(vectors))])
    for record, vector in zip(records, vectors, strict=True):
        ledger.passages.insert({record.id: [NewPassage("text", 0, 4, "note", vector)]})
    keys = ledger.passages.all_keys()
    return keys[keys > last]


def built(ledger):
    """An IVF index of what a ledger holds."""
    return IvfFiles(ledger.directory / "index").create(ledger, lambda: False)


class Checked:
    """Ours say why a search is impossible; before an index of the caller's own, memkit does."""

    def test_impossible_searches_are_refused(self):
        vectors = np.eye(12, dtype=np.float32)
        index, _ = self.make_index(np.tile(vectors, (20, 1)))
        query = vectors[:1]
        for k in [0, -1, 1.5, True]:
            with pytest.raises(InvalidInputError, match="`k` must be an integer of at least 1"):
                index.search(query, k=k)
        with pytest.raises(DimensionMismatchError):
            index.search(query[:, :-1], k=1)
        with pytest.raises(NonFiniteError):
            index.search(query * np.float32(np.nan), k=1)
        with pytest.raises(InvalidInputError, match="length 1"):
            index.search(query * np.float32(2), k=1)


class TestFlatIndex(Checked, MutableVectorIndexContract):
    def make_empty(self, dim):
        return FlatIndex(dim)


class TestHnswIndex(MutableVectorIndexContract):
    """The example, which is approximate."""

    recall = 0.95

    @pytest.fixture(autouse=True)
    def make(self, example):
        self.make_empty = example("own_vector_index").HnswIndex


@pytest.mark.parametrize("few", [20, 1000])  # allowed keys up to which all are compared
class TestIvfIndex(Checked, VectorIndexContract):
    recall = 0.98

    @pytest.fixture(autouse=True)
    def folder(self, ledger, monkeypatch, few):
        (ledger.directory / "index").mkdir()
        monkeypatch.setattr(ivf, "EXACT", few)
        self.ledger = ledger

    def make_index(self, vectors):
        with self.ledger.transaction():
            keys = store(self.ledger, vectors)
        index = built(self.ledger)
        assert index.head.lists > 1
        return index, keys


class TestTieredIndex(Checked, VectorIndexContract):
    """Most vectors in the base, some in the tail, some that were in the base and are no more."""

    recall = 0.98

    @pytest.fixture(autouse=True)
    def folder(self, ledger):
        (ledger.directory / "index").mkdir()
        self.ledger = ledger

    def make_index(self, vectors):
        passages = self.ledger.passages
        early, late = vectors[:200], vectors[200:]
        with self.ledger.transaction():
            gone = store(self.ledger, vectors[:9])
            early_keys = store(self.ledger, early)
        base, stamp = built(self.ledger), passages.last_change()
        with self.ledger.transaction():
            self.ledger.records.delete([p.record_id for p in passages.get(gone.tolist()).values()])
            late_keys = store(self.ledger, late)
        index = TieredIndex(vectors.shape[1])
        index.rebase(base, np.empty(0, np.int64))
        touched = passages.touched(stamp, passages.last_change())
        index.apply(touched, late_keys, late)
        return index, np.concatenate([early_keys, late_keys])
