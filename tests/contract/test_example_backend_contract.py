"""The example of a backend passes the suite that it is told to pass."""

import pytest

from memkit.testing import BackendContract
from memkit.types import Draft


class TestGlossary(BackendContract):
    @pytest.fixture
    def backend(self, example):
        return example("own_backend").Glossary()

    def make_draft(self, number, scope):
        term = f"term{number}"
        return Draft(f"Meaning {number}.", f"What is {term}?", None, scope, {"term": term})
