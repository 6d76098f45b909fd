"""LangChain's standard tests of vector stores."""

import pytest
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from langchain_memkit import MemkitVectorStore


@pytest.mark.engines
class TestMemkitVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, place):
        with MemkitVectorStore.open(place, self.get_embeddings()) as store:
            yield store


@pytest.mark.engines
class TestOfOneUser(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, place):
        with MemkitVectorStore.open(place, self.get_embeddings(), scope={"user": "ann"}) as store:
            yield store
