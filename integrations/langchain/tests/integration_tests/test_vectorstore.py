"""LangChain's standard tests of vector stores."""

import pytest
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from langchain_memkit import MemkitVectorStore


class TestMemkitVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path):
        with MemkitVectorStore.open(tmp_path / "store.mem", self.get_embeddings()) as store:
            yield store


class TestOfOneUser(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path):
        with MemkitVectorStore.open(
            tmp_path / "store.mem", self.get_embeddings(), scope={"user": "ann"}
        ) as store:
            yield store
