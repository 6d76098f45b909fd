"""A memory as a collection: counting, iterating, scopes, and emptying it."""

import json

import pytest

from memkit import InvalidInputError, Memory
from memkit.types import Draft

ANN, BOB = {"user": "ann"}, {"user": "bob"}


def test_records_are_counted_by_scope_and_filter(memory):
    memory.add("a", metadata={"year": 2020})
    memory.add(["b", "c"], scope=ANN, metadata={"year": 2021})
    assert (memory.count(), memory.count(scope="all")) == (1, 3)
    assert memory.count(scope=ANN) == 2
    later = {"year": {"$gte": 2021}}
    assert (memory.count(where=later), memory.count(where=later, scope="all")) == (0, 2)
    assert memory.count(scope=BOB) == 0


def test_iterating_gives_every_record_once_in_order(memory):
    texts = [f"fact {number}" for number in range(250)]  # more than two pages
    memory.add(texts)
    assert [record.text for record in memory] == texts


def test_ids_are_members_until_they_are_forgotten(memory):
    record = memory.add("a")
    assert record.id in memory
    assert "nobody" not in memory
    assert 7 not in memory
    memory.forget(record.id)
    assert record.id not in memory


def test_scopes_are_those_of_records_and_turns(memory):
    assert memory.scopes() == []
    memory.add("shared")
    memory.add("private", scope=ANN)
    memory.add_turn("user", "hello", scope=BOB, remember=False)
    assert memory.scopes() == [ANN, BOB, {}] or memory.scopes() == [{}, ANN, BOB]
    memory.forget(scope=ANN)
    assert ANN not in memory.scopes()


def test_clearing_erases_the_turns_of_one_conversation_and_keeps_records(memory):
    memory.add_turn("user", "The depot key hangs behind the clock.", scope=ANN)
    memory.add_turn("user", "Nothing of this is to be remembered.", scope=ANN, remember=False)
    memory.add_turn("user", "Bob's turn", scope=BOB)
    receipt = memory.clear(ANN)
    assert receipt.turns == 2
    assert all(receipt.checks.values())
    assert memory.turns(scope=ANN) == []
    assert [turn.content for turn in memory.turns(scope=BOB)] == ["Bob's turn"]
    assert [hit.record.text for hit in memory.search("depot key", 1, scope=ANN)] == [
        "The depot key hangs behind the clock."
    ]
    assert memory.clear(ANN).turns == 0


def test_forget_all_leaves_an_empty_memory_in_use(trained):
    trained.add_turn("user", "hello from Rome", scope=ANN)
    trained.add("private", scope=BOB)
    receipt = trained.forget_all()
    assert len(receipt.records) == 10
    assert receipt.checks
    assert all(receipt.checks.values())
    assert (trained.count(scope="all"), trained.scopes(), trained.modules.list()) == (0, [], [])
    record = trained.add("new")
    assert [each.id for each in trained] == [record.id]


def test_a_path_alone_opens_a_memory_with_the_defaults(tmp_path, monkeypatch):
    from memkit.memory.engine import Engine
    from memkit.testing import HashingEmbedder

    monkeypatch.setattr(Engine, "load_embedder", staticmethod(lambda given: HashingEmbedder()))
    with Memory(tmp_path / "agent.mem") as memory:
        assert memory.add("a").text == "a"
        assert "('buffer', 'rag', 'lora')" in repr(memory)


def test_an_unknown_option_is_named_with_those_that_are_known(memory, tmp_path):
    with pytest.raises(TypeError, match="unexpected keyword argument 'top_k'; these are known"):
        memory.search("a", top_k=3)
    with pytest.raises(TypeError, match=r"'temperature'.*sampling"):
        memory.ask("a", temperature=1.0)
    with pytest.raises(TypeError, match=r"'tags'.*metadata"):
        memory.add("a", tags=["x"])
    with pytest.raises(TypeError, match=r"'model'.*base_model"):
        Memory.open(tmp_path / "m", model="x")


@pytest.mark.parametrize(
    "drafts",
    [
        ({"text": text, "scope": ANN} for text in ("a", "b")),
        [Draft("a", scope=ANN), {"text": "b", "scope": ANN}],
        (draft for draft in [Draft("a", scope=ANN), Draft("b", scope=ANN)]),
    ],
    ids=["dicts", "mixed", "generator"],
)
def test_drafts_come_in_any_iterable(memory, drafts):
    assert [record.text for record in memory.add(drafts)] == ["a", "b"]
    assert memory.count(scope=ANN) == 2


def test_a_single_draft_or_dict_gives_a_single_record(memory):
    assert memory.add(Draft("a", id="x")).id == "x"
    assert memory.add({"text": "b", "key": "k"}).key == "k"
    with pytest.raises(InvalidInputError, match="fields of a draft, got \\['txt'\\]"):
        memory.add({"txt": "c"})


def test_results_are_json(memory):
    memory.add("The depot opens at six.", metadata={"year": 2020})
    for result in (
        next(iter(memory)),
        memory.search("depot")[0],
        memory.recall("depot"),
        memory.explain("depot"),
        memory.stats(),
    ):
        assert json.loads(result.to_json()) == result.to_dict()
