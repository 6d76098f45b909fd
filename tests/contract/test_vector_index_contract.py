import numpy as np
import pytest

from memkit.ledger import NewPassage
from memkit.rag.vectors import ivf
from memkit.rag.vectors.flat import FlatIndex
from memkit.rag.vectors.ivf_files import IvfFiles
from memkit.rag.vectors.tiered import TieredIndex
from memkit.testing import VectorIndexContract
from memkit.types import Draft


def store(ledger, vectors):
    """Put vectors into the ledger; gives their keys."""
    last = ledger.passages.ever()
    records = ledger.records.add([Draft(f"note {last + n}") for n in range(len(vectors))])
    for record, vector in zip(records, vectors, strict=True):
        ledger.passages.insert({record.id: [NewPassage("text", 0, 4, "note", vector)]})
    keys = ledger.passages.all_keys()
    return keys[keys > last]


def built(ledger):
    """An IVF index of what a ledger holds."""
    return IvfFiles(ledger.directory / "index").create(ledger, None, lambda: False)


class TestFlatIndex(VectorIndexContract):
    def make_index(self, vectors):
        keys = np.random.default_rng(0).permutation(10 * len(vectors))[: len(vectors)]
        index = FlatIndex(vectors.shape[1])
        index.add(keys, vectors)
        return index, keys


@pytest.mark.parametrize("few", [20, 1000])  # allowed keys up to which all are compared
class TestIvfIndex(VectorIndexContract):
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


class TestTieredIndex(VectorIndexContract):
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
