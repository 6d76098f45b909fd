"""A synthesizer is asked once for each content of a record; all that reads reads the ledger."""

from dataclasses import replace

import pytest
from synthesizers import FirstWordings, Script

from memkit.errors import InvalidInputError
from memkit.lora.consolidation import examples
from memkit.lora.consolidation.examples import make_missing, stored_examples
from memkit.types import Draft, Example


class Counting(FirstWordings):
    """Costs something: every record that it is handed counts."""

    def __init__(self):
        self.handed = []

    def examples(self, records):
        self.handed += [record.id for record in records]
        return super().examples(records)


@pytest.fixture
def counting():
    return Counting()


@pytest.fixture
def held(open_memory, tmp_path, recipe, badges, counting):
    """A memory of four records, held by one module."""
    memory = open_memory(tmp_path / "m", recipe=replace(recipe, synthesizer=counting))
    memory.add(badges[:4])
    assert len(memory.consolidate().held) == 4
    return memory


@pytest.mark.slow
def test_one_call_for_each_record_whatever_is_done_with_it(held, counting):
    assert counting.handed == ["Nora", "Emil", "Tara", "Owen"]

    assert held.ask("What is the badge number of Emil?", budget=0).text == "1234"
    held.recall("What is the badge number of Emil?")
    held.explain("What is the badge number of Emil?")
    held.consolidate()
    held.modules.retrain()
    receipt = held.forget("Nora")

    assert receipt.retrained == ("m0001 v2",)
    assert counting.handed == ["Nora", "Emil", "Tara", "Owen"]


@pytest.mark.slow
def test_another_content_is_another_call_and_the_old_one_comes_back_for_nothing(held, counting):
    before = held.get("Nora")
    held.update("Nora", "The badge number of Nora is 7777.", answer="7777")
    held.consolidate()
    assert counting.handed[4:] == ["Nora"]

    held.update("Nora", before.text, answer=before.answer)
    held.consolidate()
    assert counting.handed[5:] == []


@pytest.mark.slow
def test_another_key_makes_them_anew_for_what_is_trained(
    held, badges, open_memory, counting, tmp_path
):
    class Newer(Counting):
        pass

    newer = Newer()
    recipe = replace(held._engine.consolidator.recipe, synthesizer=newer)
    held.close()
    memory = open_memory(tmp_path / "m", recipe=recipe)
    memory.add(badges[4:6])

    memory.consolidate()

    assert newer.handed == ["Lena", "Hugo"]
    memory.modules.retrain("m0001")
    assert newer.handed[2:] == ["Nora", "Emil", "Tara", "Owen"]
    keys = [module.manifest["synthesizer"] for module in memory.modules]
    assert keys == [counting.key, newer.key]  # the same examples gave the same weights
    assert newer.key != counting.key


def test_no_verb_that_reads_has_a_synthesizer_at_hand(held, monkeypatch):
    """Not even to look at its key."""

    def refuse(*_):
        raise AssertionError("a synthesizer was asked")

    for name in ("examples", "key"):
        monkeypatch.setattr(Counting, name, property(refuse), raising=False)

    assert held.ask("What is the badge number of Tara?", budget=0).text == "9876"
    assert held.explain("What is the badge number of Tara?").recall.route.modules == ("m0001",)
    assert held.forget("Nora", retrain=False).records == ("Nora",)


# -- make_missing


def test_what_was_made_before_an_error_is_not_made_again(ledger, monkeypatch):
    monkeypatch.setattr(examples, "BATCH", 2)
    records = ledger.records.add([Draft(f"Note {n} is long.", id=f"r{n}") for n in range(5)])
    counting = Counting()

    class Breaks(Counting):
        @property
        def key(self):
            return counting.key

        def examples(self, records):
            if self.handed:
                raise InvalidInputError("no budget is left")
            return super().examples(records)

    with pytest.raises(InvalidInputError, match="no budget is left"):
        make_missing(ledger, Breaks(), records)
    make_missing(ledger, counting, records)

    assert counting.handed == ["r2", "r3", "r4"]
    made = stored_examples(ledger, counting, records)
    assert list(dict.fromkeys(example.record_id for example in made)) == [r.id for r in records]


def test_what_makes_no_examples_is_asked_once(ledger):
    records = ledger.records.add([Draft("!!!", id="a"), Draft("???", id="b")])
    counting = Counting()

    make_missing(ledger, counting, records)
    make_missing(ledger, counting, records)

    assert counting.handed == ["a", "b"]
    assert stored_examples(ledger, counting, records) == []


def test_examples_of_a_record_that_changes_meanwhile_are_not_kept(ledger):
    (record,) = ledger.records.add([Draft("The lamp is green.", id="lamp")])

    class Slow(Counting):
        def examples(self, records):
            made = super().examples(records)
            ledger.records.update("lamp", text="The lamp is red.", question=None, answer=None,
                                  metadata={})  # fmt: skip
            return made

    make_missing(ledger, Slow(), [record])

    assert ledger.examples.get(["lamp"]) == {}


@pytest.mark.parametrize("named", ["other", None])
def test_examples_of_records_that_were_not_handed_are_refused(ledger, named):
    class Confused(Script):
        def examples(self, records):
            return [Example("Which lamp?", "This one.", named)]

    records = ledger.records.add([Draft("The lamp is green.", id="lamp")])

    with pytest.raises(InvalidInputError, match=rf"records \['lamp'\], got one of {named!r}"):
        make_missing(ledger, Confused(), records)
