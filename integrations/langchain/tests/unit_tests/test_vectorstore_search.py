"""`MemkitVectorStore`: what LangChain's standard tests leave open of searches.

Expected similarities are computed with numpy from what the embedder gives.
"""

import warnings
from datetime import UTC, datetime

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_memkit import MemkitVectorStore
from memkit import InvalidInputError

TEXTS = [f"Locker {number} stands in hall {number % 5}." for number in range(30)]
METADATAS = [{"hall": number % 5, "of": {"floor": number}} for number in range(30)]
IDS = [f"l{number}" for number in range(30)]
FAKE = DeterministicFakeEmbedding(size=16)

pytestmark = pytest.mark.engines


@pytest.fixture
def store(place):
    with MemkitVectorStore.open(place, FAKE) as store:
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


def test_no_relevance_outside_of_the_range_is_warned_about(filled):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(filled.similarity_search_with_relevance_scores("hall", k=30)) == 30


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
