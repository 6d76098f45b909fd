"""Small modules become larger ones, and nothing that was known is lost on the way."""

from dataclasses import replace

import pytest

from memkit.lora.spec import TrainSpec
from memkit.memory.check import check
from memkit.types import Draft

BADGES = ("Nora", "Emil", "Tara", "Owen")
SAFE = Draft("The safe is blue.", "What is the colour of the safe?", "blue", id="safe")


def change(memory, **changes):
    consolidator = memory._engine.consolidator
    consolidator.recipe = replace(consolidator.recipe, **changes)


def held(memory):
    return {module.name: module.records for module in memory.modules.list()}


def answers(memory, names):
    questions = [f"What is the badge number of {name}?" for name in names]
    return [answer.text for answer in memory.ask_batch(questions, budget=0)]


@pytest.fixture
def several(trained):
    """A memory whose modules hold four records, what else was trained, and one record."""
    trained.add([SAFE])
    assert trained.consolidate().held == ("safe",)
    change(trained, records_per_module=10)
    return trained


@pytest.mark.slow
def test_small_modules_of_one_scope_become_one(several, adapters_in, tmp_path):
    before = held(several)
    known = [id for records in before.values() for id in records]
    told = answers(several, BADGES)
    assert (len(before), len(known)) == (3, 9)

    report = several.modules.compact()

    assert (sorted(report.held), report.missed) == (sorted(known), ())
    assert {name: sorted(ids) for name, ids in held(several).items()} == {
        report.modules[0].name: sorted(known)
    }
    assert answers(several, BADGES) == told
    assert several.ask(SAFE.question, budget=0).text == "blue"
    assert len(adapters_in(tmp_path / "trained.mem")) == 1  # the rows of the others are wiped
    assert several.modules.compact().modules == ()  # nothing would get fewer
    several.close()
    assert check(tmp_path / "trained.mem").sound


@pytest.mark.slow
def test_what_the_larger_module_does_not_recall_stays_where_it_is(several):
    before, told = held(several), answers(several, BADGES)
    change(several, train=TrainSpec(epochs=1, learning_rate=1e-6))

    report = several.modules.compact()

    assert (report.held, report.missed) == ((), ())
    assert held(several) == before
    assert answers(several, BADGES) == told
    assert several.consolidate().modules == ()


@pytest.mark.slow
def test_scopes_stay_apart_and_can_be_chosen(trained):
    before = held(trained)
    whose = {"user": "ann"}
    for number, colour in enumerate(("red", "green")):
        trained.add([Draft(f"Box {number} is {colour}.", f"What is the colour of box {number}?",
                           colour, id=f"box{number}", scope=whose)])  # fmt: skip
        assert trained.consolidate().held == (f"box{number}",)

    (report,) = trained.modules.compact(scope=whose).modules

    assert sorted(report.held) == ["box0", "box1"]
    assert held(trained) == before | {report.name: report.held}
    assert [module.scope for module in trained.modules.list(scope=whose)] == [whose]


@pytest.mark.slow
def test_one_small_module_is_left_alone(trained):
    change(trained, records_per_module=4)  # none holds two records at most
    before = held(trained)

    assert trained.modules.compact().modules == ()
    assert held(trained) == before
