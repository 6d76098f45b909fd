"""`MemkitVectorStore`: what LangChain's standard tests leave open of writing and of scopes."""

from datetime import UTC, datetime

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

import memkit
from langchain_memkit import LangChainEmbedder, MemkitEmbeddings, MemkitVectorStore
from memkit import IncompatibleModelError, InvalidInputError, Memory
from memkit.testing import HashingEmbedder

ANN, BOB = {"user": "ann"}, {"user": "bob"}
TEXTS = [f"Locker {number} stands in hall {number % 5}." for number in range(30)]
METADATAS = [{"hall": number % 5, "of": {"floor": number}} for number in range(30)]
IDS = [f"l{number}" for number in range(30)]
FAKE = DeterministicFakeEmbedding(size=16)

pytestmark = pytest.mark.engines


@pytest.fixture
def path(place):
    return place


@pytest.fixture
def store(path):
    with MemkitVectorStore.open(path, FAKE) as store:
        yield store


@pytest.fixture
def filled(store):
    store.add_texts(TEXTS, METADATAS, ids=IDS)
    return store


def ids(documents):
    return [document.id for document in documents]


# -- what is stored


def test_ids_texts_and_metadata_come_back(filled):
    documents = filled.get_by_ids(["l3", "l1"])

    assert documents == [
        Document(id="l3", page_content=TEXTS[3], metadata=METADATAS[3]),
        Document(id="l1", page_content=TEXTS[1], metadata=METADATAS[1]),
    ]
    for document in filled.similarity_search("locker", k=30):
        place = IDS.index(document.id)
        assert (document.page_content, document.metadata) == (TEXTS[place], METADATAS[place])


def test_the_same_text_under_two_ids_is_two_documents(store):
    store.add_texts(["Left blank.", "Left blank."], [{"page": 1}, {"page": 2}], ids=["a", "b"])
    made_up = store.add_texts(["Left blank.", "Left blank."])

    found = store.similarity_search("Left blank.", k=9)
    assert sorted(ids(found)) == sorted(["a", "b", *made_up])
    assert {d.id: d.metadata for d in found if d.metadata} == {"a": {"page": 1}, "b": {"page": 2}}


def test_metadata_alone_can_be_replaced(store):
    store.add_texts(["One."], [{"page": 1, "draft": True}], ids=["a"])
    store.add_texts(["One."], [{"page": 2}], ids=["a"])

    assert store.get_by_ids(["a"]) == [Document(id="a", page_content="One.", metadata={"page": 2})]
    assert store.similarity_search("One.", filter={"draft": True}) == []


def test_of_an_id_that_repeats_the_last_counts(store):
    assert store.add_texts(["One.", "Two."], ids=["a", "a"]) == ["a", "a"]
    assert [document.page_content for document in store.similarity_search("x", k=9)] == ["Two."]


def test_documents_outlive_the_process(path, filled):
    expected = filled.similarity_search_with_score("locker", k=30)
    filled.close()

    with MemkitVectorStore.open(path, FAKE) as again:
        assert again.similarity_search_with_score("locker", k=30) == expected


def test_another_embedding_is_refused(path, filled):
    filled.close()

    with pytest.raises(IncompatibleModelError, match="made with the embedder 'langchain:Determ"):
        MemkitVectorStore.open(path, DeterministicFakeEmbedding(size=8))


def test_a_document_is_a_record_of_the_memory(filled):
    assert filled.memory.get("l3").text == TEXTS[3]
    filled.memory.update("l3", "Locker 3 was sold.")

    assert filled.get_by_ids(["l3"])[0].page_content == "Locker 3 was sold."


def test_delete_erases(filled):
    assert filled.delete(["l1", "nobody", "l2", "l1"]) is True
    assert filled.get_by_ids(["l1", "l2"]) == []
    assert len(filled.similarity_search("locker", k=99)) == 28

    filled.delete()
    assert filled.similarity_search("locker") == []
    assert filled.memory.stats().records == 0


def test_nothing_is_added_if_something_is_wrong(store):
    with pytest.raises(InvalidInputError, match="expected one of `ids` for each of 2 texts, got 1"):
        store.add_texts(["One.", "Two."], ids=["a"])
    with pytest.raises(ValueError, match="one of `metadatas` for each of 2 texts, got 1"):
        store.add_texts(["One.", "Two."], [{}])
    with pytest.raises(InvalidInputError, match=r"entry 1 .*`text` must not be empty or blank"):
        store.add_texts(["One.", " "])
    with pytest.raises(InvalidInputError, match="entry 1 of the list: `text` must not contain NUL"):
        store.add_documents([Document("One."), Document("Two\0")])
    with pytest.raises(InvalidInputError, match="entry 1 of the list: `metadata"):
        store.add_texts(["One.", "Two."], [{}, {"read": datetime.now(UTC)}])

    assert store.similarity_search("One.") == []


# -- whose documents


@pytest.fixture
def shared(path):
    """A store of what is shared, Ann's and Bob's, over one memory."""
    with Memory.open(path, backends=["rag"], embedder=LangChainEmbedder(FAKE)) as memory:
        stores = [MemkitVectorStore(memory, scope=scope) for scope in ({}, ANN, BOB)]
        for store, name in zip(stores, ("all", "ann", "bob"), strict=True):
            store.add_texts([f"What {name} may know."], ids=[name])
        yield stores


def test_a_scope_sees_its_own_and_what_is_shared(shared):
    everyone, ann, _bob = shared

    assert ids(everyone.similarity_search("know", k=9)) == ["all"]
    assert set(ids(ann.similarity_search("know", k=9))) == {"all", "ann"}
    assert set(ids(ann.max_marginal_relevance_search("know", k=9))) == {"all", "ann"}
    assert set(ids(everyone.similarity_search("know", k=9, scope=BOB))) == {"all", "bob"}
    assert ids(ann.get_by_ids(["all", "ann", "bob"])) == ["all", "ann"]


def test_what_belongs_to_others_cannot_be_deleted(shared):
    everyone, ann, bob = shared

    ann.delete(["bob"])
    everyone.delete(["bob"])
    with pytest.raises(InvalidInputError, match=r"document .all. is of the scope .*, which is sha"):
        ann.delete(["ann", "all"])
    everyone.delete()

    assert ids(ann.get_by_ids(["all", "ann"])) == ["ann"]
    assert ids(bob.get_by_ids(["bob"])) == ["bob"]


def test_an_id_of_another_scope_is_taken(shared):
    _, ann, bob = shared
    with pytest.raises(InvalidInputError, match="`id` 'ann' is in use"):
        bob.add_texts(["What Bob says."], ids=["ann"])

    assert ann.get_by_ids(["ann"])[0].page_content == "What ann may know."


# -- making a store


def test_from_documents_and_from_texts(tmp_path):
    documents = [Document(id="a", page_content="One.", metadata={"page": 1})]
    with MemkitVectorStore.from_documents(documents, FAKE, path=tmp_path / "a") as store:
        assert store.similarity_search("One.") == documents
    with MemkitVectorStore.from_texts(
        ["One."], FAKE, [{"page": 1}], ids=["a"], path=tmp_path / "b", scope=ANN
    ) as store:
        assert store.get_by_ids(["a"]) == documents
        assert store.memory.get("a", scope=ANN).scope == ANN


def test_a_store_needs_a_place(tmp_path):
    with pytest.raises(InvalidInputError, match="expected a `path`"):
        MemkitVectorStore.from_texts(["One."], FAKE)
    with pytest.raises(InvalidInputError, match=r"got .'persist_directory'.") as refused:
        MemkitVectorStore.from_texts(["One."], FAKE, persist_directory="x", path=tmp_path / "x")
    assert "`path`" in refused.value.hint


def test_the_embedding_is_the_one_in_use(store, memory):
    assert store.embeddings is FAKE
    own = MemkitVectorStore(memory).embeddings
    assert isinstance(own, MemkitEmbeddings)
    assert own.embed_query("one") == HashingEmbedder().encode_query(["one"])[0].tolist()


# -- async


class AsyncOnly(Embeddings):
    """Refuses to embed a query in any way but by ``await``."""

    def embed_documents(self, texts):
        return FAKE.embed_documents(texts)

    def embed_query(self, text):
        assert text == "dimension", "blocks"
        return FAKE.embed_query(text)

    async def aembed_query(self, text):
        return FAKE.embed_query(text)


async def test_async_gives_the_same_and_does_not_block(path, filled):
    expected = filled.similarity_search_with_score("hall", k=3)
    diverse = filled.max_marginal_relevance_search("hall", k=3)
    filled.close()

    with Memory.open(
        path,
        backends=["rag"],
        embedder=LangChainEmbedder(AsyncOnly(), name=LangChainEmbedder(FAKE).name),
    ) as memory:
        store = MemkitVectorStore(memory)
        with blockbuster_ctx([memkit]):
            assert await store.asimilarity_search_with_score("hall", k=3) == expected
            assert await store.asimilarity_search("hall", k=3) == [d for d, _ in expected]
            assert await store.amax_marginal_relevance_search("hall", k=3) == diverse
            await store.aadd_texts(["New."], ids=["new"])
            assert ids(await store.aget_by_ids(["new"])) == ["new"]
            await store.adelete(["new"])
        relevant = await store.asimilarity_search_with_relevance_scores("hall", k=3)
        assert [d for d, _ in relevant] == [d for d, _ in expected]


def test_a_string_is_no_list(store):
    store.add_texts(["Red.", "Blue.", "Green."], ids=["a", "b", "c"])
    for call in (
        lambda: store.delete("abc"),
        lambda: store.delete({"a": 1}),
        lambda: store.get_by_ids("abc"),
        lambda: store.add_texts("abc"),
        lambda: store.add_texts(None),
        lambda: store.add_texts(["Grey."], ids="a"),
        lambda: store.add_texts(["Grey."], [{}], ids=5),
        lambda: store.add_texts(["Grey."], {"hall": 5}),
    ):
        with pytest.raises(InvalidInputError, match="must be a"):
            call()
    assert [d.page_content for d in store.get_by_ids(["a", "b", "c"])] == [
        "Red.",
        "Blue.",
        "Green.",
    ]
    assert store.memory.count() == 3


@pytest.mark.parametrize("memory", [None, "store.mem", Memory])
def test_a_store_needs_an_open_memory(memory):
    with pytest.raises(InvalidInputError, match="`memory` must be an open memory"):
        MemkitVectorStore(memory)
