"""Tests that every embedder passes."""

from __future__ import annotations

import numpy as np

from memkit.protocols import Embedder

_ODD_TEXTS = ("", " \n\t", "nul \0 byte", "e\u0301 \u202e \U0001f9ed", "word " * 3000, "<s> [CLS]")


class EmbedderContract:
    """What every `memkit.protocols.Embedder` does. Define the fixture ``embedder``."""

    def test_is_named(self, embedder: Embedder) -> None:
        """The name tells embedders apart, so it must not be empty."""
        assert isinstance(embedder.name, str)
        assert embedder.name

    def test_rows_are_unit_vectors(self, embedder: Embedder) -> None:
        """Whatever the text, its row is finite and of length 1."""
        for encode in (embedder.encode_query, embedder.encode_document):
            rows = encode(_ODD_TEXTS)
            assert rows.shape == (len(_ODD_TEXTS), embedder.dim)
            assert rows.dtype == np.float32
            np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)

    def test_nothing_makes_no_rows(self, embedder: Embedder) -> None:
        for encode in (embedder.encode_query, embedder.encode_document):
            rows = encode([])
            assert rows.shape == (0, embedder.dim)
            assert rows.dtype == np.float32

    def test_a_batch_is_its_texts_in_order(self, embedder: Embedder) -> None:
        texts = ["a long text about the keys of the harbour office", "keys", "porters and badges"]
        for encode in (embedder.encode_query, embedder.encode_document):
            singles = np.concatenate([encode([text]) for text in texts])
            np.testing.assert_allclose(encode(texts), singles, atol=1e-5)

    def test_repeats_itself(self, embedder: Embedder) -> None:
        first, second = (embedder.encode_document(["keys", "badges"]) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_a_text_is_nearest_to_itself(self, embedder: Embedder) -> None:
        """Queries and documents share one space."""
        texts = ["the porter's badge is 4471", "the harbour closes at six", "Ada keeps the archive"]
        similarity = embedder.encode_query(texts) @ embedder.encode_document(texts).T
        assert similarity.argmax(axis=1).tolist() == [0, 1, 2]
