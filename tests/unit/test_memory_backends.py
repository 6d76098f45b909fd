"""Any subset of the backends serves the same verbs, or says which backend is missing."""

import shutil
from itertools import combinations

import pytest

from memkit.errors import InvalidInputError, UnsupportedOperationError

NORA = "What is the badge number of Nora?"
SUBSETS = [subset for size in (1, 2, 3) for subset in combinations(("buffer", "rag", "lora"), size)]


@pytest.fixture(params=SUBSETS, ids="+".join)
def backends(request):
    return request.param


@pytest.fixture
def some(tmp_path, trained_directory, open_memory, backends):
    """The facts of `badges`, in weights already, opened with a subset of the backends."""
    shutil.copytree(trained_directory, tmp_path / "some")
    return open_memory(tmp_path / "some", backends=backends)


def test_verbs_that_every_subset_serves(some, badges):
    record = some.add("The dock number is three.", metadata={"kind": "dock"})
    assert some.get(record.id) == record
    assert some.update(record.id, "The dock number is four.").version == 2
    assert [v.text for v in some.history(record.id)][-1] == "The dock number is four."
    turn = some.add_turn("user", "The porter is at the gate.")
    assert some.turns() == [turn]
    assert len(some.records().records) == 10
    assert [m.name for m in some.modules.list()] == ["m0001", "m0002"]
    assert (some.stats().records, some.stats().held) == (10, 8)
    receipt = some.forget(record.id)
    assert (receipt.records, receipt.versions) == ((record.id,), 2)
    assert all(receipt.checks.values())


def test_recall_brings_what_the_backends_have(some, backends):
    some.add_turn("user", "Hello there.", remember=False)
    recall = some.recall(NORA, 400)
    in_text = "The badge number of Nora is 4471." in recall.text
    assert in_text == ("rag" in backends)
    assert [turn.content for turn in recall.turns] == ["Hello there."] * ("buffer" in backends)
    assert recall.route.modules == (("m0001",) if "lora" in backends else ())
    # Without an index, the newest records stand in for the best.
    if backends == ("buffer",):
        assert [hit.id for hit in recall.hits] == ["Anton", "Mira", "Hugo", "Lena", "Owen"]
    elif "rag" not in backends:
        assert recall.hits == ()
    else:
        assert recall.hits[0].id == "Nora"


def test_ask_and_stream_answer_from_what_there_is(some, backends):
    answer = some.ask(NORA, 100)
    assert "".join(some.stream(NORA, 100)) == answer.text
    # By heart, or as the answer of the record that answers this very question.
    assert (answer.text == "4471") == bool({"lora", "rag"} & set(backends))
    if "lora" not in backends:
        assert answer.route.reason.endswith("the memory was opened without 'lora'")
        assert answer.route.weights == {}
    assert (some.ask(NORA, 100, modules=[]).text == "4471") == ("rag" in backends)


def test_verbs_that_need_a_backend_name_it(some, backends):
    for verb, needs, use in [
        (r"search\(\)", "rag", lambda: some.search(NORA)),
        (r"consolidate\(\)", "lora", some.consolidate),
        (r"ask\(\) with `modules`", "lora", lambda: some.ask(NORA, 100, modules=["m0001"])),
        (r"ask\(\) with `modules`", "lora", lambda: some.stream(NORA, 100, modules=["m0001"])),
    ]:
        if needs in backends:
            use()
            continue
        with pytest.raises(UnsupportedOperationError, match=f"^{verb} needs the '{needs}'") as e:
            use()
        assert e.value.hint == f"open it with '{needs}' among the backends"
        assert repr(backends) in e.value.message


@pytest.mark.slow
def test_forgetting_reaches_the_weights_in_every_subset(some, backends, adapters_in):
    directory = some._engine.ledger.directory
    before = adapters_in(directory)
    assert len(before) == 2
    receipt = some.forget("Nora")
    assert all(receipt.checks.values())
    if "lora" in backends:
        assert (receipt.retrained, receipt.dropped, receipt.demoted) == (("m0001 v2",), (), ())
    else:
        assert (receipt.retrained, receipt.dropped) == ((), ("m0001",))
        assert set(receipt.demoted) == {"Emil", "Tara", "Owen"}
    after = adapters_in(directory)
    assert len(after) == (2 if "lora" in backends else 1)
    assert len(set(before.values()) & set(after.values())) == 1
    assert "Nora" not in {id for module in some.modules.list() for id in module.records}


def test_what_one_subset_wrote_another_finds(tmp_path, open_memory):
    memory = open_memory(tmp_path / "m", backends=("buffer",))
    memory.add("Deliveries are unloaded at dock three.", id="dock")
    memory.add_turn("user", "The archive is on the third floor.")
    assert memory.recall("deliveries").hits[0].text == "Deliveries are unloaded at dock three."
    memory.close()
    memory = open_memory(tmp_path / "m", backends=("rag",))
    assert memory.search("where are deliveries unloaded")[0].id == "dock"
    assert len(memory.search("archive", k=5)) == 2


@pytest.mark.parametrize("backends", [(), [], "rag", ("rag", "cache"), ("",)])
def test_unknown_backends_are_refused_before_anything_is_made(tmp_path, open_memory, backends):
    with pytest.raises(InvalidInputError, match=r"`backends` must be some of .*buffer.*, got "):
        open_memory(tmp_path / "m", backends=backends)
    assert not (tmp_path / "m").exists()
