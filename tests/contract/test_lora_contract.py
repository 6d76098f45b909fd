from dataclasses import replace

import pytest

from memkit.testing import BackendContract


@pytest.mark.engines
@pytest.mark.slow
class TestLoraBackend(BackendContract):
    """One record to a module: what shares a module with a deleted record leaves with it."""

    @pytest.fixture
    def backend(self, place, open_memory, recipe):
        alone = replace(recipe, records_per_module=1)
        self.memory = open_memory(place, backends=("lora",), recipe=alone)
        self.records = self.memory._engine.ledger.records
        return self.memory._engine.lora

    def make_recallable(self, backend):
        self.memory.consolidate()

    def make_records(self, drafts):
        return self.memory.add(drafts)
