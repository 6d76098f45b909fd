from dataclasses import replace

import pytest

from memkit.testing import BackendContract
from memkit.types import Draft


class TestLoraBackend(BackendContract):
    """One record to a module: what shares a module with a deleted record leaves with it."""

    @pytest.fixture
    def backend(self, tmp_path, open_memory, recipe):
        alone = replace(recipe, records_per_module=1)
        self.memory = open_memory(tmp_path / "m", backends=("lora",), recipe=alone)
        return self.memory._engine.lora

    def settle(self, backend):
        self.memory.consolidate()

    def make_records(self, n):
        return self.memory.add(
            [
                Draft(r.text, r.question, r.answer, r.scope, r.metadata, r.id)
                for r in super().make_records(n)
            ]
        )
