import pytest

from memkit.ledger import Ledger
from memkit.rag.index import FactIndex
from memkit.rag.rag_backend import RagBackend
from memkit.testing import BackendContract, HashingEmbedder


@pytest.mark.engines
class TestRagBackend(BackendContract):
    @pytest.fixture
    def backend(self, place):
        self.ledger = Ledger.open(place)
        self.records = self.ledger.records
        yield RagBackend(self.ledger, FactIndex(self.ledger, HashingEmbedder()))
        self.ledger.close()

    def remove(self, backend, ids):
        with self.ledger.transaction():
            backend.delete(ids)
            self.ledger.records.delete(ids)
        backend.scrub()
