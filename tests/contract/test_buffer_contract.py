import pytest

from memkit.buffer import BufferBackend
from memkit.ledger import Ledger
from memkit.testing import BackendContract
from memkit.types import Draft


class TestBufferBackend(BackendContract):
    """With the records themselves; turns have a narrower rule of scopes (see test_buffer)."""

    @pytest.fixture
    def backend(self, tmp_path):
        self.ledger = Ledger.open(tmp_path / "memory")
        yield BufferBackend(self.ledger, with_records=True)
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
