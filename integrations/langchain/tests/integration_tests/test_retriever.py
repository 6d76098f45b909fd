"""LangChain's standard tests of retrievers."""

import pytest
from langchain_tests.integration_tests import RetrieversIntegrationTests

from langchain_memkit import MemkitRetriever


class TestMemkitRetriever(RetrieversIntegrationTests):
    retriever_constructor = MemkitRetriever
    retriever_query_example = "When does the gate open?"

    @pytest.fixture(autouse=True)
    def _filled(self, memory):
        memory.add([f"Gate {number} opens at {number + 5}." for number in range(1, 6)])
        self.memory = memory

    @property
    def retriever_constructor_params(self):
        return {"memory": self.memory}
