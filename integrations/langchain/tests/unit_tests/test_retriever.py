"""`MemkitRetriever`: k, scopes, filters, scores, chains."""

from datetime import UTC, datetime

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.load import dumpd
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_core.tools import create_retriever_tool
from pydantic import ValidationError

import memkit
from langchain_memkit import MemkitRetriever
from memkit import InvalidInputError, Memory, UnsupportedOperationError
from memkit.testing import HashingEmbedder

ANN, BOB = {"user": "ann"}, {"user": "bob"}
QUERY = "locker code"


@pytest.fixture
def lockers(memory):
    """What is shared, Ann's and Bob's."""
    memory.add("Every locker has a code.", metadata={"year": 2019}, id="all")
    memory.add("The locker code of Ann is 8812.", scope=ANN, metadata={"year": 2024}, id="ann")
    memory.add("The locker code of Bob is 3057.", scope=BOB, metadata={"year": 2025}, id="bob")
    return memory


def ids(documents):
    return {document.id for document in documents}


def test_a_document_is_the_passage_that_matched(lockers):
    retriever = MemkitRetriever(memory=lockers, scope=ANN)

    first = retriever.invoke("code of Ann 8812")[0]

    assert first.id == "ann"
    assert first.page_content == "The locker code of Ann is 8812."
    (hit, _) = lockers.search("code of Ann 8812", scope=ANN)
    assert first.metadata == {
        "year": 2024,
        "memkit": {
            "score": hit.score,
            "similarity": hit.similarity,
            "start": 0,
            "end": len(hit.record.text),
            "scope": ANN,
            "at": hit.record.at.isoformat(),
        },
    }


def test_of_a_long_record_the_matching_passage_comes(memory):
    filler = " ".join(f"Shelf {number} holds paper." for number in range(400))
    memory.add(f"{filler} The mill stands by the river.", id="long")

    (document,) = MemkitRetriever(memory=memory).invoke("mill river")

    assert "The mill stands by the river." in document.page_content
    assert len(document.page_content) < len(filler)
    assert document.metadata["memkit"]["start"] > 0


def test_a_scope_sees_its_own_and_what_is_shared(lockers):
    assert ids(MemkitRetriever(memory=lockers).invoke(QUERY)) == {"all"}
    assert ids(MemkitRetriever(memory=lockers, scope=ANN).invoke(QUERY)) == {"all", "ann"}
    assert ids(MemkitRetriever(memory=lockers, scope=ANN).invoke(QUERY, scope=BOB)) == {
        "all",
        "bob",
    }


def test_k_is_a_default_that_a_call_may_change(lockers):
    lockers.add([f"Locker {number} has a code." for number in range(10)])
    retriever = MemkitRetriever(memory=lockers, k=3)

    assert len(retriever.invoke(QUERY)) == 3
    assert len(retriever.invoke(QUERY, k=7)) == 7
    assert len(MemkitRetriever(memory=lockers).invoke(QUERY)) == 4


def test_filters_are_those_of_memkit(lockers):
    retriever = MemkitRetriever(memory=lockers, scope=ANN, where={"year": {"$gte": 2020}})

    assert ids(retriever.invoke(QUERY)) == {"ann"}
    assert ids(retriever.invoke(QUERY, where={"year": 2019})) == {"all"}


def test_times_select_what_was_said_and_known_then(memory):
    memory.add("The locker code is 8812.", key="code", at=datetime(2024, 5, 1, tzinfo=UTC))
    memory.add("The locker has a mirror.", at=datetime(2025, 5, 1, tzinfo=UTC))
    before = datetime.now(UTC)
    memory.add("The locker code is 3057.", key="code", at=datetime(2026, 5, 1, tzinfo=UTC))
    retriever = MemkitRetriever(memory=memory)

    def texts(retriever, **given):
        return {document.page_content for document in retriever.invoke(QUERY, **given)}

    old, mirror, new = (
        f"The locker {rest}" for rest in ("code is 8812.", "has a mirror.", "code is 3057.")
    )
    new_year = datetime(2026, 1, 1, tzinfo=UTC)
    assert texts(retriever) == {mirror, new}
    assert texts(retriever, as_of=before) == {old, mirror}
    assert texts(retriever, since=new_year) == {new}
    assert texts(retriever, until=new_year) == {mirror}
    assert texts(MemkitRetriever(memory=memory, until=new_year)) == {mirror}
    with pytest.raises(InvalidInputError, match="`since` must have a time zone"):
        retriever.invoke(QUERY, since=datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("filter", "it is called `where`"),
        ("score_threshold", "as_retriever"),
        ("search_type", "as_retriever"),
        ("lambda_mult", "as_retriever"),
        ("colour", ""),
    ],
)
def test_unknown_options_are_refused_with_a_remedy(lockers, name, remedy):
    with pytest.raises(InvalidInputError, match=f"'where'], got .'{name}'") as refused:
        MemkitRetriever(memory=lockers).invoke(QUERY, **{name: 1})
    assert remedy in refused.value.hint
    with pytest.raises(ValidationError, match=f"{name}\n.*not permitted"):
        MemkitRetriever(memory=lockers, **{name: 1})


async def test_it_is_a_runnable_in_every_way(lockers):
    retriever = MemkitRetriever(memory=lockers, scope=ANN)
    both = [{"ann"}, {"all"}]
    queries = ["code of Ann 8812", "Every locker"]
    assert [ids(found) for found in retriever.batch(queries, k=1)] == both
    assert [ids(found) for found in await retriever.abatch(queries, k=1)] == both
    configured = retriever.with_config(tags=["a"]).bind(k=1).with_retry()
    assert ids(configured.invoke(queries[0])) == {"ann"}
    events = [event async for event in retriever.astream_events(QUERY, version="v2")]
    assert [event["event"] for event in events] == ["on_retriever_start", "on_retriever_end"]
    assert ids(events[-1]["data"]["output"]) == {"all", "ann"}
    dumped = dumpd(retriever)
    assert (dumped["type"], dumped["id"][-1]) == ("not_implemented", "MemkitRetriever")


async def test_it_is_a_tool(lockers):
    tool = create_retriever_tool(
        MemkitRetriever(memory=lockers, k=1), "lockers", "Finds codes.",
        response_format="content_and_artifact",
    )  # fmt: skip
    call = {"type": "tool_call", "id": "1", "name": "lockers", "args": {"query": QUERY}}
    for message in (tool.invoke(call), await tool.ainvoke(call)):
        assert message.content == "Every locker has a code."
        assert ids(message.artifact) == {"all"}


def test_the_best_comes_first(lockers):
    lockers.add([f"Locker {number} stands in hall {number}." for number in range(20)])

    found = MemkitRetriever(memory=lockers, k=10, scope=ANN).invoke("locker hall 7")

    scores = [document.metadata["memkit"]["score"] for document in found]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 1
    assert found[0].page_content == "Locker 7 stands in hall 7."


async def test_async_finds_the_same_and_does_not_block(lockers):
    retriever = MemkitRetriever(memory=lockers, scope=ANN)
    with blockbuster_ctx(memkit):
        found = await retriever.ainvoke(QUERY, k=1)

    assert found == retriever.invoke(QUERY, k=1)


def test_the_scope_can_come_from_the_configuration_of_a_chain(lockers):
    retriever = MemkitRetriever(memory=lockers).configurable_fields(
        scope=ConfigurableField(id="memory_scope")
    )
    chain = retriever | RunnableLambda(ids)

    assert chain.invoke(QUERY) == {"all"}
    assert chain.invoke(QUERY, {"configurable": {"memory_scope": BOB}}) == {"all", "bob"}


def test_what_memkit_refuses_is_refused(lockers, tmp_path):
    with pytest.raises(InvalidInputError, match="unknown operator '\\$near' in `where`"):
        MemkitRetriever(memory=lockers).invoke(QUERY, where={"year": {"$near": 2020}})
    with (
        Memory.open(tmp_path / "b", backends=["buffer"], embedder=HashingEmbedder()) as buffer,
        pytest.raises(UnsupportedOperationError, match="search\\(\\) needs the 'rag' backend"),
    ):
        MemkitRetriever(memory=buffer).invoke(QUERY)
