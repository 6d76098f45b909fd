"""`MemkitVectorStore`: what LangChain's standard tests leave open.

Expected similarities are computed with numpy from what the embedder gives.
"""

import warnings
from datetime import UTC, datetime

import numpy as np
import pytest
from blockbuster import blockbuster_ctx
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.vectorstores import InMemoryVectorStore

import memkit
from langchain_memkit import LangChainEmbedder, MemkitEmbeddings, MemkitVectorStore
from memkit import IncompatibleModelError, InvalidInputError, Memory
from memkit.testing import HashingEmbedder

ANN, BOB = {"user": "ann"}, {"user": "bob"}
TEXTS = [f"Locker {number} stands in hall {number % 5}." for number in range(30)]
METADATAS = [{"hall": number % 5, "of": {"floor": number}} for number in range(30)]
IDS = [f"l{number}" for number in range(30)]
FAKE = DeterministicFakeEmbedding(size=16)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.mem"


@pytest.fixture
def store(path):
    with MemkitVectorStore.open(path, FAKE) as store:
        yield store


@pytest.fixture
def filled(store):
    store.add_texts(TEXTS, METADATAS, ids=IDS)
    return store


@pytest.fixture
def reference():
    """The same documents in LangChain's own exact store."""
    reference = InMemoryVectorStore(FAKE)
    reference.add_texts(TEXTS, METADATAS, ids=IDS)
    return reference


def ids(documents):
    return [document.id for document in documents]


def cosines(query):
    """Of the query with each text, in order."""
    rows = np.array(FAKE.embed_documents(TEXTS))
    vector = np.array(FAKE.embed_query(query))
    return rows @ vector / np.linalg.norm(rows, axis=1) / np.linalg.norm(vector)


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


# -- searching


@pytest.mark.parametrize("k", [1, 4, 7, 30])
def test_the_k_nearest_come_best_first(filled, k):
    expected = np.argsort(-cosines("in which hall"))[:k]

    found = filled.similarity_search_with_score("in which hall", k=k)

    assert [document.id for document, _ in found] == [IDS[place] for place in expected]
    assert [score for _, score in found] == pytest.approx(cosines("in which hall")[expected])
    by_vector = filled.similarity_search_by_vector(FAKE.embed_query("in which hall"), k=k)
    assert by_vector == [document for document, _ in found]
    assert filled.similarity_search("in which hall", k=k) == by_vector


def test_four_come_unless_asked(filled):
    assert len(filled.similarity_search("locker")) == 4
    assert len(filled.similarity_search("locker", k=99)) == 30


def test_filters_act_inside_the_search(filled):
    where = {"hall": 3, "of.floor": {"$gte": 8}}
    places = [place for place in range(30) if place % 5 == 3 and place >= 8]
    expected = sorted(places, key=lambda place: -cosines("locker")[place])

    assert ids(filled.similarity_search("locker", k=3, filter=where)) == [
        IDS[place] for place in expected[:3]
    ]


@pytest.mark.parametrize("lambda_mult", [0.0, 0.25, 0.5, 1.0])
def test_maximal_marginal_relevance_chooses_like_langchains_own(filled, reference, lambda_mult):
    options = {"k": 5, "fetch_k": 12, "lambda_mult": lambda_mult}

    found = filled.max_marginal_relevance_search("hall", **options)

    assert ids(found) == ids(reference.max_marginal_relevance_search("hall", **options))
    vector = FAKE.embed_query("hall")
    assert filled.max_marginal_relevance_search_by_vector(vector, **options) == found


SEARCHES = ("similarity_search", "max_marginal_relevance_search", "similarity_search_with_score")


@pytest.mark.parametrize("verb", SEARCHES)
def test_searches_select_by_time(store, verb):
    def found(**times):
        rows = getattr(store, verb)("Where is the locker?", k=9, **times)
        return {row[0].page_content if isinstance(row, tuple) else row.page_content for row in rows}

    before = datetime.now(UTC)
    store.add_texts(["The locker is in hall 1.", "The bench is in hall 1."], ids=["a", "b"])
    then = datetime.now(UTC)
    store.add_texts(["The locker is in hall 2.", "The sofa is in hall 2."], ids=["a", "c"])

    now = {"The locker is in hall 2.", "The bench is in hall 1.", "The sofa is in hall 2."}
    assert found() == found(as_of=datetime.now(UTC)) == found(since=before) == now
    assert found(as_of=then) == {"The locker is in hall 1.", "The bench is in hall 1."}
    assert found(until=then) == {"The bench is in hall 1."}
    assert found(since=then) == {"The locker is in hall 2.", "The sofa is in hall 2."}
    assert found(as_of=before) == set()
    with pytest.raises(InvalidInputError, match="`since` must have a time zone"):
        found(since=datetime(2026, 1, 1))


async def test_times_reach_the_async_twins(store):
    await store.aadd_texts(["The locker is in hall 1."])
    later = datetime.now(UTC)
    for search in (store.asimilarity_search, store.amax_marginal_relevance_search):
        assert await search("locker", since=later) == []
        assert len(await search("locker", until=later)) == 1
    assert await store.as_retriever(search_kwargs={"as_of": later}).ainvoke("locker") != []


def test_differences_are_those_of_the_past(store):
    """Of three documents that were there, the two that differed then are chosen."""
    texts = {"a": "red hall", "b": "red hall", "c": "blue locker"}
    store.add_texts(list(texts.values()), ids=list(texts))
    then = datetime.now(UTC)
    store.add_texts(["red hall", "blue locker", "red hall"], ids=list(texts))
    found = store.max_marginal_relevance_search("hall", 2, lambda_mult=0.0, as_of=then)
    assert {document.page_content for document in found} == {"red hall", "blue locker"}


def test_maximal_marginal_relevance_filters(filled):
    found = filled.max_marginal_relevance_search("hall", k=3, fetch_k=4, filter={"hall": 2})

    assert {document.metadata["hall"] for document in found} == {2}
    assert len(found) == 3
    assert filled.max_marginal_relevance_search("hall", filter={"hall": 9}) == []


def test_relevance_is_the_cosine_without_what_points_away(filled):
    found = filled.similarity_search_with_relevance_scores("hall", k=30)

    expected = np.sort(np.clip(cosines("hall"), 0, 1))[::-1]
    assert [score for _, score in found] == pytest.approx(expected, abs=1e-6)
    assert (cosines("hall") < 0).any()
    above = filled.similarity_search_with_relevance_scores("hall", k=30, score_threshold=0.2)
    assert len(above) == (cosines("hall") >= 0.2).sum() > 0


def test_it_is_a_retriever_in_every_way(filled):
    plain = filled.as_retriever(search_kwargs={"k": 2, "filter": {"hall": 1}})
    assert [d.metadata["hall"] for d in plain.invoke("locker")] == [1, 1]

    diverse = filled.as_retriever(search_type="mmr", search_kwargs={"k": 3})
    assert diverse.invoke("locker") == filled.max_marginal_relevance_search("locker", k=3)

    near = filled.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.9}
    )
    assert ids(near.invoke(TEXTS[7])) == ["l7"]


SEARCH_KWARGS = {"k": 3, "fetch_k": 5, "lambda_mult": 0.2, "score_threshold": 0.05}


@pytest.mark.parametrize("search_type", ["similarity", "mmr", "similarity_score_threshold"])
async def test_a_retriever_may_change_its_search_and_keep_its_options(filled, search_type):
    retriever = filled.as_retriever(
        search_type=search_type,
        search_kwargs={**SEARCH_KWARGS, "filter": {"of.floor": {"$gte": 8}}},
    )
    near = [place for place in np.argsort(-cosines("locker")) if place >= 8][:5]
    assert cosines("locker")[near[-1]] > 0.05
    expected = {IDS[place] for place in near[: 5 if search_type == "mmr" else 3]}

    for found in (retriever.invoke("locker"), await retriever.ainvoke("locker")):
        assert len(found) == 3
        assert set(ids(found)) <= expected
    assert len(retriever.invoke("locker", k=1)) == 1
    assert [len(found) for found in retriever.batch(["locker", "hall"], k=2)] == [2, 2]
    assert len(filled.search("locker", search_type, **SEARCH_KWARGS)) == 3


@pytest.mark.parametrize("verb", SEARCHES)
def test_a_threshold_is_the_lowest_similarity(filled, verb):
    threshold = float(np.sort(cosines("hall"))[-4])

    rows = getattr(filled, verb)("hall", k=9, score_threshold=threshold - 1e-6)

    found = ids(row[0] if isinstance(row, tuple) else row for row in rows)
    assert sorted(found) == sorted(IDS[place] for place in np.argsort(-cosines("hall"))[:4])
    assert len(getattr(filled, verb)("hall", k=30, fetch_k=30, score_threshold=-1)) == 30
    with pytest.raises(InvalidInputError, match="`score_threshold` must be a number, got 'high'"):
        getattr(filled, verb)("hall", score_threshold="high")


@pytest.mark.parametrize(
    ("call", "message", "remedy"),
    [
        (
            lambda s: s.similarity_search("x", where={"hall": 1}),
            r"got \['where'\]",
            "is called `fil",
        ),
        (lambda s: s.similarity_search("x", search_type="mmr"), "'search_type'", "as_retriever"),
        (lambda s: s.similarity_search("x", color=1), r"than \['as_of', .*, got \['color'\]", ""),
        (lambda s: s.add_texts(["One."], namespace="n"), r"\['batch_size'\], got", "by `scope`"),
        (lambda s: s.delete(["l1"], namespace="n"), r"than \[\], got \['namespace'\]", "`scope`"),
        (
            lambda s: s.similarity_search("x", filter=lambda document: True),
            "`filter` must be a mapping, got <function",
            "documents that were found",
        ),
    ],
)
def test_options_that_mean_nothing_are_refused_with_a_remedy(filled, call, message, remedy):
    with pytest.raises(InvalidInputError, match=message) as refused:
        call(filled)
    assert remedy in refused.value.hint
    assert len(filled.similarity_search("locker", k=99)) == 30


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


def test_no_relevance_outside_of_the_range_is_warned_about(filled):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(filled.similarity_search_with_relevance_scores("hall", k=30)) == 30


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


@pytest.mark.parametrize("query", [None, 5, b"x", "\ud800", "", " "])
def test_what_is_no_query_is_refused(filled, query):
    for search in (filled.similarity_search, filled.max_marginal_relevance_search):
        with pytest.raises(InvalidInputError, match="`query` must"):
            search(query)


def test_queries_are_found_in_both_spellings(store):
    store.add_texts(["Zo\u00eb", "Bob"], ids=["z", "b"])
    [(document, score)] = store.similarity_search_with_score("Zoe\u0308", k=1)
    assert (document.id, score) == ("z", pytest.approx(1))


@pytest.mark.parametrize(
    "options", [{"k": 0}, {"k": None}, {"fetch_k": "5"}, {"fetch_k": None}, {"lambda_mult": "1"}]
)
def test_what_cannot_select_is_refused(filled, options):
    with pytest.raises(InvalidInputError, match=f"`{next(iter(options))}` must be"):
        filled.max_marginal_relevance_search("Locker", **options)


@pytest.mark.parametrize("memory", [None, "store.mem", Memory])
def test_a_store_needs_an_open_memory(memory):
    with pytest.raises(InvalidInputError, match="`memory` must be an open memory"):
        MemkitVectorStore(memory)
