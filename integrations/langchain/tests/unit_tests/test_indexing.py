"""`index()` of langchain-core and its other callers of vector stores, beside its own store."""

import hashlib

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.example_selectors import (
    MaxMarginalRelevanceExampleSelector,
    SemanticSimilarityExampleSelector,
)
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from langchain_core.tools import create_retriever_tool
from langchain_core.vectorstores import InMemoryVectorStore

import memkit
from langchain_memkit import MemkitVectorStore

FAKE = DeterministicFakeEmbedding(size=16)
CLEANUPS = [None, "incremental", "full", "scoped_full"]


@pytest.fixture
def store(tmp_path):
    with MemkitVectorStore.open(tmp_path / "store.mem", FAKE) as store:
        yield store


def document(text, source, **metadata):
    return Document(page_content=text, metadata={"source": source, **metadata})


HALLS = [document(f"Hall {number} has {number} doors.", "halls.txt") for number in range(1, 6)]
ROOFS = [document(f"Roof {number} leaks.", "roofs.txt") for number in range(1, 4)]
STATES = [
    [*HALLS, *ROOFS],
    [*HALLS, *ROOFS],  # nothing is new
    [*HALLS[:2], document("Hall 3 was closed.", "halls.txt"), *ROOFS[:1]],
    [document(HALLS[0].page_content, "halls.txt", page=7)],  # its metadata alone
    [HALLS[4], HALLS[4]],  # twice
    [],
]


class Indexed:
    """A store and the record manager beside it."""

    def __init__(self, store):
        self.store = store
        self.manager = InMemoryRecordManager("notes")
        self.manager.create_schema()

    def options(self, cleanup):
        return {"cleanup": cleanup, "source_id_key": "source", "key_encoder": "sha256"}

    def index(self, documents, cleanup, **options):
        return index(documents, self.manager, self.store, **{**self.options(cleanup), **options})

    async def aindex(self, documents, cleanup, **options):
        return await aindex(
            documents, self.manager, self.store, **{**self.options(cleanup), **options}
        )

    def documents(self):
        found = self.store.similarity_search("hall", k=99)
        return sorted((d.id, d.page_content, sorted(d.metadata.items())) for d in found)


@pytest.mark.parametrize("cleanup", CLEANUPS)
@pytest.mark.parametrize("batch_size", [2, 100])
def test_index_does_what_it_does_with_langchains_own_store(store, cleanup, batch_size):
    ours, reference = Indexed(store), Indexed(InMemoryVectorStore(FAKE))
    for state in STATES:
        result = ours.index(state, cleanup, batch_size=batch_size)
        assert result == reference.index(state, cleanup, batch_size=batch_size)
        assert ours.documents() == reference.documents()


@pytest.mark.parametrize("cleanup", CLEANUPS)
async def test_aindex_as_well_without_blocking_the_loop(store, cleanup):
    ours, reference = Indexed(store), Indexed(InMemoryVectorStore(FAKE))
    for state in STATES:
        with blockbuster_ctx([memkit]):
            result = await ours.aindex(state, cleanup, batch_size=3)
        assert result == await reference.aindex(state, cleanup, batch_size=3)
        assert ours.documents() == reference.documents()


def test_what_is_indexed_is_written_once_and_deleted_for_good(store):
    indexed = Indexed(store)
    assert indexed.index(HALLS, "full")["num_added"] == 5
    assert indexed.index(HALLS, "full")["num_skipped"] == 5
    assert {record.version for record in store.memory.records().records} == {1}
    result = indexed.index(HALLS[:2], "full")
    assert (result["num_skipped"], result["num_deleted"]) == (2, 3)
    assert [record.text for record in store.memory] == [d.page_content for d in HALLS[:2]]
    forced = indexed.index(HALLS[:2], "full", force_update=True)
    assert forced["num_updated"] == 2
    assert store.memory.count() == 2


@pytest.mark.parametrize(
    ("encoder", "ids"),
    [
        (
            lambda document: hashlib.sha256(document.page_content.encode()).hexdigest(),
            {hashlib.sha256(d.page_content.encode()).hexdigest() for d in HALLS},
        ),
        (
            lambda document: document.metadata["source"],  # one document a source: the last
            {"halls.txt"},
        ),
    ],
)
def test_ids_are_those_of_the_key_encoder(store, encoder, ids):
    indexed = Indexed(store)
    indexed.index(HALLS, None, key_encoder=encoder)
    assert {record.id for record in store.memory} == ids
    assert indexed.index(HALLS, None, key_encoder=encoder)["num_added"] == 0


@pytest.mark.parametrize("encoder", ["sha256", "sha512", "blake2b"])
def test_every_named_key_encoder(store, encoder):
    indexed = Indexed(store)
    assert indexed.index(HALLS, "full", key_encoder=encoder)["num_added"] == 5
    assert indexed.index(HALLS, "full", key_encoder=encoder)["num_skipped"] == 5


def test_a_batch_with_a_document_that_cannot_be_stored_is_indexed_later(store):
    indexed = Indexed(store)
    with pytest.raises(memkit.InvalidInputError, match="entry 5 of the list: `text` must not be"):
        indexed.index([*HALLS, document(" ", "halls.txt")], "full")
    assert store.memory.count() == 0
    assert indexed.index(HALLS, "full")["num_added"] == 5


# -- examples for prompts

EXAMPLES = [
    {"input": word, "output": opposite}
    for word, opposite in [("happy", "sad"), ("tall", "short"), ("sunny", "gloomy")]
]


@pytest.mark.parametrize(
    ("selector", "options"),
    [
        (SemanticSimilarityExampleSelector, {"vectorstore_kwargs": {"fetch_k": 9}}),
        (MaxMarginalRelevanceExampleSelector, {"fetch_k": 3}),
    ],
)
async def test_examples_are_selected_as_from_langchains_own_store(tmp_path, selector, options):
    common = {"k": 2, "input_keys": ["input"], **options}
    reference = selector.from_examples(EXAMPLES, FAKE, InMemoryVectorStore, **common)
    ours = selector.from_examples(EXAMPLES, FAKE, MemkitVectorStore, path=tmp_path / "a", **common)
    async_ours = await selector.afrom_examples(
        EXAMPLES, FAKE, MemkitVectorStore, path=tmp_path / "b", **common
    )
    new = {"input": "fast", "output": "slow"}
    for each in (reference, ours):
        each.add_example(new)
    await async_ours.aadd_example(new)
    for word in ("glad", "quick", "bright"):
        chosen = reference.select_examples({"input": word})
        assert ours.select_examples({"input": word}) == chosen
        assert await async_ours.aselect_examples({"input": word}) == chosen
    for each in (ours, async_ours):
        each.vectorstore.close()


# -- retrievers and tools over the store


def test_a_store_that_could_not_be_filled_is_closed(tmp_path):
    with pytest.raises(memkit.InvalidInputError, match="must not be empty"):
        MemkitVectorStore.from_texts(["One.", " "], FAKE, path=tmp_path / "a")
    with MemkitVectorStore.open(tmp_path / "a", FAKE) as store:
        assert store.memory.count() == 0


async def test_a_retriever_is_a_tool(store):
    store.add_documents(HALLS, batch_size=2)
    retriever = store.as_retriever(search_kwargs={"k": 1})
    tool = create_retriever_tool(retriever, "halls", "Finds halls.")
    assert tool.invoke({"query": HALLS[2].page_content}) == HALLS[2].page_content
    assert await tool.ainvoke({"query": HALLS[3].page_content}) == HALLS[3].page_content
    retriever.add_documents(ROOFS, batch_size=2)
    assert retriever.invoke(ROOFS[1].page_content)[0].page_content == ROOFS[1].page_content
