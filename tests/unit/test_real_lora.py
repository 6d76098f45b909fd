"""The default model, embedder and training: facts that no model has read, recalled exactly."""

import pytest

from memkit import Draft, Memory
from memkit.evals.company.company import Company
from memkit.lora.consolidation.consolidate import Recipe
from memkit.lora.consolidation.exposure import ask, probes
from memkit.lora.spec import TrainSpec
from memkit.types import Sampling

pytestmark = pytest.mark.real


def test_facts_are_recalled_and_everything_else_is_left_alone(tmp_path, smollm2, minilm):
    facts = Company.generate(seed=0, facts=6).facts
    sampling = Sampling(max_new_tokens=16)
    with Memory.open(
        tmp_path / "memory", base_model=smollm2, embedder=minilm, recipe=Recipe(progress=False)
    ) as memory:
        records = memory.add([Draft(fact.text, fact.question, fact.answer) for fact in facts])
        report = memory.consolidate()

        assert report.held == tuple(record.id for record in records)
        locality = report.modules[0].locality
        assert locality.routed == 1.0
        assert locality.divergence > 0.0
        for fact in facts:
            answer = memory.ask(fact.question, budget=0, sampling=sampling)
            assert answer.text == fact.answer
            assert answer.route.modules == ("m0001",)

        for prompt in ("What is the capital of Italy?", "Write a short poem about rain."):
            untouched = smollm2.generate([smollm2.prompt(prompt)], sampling)[0]
            answer = memory.ask(prompt, budget=0, sampling=sampling)
            assert not answer.route
            assert answer.text == untouched.text


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
