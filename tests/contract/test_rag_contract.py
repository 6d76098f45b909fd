import pytest

from memkit.ledger import Ledger
from memkit.rag.backend import RagBackend
from memkit.rag.index import FactIndex
from memkit.testing import BackendContract, HashingEmbedder
from memkit.types import Draft


class TestRagBackend(BackendContract):
    @pytest.fixture
    def backend(self, tmp_path):
        self.ledger = Ledger.open(tmp_path / "memory")
        yield RagBackend(self.ledger, FactIndex(self.ledger, HashingEmbedder()))
        self.ledger.close()

    def make_records(self, n):
        records = super().make_records(n)
        return self.ledger.records.add(
            [Draft(r.text, r.question, r.answer, r.scope, r.metadata, r.id) for r in records]
        )

    def remove(self, backend, ids):
        with self.ledger.transaction():
            backend.delete(ids)
            self.ledger.records.delete(ids)
        backend.scrub()
