import pytest

from memkit.buffer import BufferBackend
from memkit.ledger import Ledger
from memkit.testing import BackendContract


@pytest.mark.engines
class TestBufferBackend(BackendContract):
    """With the records themselves; turns have a narrower rule of scopes (see test_buffer)."""

    @pytest.fixture
    def backend(self, place):
        self.ledger = Ledger.open(place)
        self.records = self.ledger.records
        yield BufferBackend(self.ledger, with_records=True)
        self.ledger.close()

    def remove(self, backend, ids):
        with self.ledger.transaction():
            backend.delete(ids)
            self.ledger.records.delete(ids)
        backend.scrub()
