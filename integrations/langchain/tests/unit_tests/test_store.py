"""`MemkitStore`: what LangGraph's own suite does not look at."""

import math
import threading
import warnings
from datetime import UTC, datetime

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.embeddings import Embeddings
from langgraph.store.base import GetOp, InvalidNamespaceError, ListNamespacesOp, PutOp, SearchOp

from langchain_memkit import MemkitEmbeddings, MemkitStore
from memkit import InvalidInputError, Memory
from memkit.errors import DimensionMismatchError, IncompatibleModelError
from memkit.testing import HashingEmbedder

NOTES = ("ann", "notes")
SECRET = "the omelette of Tuesday"

pytestmark = pytest.mark.engines


def index_of(dim=64, **options):
    return {"embed": MemkitEmbeddings(HashingEmbedder(dim)), "dims": dim, **options}


@pytest.fixture
def store(memory):
    return MemkitStore(memory, index=index_of())


@pytest.fixture
def clock(memory):
    class Clock:
        now = 1_000_000.0

        def __call__(self):
            return self.now

        def minutes(self, count):
            self.now += 60 * count

    memory.items._database.clock = Clock()
    return memory.items._database.clock


def keys(items):
    return [item.key for item in items]


def bytes_on_disk(path):
    return b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file())


# -- keeping


def test_items_outlive_the_process_that_wrote_them(tmp_path):
    for opening in range(2):
        with Memory.open(tmp_path / "m", backends=["rag"], embedder=HashingEmbedder()) as memory:
            store = MemkitStore(memory, index=index_of())
            if opening == 0:
                store.put(NOTES, "food", {"likes": "mushrooms"})
            (item,) = store.search(("ann",), query="mushrooms")
            assert (item.namespace, item.key, item.value) == (NOTES, "food", {"likes": "mushrooms"})


def test_what_is_given_is_not_what_is_kept(store):
    value = {"likes": ["tea"]}
    store.put(NOTES, "food", value)
    value["likes"].append("coffee")
    store.get(NOTES, "food").value["likes"].append("cocoa")
    assert store.get(NOTES, "food").value == {"likes": ["tea"]}


def test_times_tell_when_an_item_was_made_and_changed(store, clock):
    store.put(NOTES, "food", {"v": 1})
    clock.minutes(3)
    store.put(NOTES, "food", {"v": 2})
    item = store.get(NOTES, "food")
    assert item.created_at == datetime.fromtimestamp(1_000_000, UTC)
    assert (item.updated_at - item.created_at).total_seconds() == 180


def test_a_batch_reads_before_it_writes_and_the_last_write_counts(store):
    store.put(NOTES, "a", {"v": 0})
    found, *nothing, listed = store.batch(
        [
            GetOp(NOTES, "a"),
            PutOp(NOTES, "a", {"v": 1}),
            PutOp(NOTES, "a", {"v": 2}),
            PutOp(("bob",), "b", {"v": 3}),
            PutOp(("bob",), "b", None),
            ListNamespacesOp(),
        ]
    )
    assert (found.value, nothing, listed) == ({"v": 0}, [None] * 4, [NOTES])
    assert store.get(NOTES, "a").value == {"v": 2}
    assert store.get(("bob",), "b") is None


@pytest.mark.parametrize(
    "bad",
    [
        PutOp(NOTES, "bad", {"v": {1, 2}}),
        PutOp(NOTES, "bad", {"v": "\ud800"}),
        PutOp(NOTES, "bad", {"v": math.nan}),
        PutOp(NOTES, 3, {"v": 1}),
        PutOp(NOTES, "bad", {"v": 1}, ttl=-1),
        PutOp(NOTES, "bad", {"v": 1}, ttl=math.nan),
        PutOp((), "bad", {"v": 1}),
        SearchOp(NOTES, limit=-1),
    ],
)
async def test_a_batch_is_written_as_a_whole_or_not_at_all(store, bad):
    good = PutOp(NOTES, "good", {"v": 1})
    for ops in ([good, bad], [bad, good]):
        with pytest.raises(InvalidInputError, match=r"must|expected"):
            store.batch(ops)
        with pytest.raises(InvalidInputError, match=r"must|expected"):
            await store.abatch(ops)
    assert store.search(()) == []


def test_a_vector_that_is_not_finite_leaves_nothing(memory):
    def embed(texts):
        return [[math.nan if "bad" in text else 1.0] for text in texts]

    store = MemkitStore(memory, index={"embed": embed, "dims": 1})
    with pytest.raises(InvalidInputError, match="item 'bad': `vectors` must be finite"):
        store.batch([PutOp(NOTES, "good", {"v": "good"}), PutOp(NOTES, "bad", {"v": "bad"})])
    assert store.search(NOTES) == []


@pytest.mark.parametrize(
    "op",
    [
        GetOp(("ann.notes",), "a"),
        PutOp(("ann.notes",), "a", {"v": 1}),
        SearchOp(("ann.notes",)),
    ],
)
def test_a_namespace_cannot_pose_as_another(store, op):
    with pytest.raises(InvalidNamespaceError, match="cannot contain periods"):
        store.batch([op])


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (PutOp((), "a", {"v": 1}), "namespace of at least one label"),
        (GetOp(NOTES, 3), "a key that is a string"),
        (PutOp(NOTES, "a", {"v": 1}, ttl=-1), "`ttl` must be minutes, a number of at least 0"),
        (SearchOp(NOTES, limit=-1), "`limit` must be an integer of at least 0"),
        (SearchOp(NOTES, limit=None), "`limit` must be an integer"),
        (SearchOp(NOTES, offset="2"), "`offset` must be an integer"),
        (SearchOp(NOTES, query=5), "`query` must be a string"),
        (SearchOp(NOTES, query="\ud800"), "`query` must be valid Unicode"),
        (PutOp(NOTES, "a", {"v": 1}, ttl="5"), "`ttl` must be minutes"),
        (PutOp(NOTES, "a", {"v": 1}, index="v"), "`index` must be False or a list"),
        (PutOp(NOTES, "a", {"v": 1}, index=5), "`index` must be False or a list"),
        (ListNamespacesOp(offset=-1), "`offset` must be an integer of at least 0"),
        (SearchOp(NOTES, filter={"v": {"$like": "x"}}), "expected operators among"),
        (SearchOp(NOTES, filter={"v": {"$gt": 1, "w": 2}}), "expected operators among"),
        (("get", NOTES, "a"), "expected an operation of a LangGraph store"),
    ],
)
def test_malformed_operations_are_refused(store, op, message):
    with pytest.raises(InvalidInputError, match=message):
        store.batch([op])


# -- finding


def test_filters(store):
    for key, value in {
        "one": {"n": 1, "tags": ["a", "b"], "at": "2026-01-02", "deep": {"x": 1, "y": 2}},
        "two": {"n": 2.5, "tags": ["b", "a"], "at": "2026-03-04", "deep": {"x": 1}},
        "none": {"n": None},
    }.items():
        store.put(NOTES, key, value)

    def found(**wanted):
        return keys(store.search(("ann",), filter=wanted))

    assert found() == ["one", "two", "none"]
    assert found(n=1) == ["one"]
    assert found(n={"$gt": 1}) == ["two"]
    assert found(n={"$gte": 1, "$lt": 2.5}) == ["one"]
    assert found(n={"$lte": 2.5}) == ["one", "two"]
    assert found(n={"$ne": 1}) == ["two", "none"]
    assert found(n={"$eq": None}) == ["none"]
    assert found(at={"$gte": "2026-02"}) == ["two"]
    assert found(at={"$gt": 3}) == []
    assert found(tags=["a", "b"]) == ["one"]
    assert found(deep={"x": 1}) == ["one", "two"]
    assert found(deep={"y": {"$gt": 1}}) == ["one"]
    assert found(n=1, at="2026-03-04") == []


def nested(levels):
    value = 1
    for _ in range(levels):
        value = {"x": value}
    return value


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"tags": [{1: "a"}]}, "a dict with string keys"),
        ({"tags": [{"$near": 1}]}, "operators among"),
        ({"deep": nested(50_000)}, "at most 64 levels"),
        ({"deep": {"$gt": {"x": "y" * 10**6}}}, "a number or a string, got {'x': 'yyy"),
        ({10**5000: 1}, "cannot be shown"),
    ],
)
def test_filters_that_mean_nothing_are_refused_in_a_short_message(store, wanted, message):
    store.put(NOTES, "one", {"tags": [{"a": 1}], "deep": {"x": 1}})
    with pytest.raises(InvalidInputError) as caught:
        store.search(("ann",), filter=wanted)
    assert message in caught.value.message
    assert len(caught.value.message) < 300


def test_pages_follow_each_other_with_and_without_vectors(store):
    for number in range(6):
        store.put(NOTES, f"note {number}", {"text": f"tea {number}"}, index=None)
    store.put(NOTES, "unseen", {"text": "tea"}, index=False)
    whole = store.search(NOTES, query="tea 3", limit=10)
    assert (whole[0].key, whole[-1].key) == ("note 3", "unseen")
    assert whole[-1].score is None
    scores = [item.score for item in whole[:-1]]
    assert scores == sorted(scores, reverse=True)
    pages = [store.search(NOTES, query="tea 3", limit=3, offset=start) for start in (0, 3, 6)]
    assert [key for page in pages for key in keys(page)] == keys(whole)


def test_the_fields_that_are_asked_for_are_searched(memory):
    store = MemkitStore(memory, index=index_of(fields=["text", "tags[*]"]))
    store.put(NOTES, "a", {"text": "tea", "tags": ["hot", "green"], "private": "spy"})
    store.put(NOTES, "b", {"text": "tea", "private": "spy"}, index=["private"])
    scores = {
        query: {item.key: round(item.score, 3) for item in store.search(NOTES, query=query)}
        for query in ("green", "spy")
    }
    assert scores["green"]["a"] == scores["spy"]["b"] == 1
    assert scores["spy"]["a"] < 0.5
    store.put(NOTES, "a", {"text": "coffee"})  # no vector of before is left
    assert max(item.score for item in store.search(NOTES, query="green")) < 0.5


def test_other_vectors_are_refused(memory):
    with pytest.raises(DimensionMismatchError, match=r"expected `dims` of 32, got \[64\]"):
        MemkitStore(memory, index=index_of() | {"dims": 32}).put(NOTES, "a", {"text": "tea"})
    MemkitStore(memory, index=index_of(64)).put(NOTES, "a", {"text": "tea"})
    with pytest.raises(IncompatibleModelError, match="vectors of length 32, as the query's"):
        MemkitStore(memory, index=index_of(32)).search(NOTES, query="tea")


# -- forgetting


def test_forgetting_a_scope_reaches_the_store(memory, tmp_path):
    store = MemkitStore(memory, index=index_of(), scope=lambda namespace: {"user": namespace[0]})
    store.put(NOTES, "food", {"likes": SECRET})
    store.put(("bob", "notes"), "food", {"likes": "soup"})
    receipt = memory.forget(scope={"user": "ann"})
    assert (receipt.items, set(receipt.checks.values())) == (1, {True})
    assert store.list_namespaces() == [("bob", "notes")]
    memory.close()
    assert SECRET.encode() not in bytes_on_disk(tmp_path / "agent.mem")


def test_items_expire(memory, clock):
    store = MemkitStore(memory, ttl={"default_ttl": 10, "omit_expired": True})
    store.put(NOTES, "ten", {"v": 1})
    store.put(NOTES, "twenty", {"v": 1}, ttl=20)
    store.put(NOTES, "ever", {"v": 1}, ttl=None)
    clock.minutes(9)
    assert store.get(NOTES, "ten", refresh_ttl=False) is not None
    clock.minutes(1)
    assert store.get(NOTES, "ten") is None
    assert keys(store.search(NOTES, refresh_ttl=False)) == ["twenty", "ever"]
    assert store.sweep_ttl() == 1
    clock.minutes(9)
    assert keys(store.search(NOTES)) == ["twenty", "ever"]  # its time begins anew
    clock.minutes(19)
    assert keys(store.search(NOTES, refresh_ttl=False)) == ["twenty", "ever"]
    clock.minutes(1)
    assert keys(store.search(NOTES)) == ["ever"]


def test_expired_items_are_there_until_they_are_swept_unless_asked_otherwise(memory, clock):
    store = MemkitStore(memory, ttl={"refresh_on_read": False})
    store.put(NOTES, "ten", {"v": 1}, ttl=10)
    clock.minutes(10)
    assert store.get(NOTES, "ten").value == {"v": 1}
    assert store.sweep_ttl() == 1
    assert store.get(NOTES, "ten") is None


def test_the_sweeper_sweeps_until_it_is_stopped(memory, clock):
    store = MemkitStore(memory, ttl={"default_ttl": 1, "sweep_interval_minutes": 1e-4})
    store.put(NOTES, "a", {"v": 1})
    clock.minutes(1)
    swept = threading.Event()
    sweep = store.sweep_ttl
    store.sweep_ttl = lambda: (sweep(), swept.set())
    running = store.start_ttl_sweeper()
    assert store.start_ttl_sweeper() is running
    assert swept.wait(60)
    assert store.stop_ttl_sweeper(60)
    assert running.done()
    assert store.get(NOTES, "a") is None
    assert MemkitStore(memory).stop_ttl_sweeper()
    with pytest.raises(InvalidInputError, match="must be positive, got None"):
        MemkitStore(memory).start_ttl_sweeper()


# -- asyncio, and others


async def test_async_operations_do_not_block_the_loop(store):
    with blockbuster_ctx():
        await store.aput(NOTES, "food", {"likes": "tea"})
        found = await store.asearch(("ann",), query="tea")
        assert await store.alist_namespaces() == [NOTES]
        await store.adelete(NOTES, "food")
    assert keys(found) == ["food"]
    assert store.get(NOTES, "food") is None


async def test_async_embeddings_are_awaited(memory):
    class OnlyAsync(Embeddings):
        def embed_documents(self, texts):
            raise NotImplementedError

        embed_query = embed_documents

        async def aembed_documents(self, texts):
            return [[float(len(text)), 1.0] for text in texts]

        async def aembed_query(self, text):
            return [float(len(text)), 1.0]

    store = MemkitStore(memory, index={"embed": OnlyAsync(), "dims": 2, "fields": ["text"]})
    await store.aput(NOTES, "a", {"text": "tea"})
    (item,) = await store.asearch(NOTES, query="tee")
    assert item.score == pytest.approx(1)


async def test_the_tools_of_langmem_work_on_it(store):
    with warnings.catch_warnings(action="ignore"):  # it imports from where things used to be
        from langmem import create_manage_memory_tool, create_search_memory_tool
    config = {"configurable": {"langgraph_user_id": "ann"}}
    namespace = ("memories", "{langgraph_user_id}")
    manage = create_manage_memory_tool(namespace=namespace, store=store)
    search = create_search_memory_tool(namespace=namespace, store=store)
    manage.invoke({"action": "create", "content": "Ann likes mushrooms."}, config)
    (item,) = store.search(("memories", "ann"))
    said = {"action": "update", "id": item.key, "content": "Ann likes omelettes."}
    await manage.ainvoke(said, config)
    assert "Ann likes omelettes." in search.invoke({"query": "What does Ann like?"}, config)
    assert search.invoke({"query": "Ann"}, {"configurable": {"langgraph_user_id": "bob"}}) == "[]"
    manage.invoke({"action": "delete", "id": item.key}, config)
    assert await search.ainvoke({"query": "What does Ann like?"}, config) == "[]"


def test_what_is_no_memory_or_no_batch_is_refused(memory, tmp_path):
    for call in (
        lambda: MemkitStore(tmp_path),
        lambda: MemkitStore(None),
        lambda: MemkitStore(memory, scope={"user": "ann"}),
        lambda: MemkitStore(memory, index="title"),
        lambda: MemkitStore(memory, ttl=5),
        lambda: MemkitStore(memory).batch(None),
        lambda: MemkitStore(memory).batch("ops"),
    ):
        with pytest.raises(InvalidInputError, match="must be a"):
            call()
