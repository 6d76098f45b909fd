"""Embeddings across the border, both ways."""

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_memkit import LangChainEmbedder, MemkitEmbeddings
from memkit import InvalidInputError, Memory
from memkit.errors import NonFiniteError
from memkit.testing import EmbedderContract, HashingEmbedder

FAKE = DeterministicFakeEmbedding(size=16)


class Fixed(Embeddings):
    """Embeds everything as it is told to."""

    def __init__(self, *rows):
        self.rows = rows

    def embed_documents(self, texts):
        return [list(row) for row in self.rows][: len(texts)]

    def embed_query(self, text):
        return list(self.rows[0])


class TestContract(EmbedderContract):
    @pytest.fixture
    def embedder(self):
        return LangChainEmbedder(FAKE)


def test_vectors_are_those_of_the_embeddings_scaled_to_length_one():
    expected = np.array(FAKE.embed_documents(["one", "two"]))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    embedder = LangChainEmbedder(FAKE)

    np.testing.assert_allclose(embedder.encode_document(["one", "two"]), expected, atol=1e-6)
    np.testing.assert_allclose(embedder.encode_query(["one"]), expected[:1], atol=1e-6)


def test_a_memory_works_with_langchains_embeddings(tmp_path):
    with Memory.open(tmp_path / "m", backends=["rag"], embedder=LangChainEmbedder(FAKE)) as memory:
        memory.add(["The gate opens at six.", "The archive is on the second floor."])
        hits = memory.search("gate", 1)

    assert [hit.text for hit in hits] == ["The gate opens at six."]


@pytest.mark.parametrize(
    ("embeddings", "name"),
    [
        (FAKE, "langchain:DeterministicFakeEmbedding"),
        (type("Hosted", (Fixed,), {"model": "text-9"})([1.0]), "langchain:Hosted:text-9"),
    ],
)
def test_the_name_is_of_class_and_model(embeddings, name):
    assert LangChainEmbedder(embeddings).name == name
    assert LangChainEmbedder(embeddings, name="mine").name == "mine"


def test_a_vector_of_zeros_is_refused():
    with pytest.raises(InvalidInputError, match="of a positive length, got one of zeros"):
        LangChainEmbedder(Fixed([1.0, 0.0], [0.0, 0.0])).encode_document(["one", "two"])


def test_vectors_of_different_lengths_are_refused():
    with pytest.raises(InvalidInputError, match=r"vectors of one length, got \[1, 2\]"):
        LangChainEmbedder(Fixed([1.0, 0.0], [1.0])).encode_document(["one", "two"])


def test_what_is_not_finite_does_not_get_into_a_memory(tmp_path):
    embedder = LangChainEmbedder(Fixed([float("nan"), 1.0]))
    with (
        Memory.open(tmp_path / "m", backends=["rag"], embedder=embedder) as memory,
        pytest.raises(NonFiniteError, match="expected finite vectors"),
    ):
        memory.add("The gate opens at six.")


def test_memkits_embedder_for_langchain():
    embeddings, embedder = MemkitEmbeddings(HashingEmbedder()), HashingEmbedder()

    assert embeddings.embed_query("one") == embedder.encode_query(["one"])[0].tolist()
    assert embeddings.embed_documents(["one", "two"]) == (
        embedder.encode_document(["one", "two"]).tolist()
    )
    assert embeddings.embed_documents([]) == []


async def test_memkits_embedder_in_langchains_own_store():
    """The nearest are those of cosines computed by hand."""
    texts = ["The gate opens at six.", "The canteen opens at noon.", "A red kite."]
    rows = HashingEmbedder().encode_document(texts)
    query = HashingEmbedder().encode_query(["canteen opens"])[0]
    expected = [texts[place] for place in np.argsort(-(rows @ query))]
    store = InMemoryVectorStore.from_texts(texts, MemkitEmbeddings(HashingEmbedder()))
    for found in (
        store.similarity_search("canteen opens", k=3),
        await store.asimilarity_search("canteen opens", k=3),
    ):
        assert [document.page_content for document in found] == expected
    assert expected[0] == texts[1]
