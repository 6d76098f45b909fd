"""The example of a backend passes the suite that it is told to pass."""

import importlib.util
from pathlib import Path

import pytest

from memkit.testing import BackendContract
from memkit.types import Draft

PATH = Path(__file__).parents[2] / "examples" / "own_backend.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("own_backend", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestGlossary(BackendContract):
    @pytest.fixture
    def backend(self, example):
        return example.Glossary()

    def make_draft(self, number, scope):
        term = f"term{number}"
        return Draft(f"Meaning {number}.", f"What is {term}?", None, scope, {"term": term})
