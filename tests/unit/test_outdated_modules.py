"""Modules that were trained behind another prompt format are not used, and trained anew."""

import logging
from dataclasses import replace

import pytest

from memkit.answering.prompt import PromptFormat
from memkit.errors import IncompatibleModelError
from memkit.lora.training.encoding import encode
from memkit.types import Example

QUESTION = "What is the badge number of Nora?"
TERSE = PromptFormat(opening="Be brief.", evidence=" Known:\n{evidence}")


@pytest.fixture
def reopened(trained_place, open_memory, recipe):
    """A memory with modules of the default format, opened with another one."""
    return open_memory(trained_place, recipe=replace(recipe, prompt_format=TERSE))


@pytest.mark.engines
def test_they_are_not_used_and_the_route_says_so(reopened, caplog):
    with caplog.at_level(logging.WARNING):
        answer = reopened.ask(QUESTION)
        reopened.ask(QUESTION)

    assert not answer.route
    assert answer.route.reason == "m0001 was trained behind another prompt; consolidate() renews it"
    assert answer.route.support[0].record_id == "Nora"
    assert "Nora" in {hit.id for hit in reopened.recall(QUESTION).hits}  # rag answers
    warnings = [line for line in caplog.messages if "another prompt format" in line]
    assert len(warnings) == 1
    assert "module m0001 is not used" in warnings[0]


@pytest.mark.engines
def test_whoever_names_one_is_refused(reopened):
    with pytest.raises(IncompatibleModelError, match="'m0001' was trained behind another prompt"):
        reopened.ask(QUESTION, modules=["m0001"])


@pytest.mark.engines
@pytest.mark.slow
def test_the_next_consolidation_trains_them_anew(reopened):
    report = reopened.consolidate()

    assert [(module.name, module.version) for module in report.modules] == [
        ("m0001", 2),
        ("m0002", 2),
    ]
    for module in reopened.modules:
        assert module.manifest["prompt_format"] == {
            "key": TERSE.key,
            "opening": "Be brief.",
            "evidence": " Known:\n{evidence}",
            "facts": "Facts:",
            "turns": "Conversation so far:",
        }
        assert module.versions == (2,)  # nobody may roll back to the older ones
    assert reopened.ask(QUESTION, budget=0).text == "4471"
    assert reopened.consolidate().modules == ()


def test_opening_with_their_own_format_uses_them_again(
    reopened, trained_place, open_memory, recipe
):
    assert not reopened.ask(QUESTION).route
    reopened.close()

    memory = open_memory(trained_place, recipe=recipe)

    assert memory.ask(QUESTION, budget=0).text == "4471"
    assert [module.version for module in memory.modules] == [1, 1]


@pytest.mark.slow
def test_forgetting_trains_behind_the_memorys_format(reopened):
    receipt = reopened.forget("Emil")

    assert receipt.retrained == ("m0001 v2",)
    assert reopened.ask(QUESTION, budget=0).text == "4471"


def test_the_same_weights_behind_another_format_are_another_version(trained):
    ledger = trained._engine.ledger
    module, file = ledger.modules.get("m0001"), ledger.modules.file("m0001")
    members = ledger.records.get(ledger.modules.members("m0001"))

    def commit(path, prompt_format):
        return ledger.modules.commit(
            "m0001",
            module.scope,
            {**module.manifest, "prompt_format": prompt_format},
            file=path,
            digest=file.digest,
            size=file.size,
            members=members,
            held=dict.fromkeys(module.records, 1.0),
        ).version

    assert commit("adapters/same", module.manifest["prompt_format"]) == 1
    assert commit("adapters/other", {"key": TERSE.key}) == 2


def test_the_format_is_part_of_the_recipes_key(recipe, tiny):
    assert recipe.key(tiny) != replace(recipe, prompt_format=TERSE).key(tiny)
    assert recipe.key(tiny) == replace(recipe, prompt_format=PromptFormat()).key(tiny)


def test_examples_are_trained_behind_the_format(tiny):
    example = Example(QUESTION, "4471", "Nora", context="The badge number of Nora is 4471.")

    informed = encode(tiny, example, TERSE).informed

    system = "Be brief. Known:\nThe badge number of Nora is 4471."
    assert informed.prefix == tiny.prompt(QUESTION, system=system).prefix
