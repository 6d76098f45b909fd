import numpy as np
import pytest

from memkit.rag.reranker import CrossEncoderReranker
from memkit.testing import HashingEmbedder, RerankerContract


class Overlap:
    """Predicts as a cross-encoder does: one number per pair, in an array."""

    def predict(self, pairs):
        assert pairs, "a cross-encoder cannot predict nothing"
        words = [[set(text.lower().split()) for text in pair] for pair in pairs]
        return np.array([len(query & text) for query, text in words], np.float32)


class TestCrossEncoderReranker(RerankerContract):
    @pytest.fixture
    def reranker(self):
        return CrossEncoderReranker(Overlap())


class TestFunction(RerankerContract):
    @pytest.fixture
    def reranker(self):
        embedder = HashingEmbedder(256)

        def cosine(query, texts):
            return (embedder.encode_document(texts) @ embedder.encode_query([query])[0]).tolist()

        return cosine
