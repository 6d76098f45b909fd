"""`MemkitStore` beside LangGraph's `InMemoryStore`, on operations that hypothesis makes up.

Where the two differ on purpose:

- A listing without a query is in the order in which items were first written; `InMemoryStore`
  lists namespace by namespace. So listings are compared as sets, and pages with the listing.
- Writing a key again keeps `created_at`, and leaves no vector of the earlier value behind;
  `InMemoryStore` sets `created_at` anew, and keeps vectors of paths that the value lost. So the
  key is deleted there first.
- A namespace is listed while there are items in it; `InMemoryStore` lists those that were ever
  written to or read from.
- Two items of one batch may say the same; `InMemoryStore` raises. So it is given them one by one.
- ``$gt`` and its relatives do not hold for what has no order with the operand;
  `InMemoryStore` raises, and takes strings for the numbers they spell.
- Items without a vector follow those with one, page after page; `InMemoryStore` repeats them.
- Values come back as JSON: tuples as lists. `InMemoryStore` keeps the objects themselves.
- Namespaces are checked in `batch`, too, and may not be empty there.
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from langchain_memkit import MemkitEmbeddings, MemkitStore
from memkit import Memory
from memkit.testing import HashingEmbedder

ALL = 1000
labels = st.sampled_from(["a", "b", "ab", "a-b", "a_%", "ü", "*"])
addresses = st.tuples(st.sampled_from([("a",), ("a", "b"), ("ab",), ("b", "a")]), labels)
words = st.sampled_from(["tea", "hot tea", "green door", "badge 4471", "ünï", "'; --"])
numbers = st.integers(-3, 3) | st.sampled_from([0.5, -2.5])
values = st.fixed_dictionaries(
    {"n": numbers},
    optional={
        "text": words.map("text {}".format),
        "note": words.map("note {}".format),  # never the text itself
        "flag": st.booleans() | st.none(),
        "deep": st.fixed_dictionaries({"n": numbers, "tags": st.lists(words, max_size=2)}),
        "tags": st.lists(words, max_size=2),
    },
)
indexed = st.sampled_from([None, None, False, ["text"], ["note", "text"]])
orders = st.dictionaries(
    st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), numbers, min_size=1, max_size=2
)
filters = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "n": numbers | orders,
        "flag": st.booleans() | st.none(),
        "text": words.map("text {}".format),
        "deep": st.fixed_dictionaries({"n": numbers | orders}),
        "tags": st.lists(words, max_size=2),
        "absent": st.none() | words,
    },
)
puts = st.builds(lambda at, value, index: PutOp(*at, value, index), addresses, values, indexed)
writes = st.lists(puts | st.builds(lambda at: PutOp(*at, None), addresses), max_size=4)
paths = st.lists(labels, max_size=2).map(tuple)
ends = st.lists(labels, min_size=1, max_size=2).map(tuple)
conditions = st.builds(MatchCondition, st.sampled_from(["prefix", "suffix"]), ends)
reads = st.one_of(
    st.builds(lambda at: GetOp(*at), addresses),
    st.builds(SearchOp, paths, filters, st.just(ALL), st.just(0), st.none() | words),
    st.builds(
        lambda some, depth: ListNamespacesOp(tuple(some), depth, ALL),
        st.lists(conditions, max_size=2),
        st.none() | st.integers(1, 3),
    ),
)
steps = st.lists(st.tuples(writes, st.lists(reads, max_size=3)), min_size=1, max_size=6)


def written(model, batch):
    """Give the batch to `InMemoryStore`, the way in which it agrees."""
    last = {(op.namespace, op.key): op for op in batch}
    for (namespace, key), op in last.items():
        model.batch([PutOp(namespace, key, None)])
        model.batch([op])


def described(op, result):
    """What the two have to agree on."""
    match op:
        case GetOp():
            return result and (result.namespace, result.key, result.value)
        case SearchOp():
            return {(item.namespace, item.key): (item.value, item.score) for item in result}
    return result


def listed(model, op):
    """The namespaces that hold items, as `InMemoryStore` would list them alone."""
    alone = InMemoryStore()
    for item in model.search((), limit=ALL):
        alone.put(item.namespace, item.key, {"v": 1})
    return alone.batch([op])[0]


def alike(found, expected):
    if not isinstance(expected, dict):
        return found == expected
    return found.keys() == expected.keys() and all(
        found[at] == (value, score if score is None else pytest.approx(score, abs=1e-6))
        for at, (value, score) in expected.items()
    )


@pytest.fixture
def memory(place):
    with Memory.open(place, backends=["buffer"], count_tokens=len) as memory:
        yield memory


@pytest.mark.engines
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=steps, with_index=st.booleans(), page=st.integers(1, 3))
def test_both_stores_say_the_same(memory, steps, with_index, page):
    embed = MemkitEmbeddings(HashingEmbedder(32))
    index = {"embed": embed, "dims": 32, "fields": ["text", "note"]} if with_index else None
    store, model = MemkitStore(memory, index=index), InMemoryStore(index=index)
    memory.items.write([], [(item.namespace, item.key) for item in memory.items.below(())])
    for batch, asked in steps:
        store.batch(batch)
        written(model, batch)
        for op in asked:
            (found,) = store.batch([op])
            names = isinstance(op, ListNamespacesOp)
            expected = listed(model, op) if names else model.batch([op])[0]
            assert alike(described(op, found), described(op, expected)), op
            if isinstance(op, SearchOp):
                pages = [
                    item
                    for start in range(0, len(found), page)
                    for item in store.batch([op._replace(limit=page, offset=start)])[0]
                ]
                assert pages == found
                scores = [item.score for item in found if item.score is not None]
                assert scores == sorted(scores, reverse=True)
