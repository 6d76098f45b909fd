"""Versions of modules: kept, rolled back to, trained again to the last byte, and forgotten."""

import shutil
from dataclasses import replace
from operator import attrgetter

import pytest

from memkit.errors import (
    InvalidInputError,
    ModuleNotFoundInMemoryError,
    UnsupportedOperationError,
)
from memkit.lora.spec import TrainSpec
from memkit.types import Draft

pytestmark = pytest.mark.slow

NORA = "What is the badge number of Nora?"
EMIL = "What is the badge number of Emil?"
LENA = "What is the badge number of Lena?"
SAFE = Draft("The safe is blue.", "What is the colour of the safe?", "blue", id="safe")
NOISE = Draft("!!! ???", id="noise")  # nothing can be asked about it
FIRST = ("Nora", "Emil", "Tara", "Owen")  # held by m0001


def files(memory):
    """Digests by module and version, as the ledger knows them."""
    modules = memory._engine.ledger.modules
    return {
        (module.name, version): modules.file(module.name, version).digest
        for module in memory.modules.list()
        for version in module.versions
    }


def rename(memory, answer="7777"):
    return memory.update("Nora", f"The badge number of Nora is {answer}.", answer=answer)


def make_endless(memory):
    """Give Nora's record an answer that is too long to be learned."""
    answer = "very " * 300
    memory.update("Nora", f"This is {answer}.", question="What is this?", answer=answer)


@pytest.fixture(scope="module")
def updated_directory(tmp_path_factory, trained_directory, opener):
    """`trained_directory` with a second version of m0001, that holds a new text of Nora."""
    directory = tmp_path_factory.mktemp("updated") / "agent.mem"
    shutil.copytree(trained_directory, directory)
    with opener(directory) as memory:
        rename(memory)
        assert memory.consolidate().held == FIRST
    return directory


@pytest.fixture
def updated(tmp_path, updated_directory, open_memory):
    """An open copy of `updated_directory`."""
    shutil.copytree(updated_directory, tmp_path / "updated.mem")
    return open_memory(tmp_path / "updated.mem")


# -- updates


@pytest.mark.engines
def test_an_update_is_trained_into_the_module_that_held_the_old_text(trained):
    before = trained.modules.list()
    rename(trained)
    (report,) = trained.consolidate().modules
    assert (report.name, report.version, report.unchanged) == ("m0001", 2, False)
    assert report.held == FIRST
    first, second = trained.modules.list()
    assert (first.version, first.versions, first.records) == (2, (1, 2), FIRST)
    assert second == before[1]
    assert trained.ask(NORA, budget=0).text == "7777"
    assert trained.ask(EMIL, budget=0).text == "1234"
    # The old text is in no weights that answer.
    assert trained.ask(NORA, budget=0, modules=["m0001"]).text == "7777"
    assert trained.consolidate().modules == ()


def test_new_records_do_not_come_into_the_module_that_is_updated(trained):
    rename(trained)
    trained.add([SAFE])
    reports = trained.consolidate().modules
    assert [(r.name, r.version, r.held) for r in reports] == [
        ("m0001", 2, FIRST),
        ("m0003", 1, ("safe",)),
    ]


def test_an_update_of_what_is_not_asked_for_waits(trained):
    rename(trained)
    trained.update("Emil", "The badge number of Emil is 4321.", answer="4321",
                   metadata={"source": "hr"})  # fmt: skip
    (report,) = trained.consolidate(where={"source": "hr"}).modules
    assert (report.name, report.held) == ("m0001", ("Emil", "Tara", "Owen"))
    assert not trained.ask(NORA, budget=0).route
    assert "4471" not in trained.ask(NORA, budget=0, modules=["m0001"]).text


def no_more_than(memory, **changes):
    consolidator = memory._engine.consolidator
    consolidator.recipe = replace(consolidator.recipe, **changes)


def test_a_module_that_has_become_too_large_is_shared_out(trained):
    no_more_than(trained, records_per_module=2)
    rename(trained)
    report = trained.consolidate()
    assert [(m.name, m.version, m.held) for m in report.modules] == [
        ("m0001", 2, FIRST[:2]),
        ("m0003", 1, FIRST[2:]),
    ]
    assert {m.name: m.records for m in trained.modules.list()} == {
        "m0001": FIRST[:2],
        "m0002": ("Lena", "Hugo", "Mira", "Anton"),
        "m0003": FIRST[2:],
    }


@pytest.mark.engines
def test_a_module_whose_records_have_all_gone_to_others_is_dropped(trained):
    no_more_than(trained, records_per_module=1)
    make_endless(trained)
    report = trained.consolidate()
    assert (report.held, report.missed) == (FIRST[1:], ("Nora",))
    assert [m.name for m in trained.modules.list()] == [
        "m0002",
        *(m.name for m in report.modules[1:]),
    ]


# -- rollback


def test_an_older_version_answers_again_with_the_records_that_it_holds(updated):
    updated.update("Emil", "The badge number of Emil is 4321.", answer="4321")
    assert updated.consolidate().modules[0].version == 3
    updated.update("Emil", "The badge number of Emil is 1234.", answer="1234")
    module = updated.modules.rollback("m0001", 2)
    assert (module.version, module.versions) == (2, (1, 2, 3))
    assert {"Nora", "Emil"} <= set(module.records)
    assert module in updated.modules.list()
    assert updated.ask(NORA, budget=0).text == "7777"
    assert updated.ask(EMIL, budget=0).text == "1234"


def test_what_was_updated_since_is_not_answered_from_an_older_version(updated):
    module = updated.modules.rollback("m0001", 1)
    assert (module.version, module.records) == (1, ("Emil", "Tara", "Owen"))
    assert not updated.ask(NORA, budget=0).route
    assert "7777" in updated.recall(NORA).text
    assert updated.ask(EMIL, budget=0).text == "1234"
    # The next consolidation trains it: the same as the version that is kept.
    (report,) = updated.consolidate().modules
    assert (report.name, report.version, report.unchanged) == ("m0001", 2, True)
    assert "m0001 v2 (as before)" in str(report)
    assert updated.modules.list()[0].versions == (1, 2)
    assert updated.ask(NORA, budget=0).text == "7777"


def test_rolling_back_and_forth_changes_no_weights(updated):
    before = files(updated)
    for version in (1, 2, 2, 1, 2):
        assert updated.modules.rollback("m0001", version).version == version
    assert files(updated) == before
    assert updated.ask(NORA, budget=0).text == "7777"
    assert updated._engine.ledger.erasures.pending() == []


def test_another_memory_sees_it_at_its_next_question(updated, tmp_path, open_memory):
    other = open_memory(tmp_path / "updated.mem")
    assert other.ask(NORA, budget=0).text == "7777"
    updated.modules.rollback("m0001", 1)
    assert not other.ask(NORA, budget=0).route
    assert other.ask(EMIL, budget=0).text == "1234"
    assert other.modules.list() == updated.modules.list()
    other.modules.rollback("m0001", 2)
    assert updated.ask(NORA, budget=0).text == "7777"


def test_a_version_is_there_after_reopening(updated, tmp_path, open_memory):
    updated.modules.rollback("m0001", 1)
    updated.close()
    again = open_memory(tmp_path / "updated.mem")
    assert [module.version for module in again.modules.list()] == [1, 1]
    assert again.ask(EMIL, budget=0).text == "1234"
    assert again.modules.rollback("m0001", 2).records == FIRST
    assert again.ask(NORA, budget=0).text == "7777"


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("m0001", 3, r"module 'm0001' has no version 3\nHint: These are kept: 1, 2\."),
        ("m0001", 9, "module 'm0001' has no version 9"),
        ("m0003", 1, "no module has the name 'm0003'"),
    ],
)
def test_a_version_that_is_not_there_changes_nothing(updated, name, version, message):
    before = updated.modules.list()
    with pytest.raises(ModuleNotFoundInMemoryError, match=message):
        updated.modules.rollback(name, version)
    with pytest.raises(InvalidInputError, match="`version` must be an integer of at least 1"):
        updated.modules.rollback(name, 0)
    assert updated.modules.list() == before


def test_at_most_three_versions_are_kept(trained, tmp_path, open_memory):
    for answer in ("7001", "7002", "7003"):
        rename(trained, answer)
        trained.consolidate()
    assert trained.modules.list()[0].versions == (2, 3, 4)
    trained.close()
    again = open_memory(tmp_path / "trained.mem")
    assert again._engine.ledger.erasures.pending() == []
    assert again.modules.rollback("m0001", 2).version == 2


# -- listing


def test_modules_say_what_they_are(updated):
    first, second = map(str, updated.modules.list())
    created = updated.modules.list()[0].created_at
    assert first == (
        f"m0001 v2 (also kept: v1); 4 records; trained wordings 1.00; "
        f"held-out wordings {updated.modules.list()[0].manifest['paraphrase_recall']:.2f}; "
        f"trained {created:%Y-%m-%d %H:%M} UTC"
    )
    assert second.startswith("m0002 v1; 4 records; ")


@pytest.mark.engines
def test_modules_say_whom_they_are_for(memory, badges):
    memory.add([replace(draft, scope={"user": "u1", "team": "a"}) for draft in badges[:2]])
    memory.consolidate()
    assert "; 2 records of team=a, user=u1; " in str(memory.modules.list()[0])


# -- retrain


@pytest.mark.engines
def test_the_same_records_give_the_same_bytes_and_no_new_version(trained):
    before = files(trained)
    report = trained.modules.retrain()
    assert [(m.name, m.version, m.unchanged) for m in report.modules] == [
        ("m0001", 1, True),
        ("m0002", 1, True),
    ]
    assert files(trained) == before
    assert trained.ask(NORA, budget=0).text == "4471"
    assert trained.ask(LENA, budget=0).text == "3141"


def test_modules_are_trained_with_their_own_spec_not_with_the_recipe(
    trained, tmp_path, open_memory, recipe
):
    before = files(trained)
    trained.close()
    other = replace(recipe, lora=replace(recipe.lora, rank=4), train=TrainSpec(seed=3, epochs=1))
    again = open_memory(tmp_path / "trained.mem", recipe=other)
    assert [m.unchanged for m in again.modules.retrain(["m0002", "m0001", "m0002"]).modules] == [
        True,
        True,
    ]
    assert files(again) == before


def test_metadata_change_no_weights(trained):
    before = files(trained)
    trained.update("Nora", metadata={"source": "hr"})
    assert trained.modules.retrain("m0001").modules[0].unchanged
    assert files(trained) == before


def test_a_changed_text_makes_the_next_version(trained):
    rename(trained)
    report = trained.modules.retrain("m0001")
    assert [(m.name, m.version, m.unchanged) for m in report.modules] == [("m0001", 2, False)]
    assert trained.ask(NORA, budget=0).text == "7777"
    assert trained.consolidate().modules == ()


@pytest.mark.engines
def test_nothing_is_retrained_if_a_name_is_unknown(trained):
    with pytest.raises(ModuleNotFoundInMemoryError, match="no module has the name 'm9'") as caught:
        trained.modules.retrain(["m0001", "m9"])
    assert caught.value.hint == "These can be trained again: m0001, m0002."
    assert trained.modules.retrain([]).modules == ()


def test_an_imported_module_is_trained_anew_only_if_it_is_named(trained, tmp_path):
    trained.modules.export("m0001", tmp_path / "folder")
    trained.modules.import_(tmp_path / "folder", records=FIRST[:2])
    before = {module.name: module.records for module in trained.modules.list()}
    assert (before["m0001"], before["m0003"]) == (FIRST[2:], FIRST[:2])
    assert [(m.name, m.unchanged) for m in trained.modules.retrain().modules] == [
        ("m0001", True), ("m0002", True),
    ]  # fmt: skip
    assert {module.name: module.records for module in trained.modules.list()} == before
    (report,) = trained.modules.retrain("m0003").modules
    assert (report.name, report.version, report.held) == ("m0003", 2, FIRST[:2])
    assert "imported" not in trained.modules.list()[-1].manifest


def test_without_modules_there_is_nothing_to_retrain(memory):
    assert memory.modules.retrain().modules == ()
    with pytest.raises(ModuleNotFoundInMemoryError, match="no module has the name 'm0001'") as e:
        memory.modules.retrain("m0001")
    assert e.value.hint == "There are no modules; `consolidate` trains some."


def test_the_verbs_need_adapters(tmp_path, open_memory):
    memory = open_memory(tmp_path / "agent.mem", backends=("rag",))
    assert memory.modules.list() == []
    for call in (
        memory.modules.retrain,
        lambda: memory.modules.rollback("m0001", 1),
        memory.consolidate,
    ):
        with pytest.raises(UnsupportedOperationError, match="needs the 'lora' backend"):
            call()


# -- lost weights


@pytest.mark.parametrize("verb", ["modules.retrain", "consolidate"])
def test_lost_adapters_are_made_again_to_the_last_byte(tmp_path, trained, open_memory, verb):
    """Also those that one consolidation of all records would share out differently."""
    trained.add([SAFE])
    trained.consolidate()
    before, modules = files(trained), trained.modules.list()
    trained.close()
    shutil.rmtree(tmp_path / "trained.mem" / "adapters")
    memory = open_memory(tmp_path / "trained.mem")
    assert memory.modules.list() == []
    assert not memory.ask(NORA, budget=0).route
    assert memory.search(NORA)[0].id == "Nora"
    report = attrgetter(verb)(memory)()
    assert [(m.name, m.version, m.unchanged) for m in report.modules] == [
        ("m0001", 1, True),
        ("m0002", 1, True),
        ("m0003", 1, True),
    ]
    assert memory.modules.list() == modules
    assert files(memory) == before
    assert memory.ask(NORA, budget=0).text == "4471"
    assert memory.ask(LENA, budget=0).text == "3141"


def test_lost_adapters_are_rebuilt_for_those_who_are_asked_for(tmp_path, trained, open_memory):
    trained.update("Lena", metadata={"source": "hr"})
    trained.close()
    shutil.rmtree(tmp_path / "trained.mem" / "adapters")
    memory = open_memory(tmp_path / "trained.mem")
    (report,) = memory.consolidate(where={"source": "hr"}).modules
    assert (report.name, len(report.held)) == ("m0002", 4)
    assert [module.name for module in memory.modules.retrain().modules] == ["m0001", "m0002"]


def test_a_module_that_lost_its_newest_weights_can_be_rolled_back(updated):
    ledger = updated._engine.ledger
    ledger.modules.discard_weights(ledger.modules.file("m0001").path)
    assert [module.name for module in updated.modules.list()] == ["m0002"]
    module = updated.modules.rollback("m0001", 1)
    assert (module.version, module.versions) == (1, (1,))
    assert updated.ask(EMIL, budget=0).text == "1234"


# -- misses


@pytest.mark.engines
def test_what_was_missed_is_not_tried_again_in_vain(trained):
    trained.add([NOISE])
    assert trained.consolidate().missed == ("noise",)
    report = trained.consolidate()
    assert (report.modules, report.left_out) == ((), ("noise",))
    assert str(report) == (
        "nothing to consolidate\n1 left out, as missed before (see `retry_missed`)"
    )
    again = trained.consolidate(retry_missed=True)
    assert (again.missed, again.left_out) == (("noise",), ())
    trained.update("noise", metadata={"n": 1})
    assert trained.consolidate().left_out == ("noise",)
    trained.update("noise", "The noise of Zoe is loud.")
    report = trained.consolidate()
    assert "noise" in report.held + report.missed


def test_another_recipe_tries_again(trained, tmp_path, open_memory, recipe):
    trained.add([NOISE])
    trained.consolidate()
    trained.close()
    for changes, tried in (
        ({"progress": True}, False),
        ({"reworded_bar": 0.1}, True),
        ({"train": replace(recipe.train, seed=1)}, True),
    ):
        with open_memory(tmp_path / "trained.mem", recipe=replace(recipe, **changes)) as memory:
            assert bool(memory.consolidate().missed) is tried


def test_a_miss_is_said_beside_what_was_trained(trained):
    trained.add([NOISE])
    trained.consolidate()
    trained.add([SAFE])
    report = trained.consolidate()
    assert (report.held, report.missed, report.left_out) == (("safe",), (), ("noise",))
    assert str(report).endswith("\n1 left out, as missed before (see `retry_missed`)")


def test_a_missed_update_leaves_the_weights_and_waits(trained):
    """The old text goes although the new one is not learned; the next run does not try again."""
    make_endless(trained)
    report = trained.consolidate()
    assert (report.held, report.missed) == (("Emil", "Tara", "Owen"), ("Nora",))
    module = trained.modules.list()[0]
    assert (module.version, module.records) == (2, ("Emil", "Tara", "Owen"))
    assert trained.consolidate().left_out == ("Nora",)


# -- forgetting


@pytest.mark.engines
def test_a_version_that_contains_a_forgotten_record_goes(trained):
    """The active version does not contain it, so it stays."""
    make_endless(trained)
    trained.consolidate()
    trained.ask(EMIL, budget=0)
    trained.modules.rollback("m0001", 1)
    trained.ask(EMIL, budget=0)
    active = trained.modules.rollback("m0001", 2)
    receipt = trained.forget("Nora")
    assert (receipt.retrained, receipt.dropped, receipt.demoted) == ((), (), ())
    assert any(path.startswith("adapters/") for path in receipt.files)
    assert all(receipt.checks.values())
    assert trained.modules.list()[0] == replace(active, versions=(2,))
    assert len(trained._engine.lora.bank) == 1
    assert trained.ask(EMIL, budget=0).text == "1234"
    with pytest.raises(ModuleNotFoundInMemoryError, match="has no version 1"):
        trained.modules.rollback("m0001", 1)


def test_a_module_goes_with_all_its_versions(updated):
    receipt = updated.forget("Emil")  # in both versions
    assert (receipt.retrained[0], receipt.dropped) == ("m0001 v3", ())
    assert updated.modules.list()[0].versions == (3,)
    assert len([path for path in receipt.files if path.startswith("adapters/")]) == 2
    assert all(receipt.checks.values())


def test_a_module_that_lost_its_weights_is_forgotten_too(trained, tmp_path, open_memory):
    trained.close()
    shutil.rmtree(tmp_path / "trained.mem" / "adapters")
    memory = open_memory(tmp_path / "trained.mem")
    receipt = memory.forget("Nora")
    assert receipt.dropped == ("m0001",)
    assert all(receipt.checks.values())
    reports = memory.consolidate().modules
    assert [report.name for report in reports[:1]] == ["m0002"]
    assert {id for report in reports[1:] for id in report.held + report.missed} == {
        "Emil", "Tara", "Owen",
    }  # fmt: skip
