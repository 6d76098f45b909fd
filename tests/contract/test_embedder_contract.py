import pytest

from memkit.testing import EmbedderContract, HashingEmbedder


class TestHashingEmbedder(EmbedderContract):
    @pytest.fixture
    def embedder(self):
        return HashingEmbedder()


@pytest.mark.real
class TestSentenceEmbedder(EmbedderContract):
    @pytest.fixture
    def embedder(self, minilm):
        return minilm
