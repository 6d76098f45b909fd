"""The default model, embedder and training: facts that no model has read, recalled exactly."""

import pytest
from llama_cpp_server import LlamaCpp

from memkit import Draft, Memory
from memkit.evals.company.company import Company
from memkit.lora.consolidation.consolidate import Recipe
from memkit.lora.consolidation.exposure import ask, probes
from memkit.lora.spec import TrainSpec
from memkit.models.sources import find_base
from memkit.types import Sampling

pytestmark = pytest.mark.real


SHORT = Sampling(max_new_tokens=16)


@pytest.fixture(scope="module")
def facts():
    return Company.generate(seed=0, facts=6).facts


@pytest.fixture(scope="module")
def learned(tmp_path_factory, facts, smollm2, minilm):
    """An open memory that has trained a module on the facts, and the report of it."""
    with Memory.open(
        tmp_path_factory.mktemp("learned") / "memory",
        base_model=smollm2,
        embedder=minilm,
        recipe=Recipe(progress=False),
    ) as memory:
        memory.add([Draft(fact.text, fact.question, fact.answer) for fact in facts])
        yield memory, memory.consolidate()


def test_facts_are_recalled_and_everything_else_is_left_alone(learned, facts, smollm2):
    memory, report = learned
    assert len(report.held) == len(facts)
    locality = report.modules[0].locality
    assert locality.routed == 1.0
    assert locality.divergence > 0.0
    for fact in facts:
        answer = memory.ask(fact.question, budget=0, sampling=SHORT)
        assert answer.text == fact.answer
        assert answer.route.modules == ("m0001",)

    for prompt in ("What is the capital of Italy?", "Write a short poem about rain."):
        untouched = smollm2.generate([smollm2.prompt(prompt)], SHORT)[0]
        answer = memory.ask(prompt, budget=0, sampling=SHORT)
        assert not answer.route
        assert answer.text == untouched.text


def test_llama_cpp_gives_the_answers_of_an_exported_module(learned, facts, smollm2, tmp_path):
    """On the very file that the default model was converted from, four bits a weight."""
    memory, _ = learned
    path = memory.modules.export("m0001", tmp_path / "m0001.gguf", format="gguf", activated=True)
    engine = LlamaCpp(find_base().path, [path])
    for fact in facts:
        prompt = smollm2.prompt(fact.question)
        ids = (*prompt.prefix, *prompt.question)
        assert engine.answer(ids, 1.0) == fact.answer
        assert engine.answer(ids, 0.0) != fact.answer


def test_what_was_forgotten_is_not_in_the_weights_any_more(tmp_path, smollm2, minilm):
    facts = Company.generate(seed=1, facts=5).facts
    recipe = Recipe(train=TrainSpec(mastery=0.8), progress=False)  # so that one module holds all
    with Memory.open(
        tmp_path / "memory", base_model=smollm2, embedder=minilm, recipe=recipe
    ) as memory:
        first = memory.add([Draft(f.text, f.question, f.answer) for f in facts])[0]
        assert len(memory.consolidate().held) == 5
        (probe,) = probes(memory._engine.lora, [first.id])
        assert ask(memory._engine.lora, probe, "m0001").stands_out

        receipt = memory.forget(first.id)

        assert all(receipt.checks.values())
        (exposure,) = receipt.exposure
        assert not exposure.stands_out
        assert receipt.retrained == ("m0001 v2",)
