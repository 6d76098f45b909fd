"""Items: JSON objects under a namespace and a key, in the ledger and in its promises."""

import pytest

from memkit import Memory
from memkit.errors import IncompatibleModelError, InvalidInputError
from memkit.ledger.items import NewItem
from memkit.testing import HashingEmbedder

pytestmark = pytest.mark.engines

SECRET = "the mushroom omelette of Tuesday"


@pytest.fixture
def clock(ledger):
    class Clock:
        now = 1_000_000.0

        def __call__(self):
            return self.now

    ledger._database.clock = Clock()
    return ledger._database.clock


def new(namespace, key, value=None, **options):
    return NewItem(
        tuple(namespace.split("/")), key, {"v": 1} if value is None else value, **options
    )


def keys(items):
    return [item.key for item in items]


def bytes_on_disk(path):
    return b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file())


def test_what_is_written_is_read(ledger, clock):
    value = {"text": "Grüße", "deep": [1, 2.5, None, {"a": True}], "e": "e\u0301"}
    ledger.items.write([new("a/b", "k", value)])
    (item, nothing) = ledger.items.get([(("a", "b"), "k"), (("a",), "k")])
    assert (item.namespace, item.key, item.value) == (("a", "b"), "k", value | {"e": "\u00e9"})
    assert item.created_at.timestamp() == item.updated_at.timestamp() == clock.now
    assert nothing is None


def test_writing_again_replaces_and_keeps_the_place(ledger, clock):
    ledger.items.write([new("a", "first"), new("a", "second")])
    clock.now += 5
    ledger.items.write([new("a", "first", {"v": 2})])
    first, _ = items = list(ledger.items.below(("a",)))
    assert keys(items) == ["first", "second"]
    assert first.value == {"v": 2}
    assert (first.updated_at - first.created_at).total_seconds() == 5
    assert ledger.items.count() == 2


def test_below_is_by_label_not_by_letter(ledger):
    spaces = ["a", "a/b", "ab", "a-b", "a/b/c", "a0", "b"]
    ledger.items.write([new(space, space) for space in spaces])
    assert keys(ledger.items.below(("a",))) == ["a", "a/b", "a/b/c"]
    assert keys(ledger.items.below(("a", "b"))) == ["a/b", "a/b/c"]
    assert keys(ledger.items.below(())) == spaces
    listed = [("a",), ("a", "b"), ("a", "b", "c"), ("a-b",), ("a0",), ("ab",), ("b",)]
    assert ledger.items.namespaces() == listed


def test_long_listings_come_in_pages(ledger, monkeypatch):
    monkeypatch.setattr("memkit.ledger.items._PAGE", 4)
    ledger.items.write([new("a", str(n), vectors=[[1, n]]) for n in range(9)])
    assert keys(ledger.items.below(("a",))) == [str(n) for n in range(9)]
    assert [item.key for item, _ in ledger.items.nearest(("a",), [0, 1])] == list("876543210")


def test_the_best_vector_of_an_item_counts(ledger):
    ledger.items.write(
        [
            new("a", "none"),
            new("a", "zero", vectors=[[0, 0]]),
            new("a", "far", vectors=[[-2, 0]]),
            new("a", "near", vectors=[[0, 3], [3, 3]]),
            new("a", "also near", vectors=[[1, 1]]),
        ]
    )
    found = [(item.key, score) for item, score in ledger.items.nearest((), [5, 0])]
    assert [key for key, _ in found] == ["near", "also near", "zero", "far", "none"]
    assert [score for _, score in found[:-1]] == pytest.approx([0.5**0.5, 0.5**0.5, 0, -1])
    assert found[-1][1] is None
    with pytest.raises(IncompatibleModelError, match="vectors of length 3, as the query's"):
        list(ledger.items.nearest((), [1, 0, 0]))
    assert list(ledger.items.nearest(("elsewhere",), [1, 0, 0])) == []


@pytest.mark.parametrize("length", [1e308, 1e200, 1.0, 1e-200, 1e-320, 10**30])
def test_vectors_of_any_length_keep_their_direction(ledger, length):
    ledger.items.write(
        [new("a", "far", vectors=[[length, 0]]), new("a", "near", vectors=[[length, length]])]
    )
    found = [(item.key, score) for item, score in ledger.items.nearest((), [0, length])]
    assert found == [("near", pytest.approx(0.5**0.5)), ("far", 0)]


@pytest.mark.parametrize("value", [{"a": {1, 2}}, {"a": float("nan")}, {"a": "\ud800"}, {"a": b""}])
def test_all_or_nothing_is_written(ledger, value):
    ledger.items.write([new("a", "old")])
    with pytest.raises(InvalidInputError, match=r"item 'bad': `value\.a` must"):
        ledger.items.write([new("a", "good"), new("a", "bad", value)], [(("a",), "old")])
    with pytest.raises(InvalidInputError, match=r"item 'bad': `vectors` must be finite"):
        ledger.items.write([new("a", "good"), new("a", "bad", vectors=[[float("inf")]])])
    assert keys(ledger.items.below(())) == ["old"]


def test_items_expire_and_are_refreshed(ledger, clock):
    ledger.items.write([new("a", "short", ttl=60), new("a", "long", ttl=600), new("a", "ever")])
    clock.now += 59
    assert ledger.items.sweep() == 0
    ledger.items.refresh([item.row for item in ledger.items.below(())])
    clock.now += 59
    assert ledger.items.sweep() == 0
    clock.now += 1
    assert [item.expired for item in ledger.items.below(())] == [True, False, False]
    assert ledger.items.sweep() == 1
    clock.now += 10**9
    assert ledger.items.sweep() == 1
    assert keys(ledger.items.below(())) == ["ever"]


def test_what_is_deleted_is_destroyed(tmp_path):
    path = tmp_path / "m"
    with Memory.open(path, backends=("rag",), embedder=HashingEmbedder()) as memory:
        memory.items.write([new("a", "k", {"likes": SECRET}, vectors=[[1, 0]]), new("a", "stays")])
        memory.items.write([], [(("a",), "k"), (("a",), "nothing")])
        assert memory.items.get([(("a",), "k")]) == [None]
    with Memory.open(path, backends=("rag",), embedder=HashingEmbedder()) as memory:
        assert memory.items._database.value("SELECT count(*) FROM item_vectors") == 0
    assert SECRET.encode() not in bytes_on_disk(path)


def test_forgetting_a_scope_reaches_its_items(memory, tmp_path):
    ann = {"user": "ann"}
    memory.items.write(
        [
            new("ann", "food", {"likes": SECRET}, scope={**ann, "topic": "food"}),
            new("bob", "food", {"likes": "soup"}, scope={"user": "bob"}),
            new("all", "food", {"likes": "bread"}),
        ]
    )
    memory.add("Ann has locker 12.", scope=ann)
    assert memory.forget(memory.add("Ann is tall.", scope=ann).id, scope=ann).items == 0
    receipt = memory.forget(scope=ann)
    assert (len(receipt.records), receipt.items) == (1, 1)
    assert "forgotten items     1" in str(receipt)
    assert all(receipt.checks.values())
    assert [item.namespace for item in memory.items.below(())] == [("bob",), ("all",)]
    memory.close()
    assert SECRET.encode() not in bytes_on_disk(tmp_path / "agent.mem")


def test_a_receipt_knows_that_items_may_say_the_same(memory):
    record = memory.add(f"Ann likes {SECRET}.")
    memory.items.write([new("a", "k", {"said": f"Ann likes {SECRET}."})])
    checks = memory.forget(record.id).checks
    texts = [held for name, held in checks.items() if "holds their texts" in name]
    assert texts == [True]
