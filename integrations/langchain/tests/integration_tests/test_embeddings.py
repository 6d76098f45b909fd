"""LangChain's standard tests of embeddings, for the default model and for a small one."""

import pytest
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_memkit import MemkitEmbeddings
from memkit.testing import HashingEmbedder


class TestSmallUnit(EmbeddingsUnitTests):
    embeddings_class = MemkitEmbeddings
    embedding_model_params = {"model": HashingEmbedder()}


class TestSmall(EmbeddingsIntegrationTests):
    embeddings_class = MemkitEmbeddings
    embedding_model_params = {"model": HashingEmbedder()}


@pytest.mark.real
class TestDefault(EmbeddingsIntegrationTests):
    embeddings_class = MemkitEmbeddings
    embedding_model_params = {}
