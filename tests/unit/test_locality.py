"""What counts as left alone: first tokens of answers to prompts that nothing else uses."""

from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch

from memkit.evals.company.vocabulary import UNRELATED
from memkit.lora.consolidation import locality
from memkit.lora.consolidation.locality import PROMPTS, TOKENS, baseline, measure
from memkit.lora.training.guard_prompts import GUARD_PROMPTS
from memkit.routing.negative_prompts import UNRELATED_PROMPTS
from memkit.types import Route, Sampling

NONE, MODULE = Route({}), Route({"m": 1.0})


def test_nobody_else_uses_the_prompts():
    assert len(set(PROMPTS)) == len(PROMPTS) == 20
    assert not set(PROMPTS) & {*GUARD_PROMPTS, *UNRELATED_PROMPTS, *UNRELATED}


def shifting(base, amount):
    """Mixtures that add a constant to the last hidden states of the rows that have a route."""

    @contextmanager
    def adapters(routes):
        rows = torch.tensor([[[amount if route else 0.0]] for route in routes])
        direction = torch.linspace(-1.0, 1.0, base.model.config.hidden_size)

        def shift(module, args, output):
            return output + rows * direction

        handle = base.model.base_model.norm.register_forward_hook(shift)
        try:
            yield
        finally:
            handle.remove()

    return adapters


def test_adapters_that_change_nothing_change_nothing(tiny):
    found = measure(tiny, [NONE] * 20, MODULE, lambda _: nullcontext())

    assert (found.routed, found.forced) == (1.0, 1.0)
    assert found.divergence == pytest.approx(0.0, abs=1e-6)


def test_what_is_routed_away_counts_as_left_alone(tiny):
    found = measure(tiny, [NONE] * 15 + [MODULE] * 5, MODULE, shifting(tiny, 50.0))

    assert found.forced == 0.0
    assert found.routed == 15 / 20


def test_answers_are_compared_token_by_token(tiny):
    """Against answers that are generated with the adapters on."""
    adapters = shifting(tiny, 0.1)
    prompts = [tiny.prompt(text) for text in PROMPTS]
    sampling = Sampling(max_new_tokens=TOKENS)
    bare = tiny.generate(prompts, sampling)
    shifted = tiny.generate(prompts, sampling, adapters=adapters([MODULE] * 20))
    same = [a.ids == b.ids for a, b in zip(bare, shifted, strict=True)]
    assert 0 < sum(same) < 20  # else the test says nothing

    assert measure(tiny, [NONE] * 20, MODULE, adapters).forced == sum(same) / 20


def test_divergence_is_that_of_the_first_token(tiny):
    adapters = shifting(tiny, 0.5)

    def chances(context):
        rows = []
        for text in PROMPTS:
            prompt = tiny.prompt(text)
            ids = torch.tensor([[*prompt.prefix, *prompt.question]])
            with torch.no_grad(), context:
                rows.append(tiny.model(ids).logits[0, -1].double().numpy())
        scores = np.stack(rows)
        return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))

    class On:
        def __enter__(self):
            self.inner = adapters([MODULE])
            self.inner.__enter__()

        def __exit__(self, *error):
            self.inner.__exit__(*error)

    bare, shifted = chances(nullcontext()), chances(On())
    expected = (np.exp(bare) * (bare - shifted)).sum(axis=1).mean()

    found = measure(tiny, [NONE] * 20, MODULE, adapters)

    assert found.divergence == pytest.approx(expected, rel=1e-3)


def test_the_base_model_is_asked_once(tiny, monkeypatch):
    monkeypatch.setattr(locality, "_BASELINES", {})
    first = baseline(tiny)

    assert baseline(tiny) is first
    assert len(first.answers) == 20
    assert all(0 < len(ids) <= TOKENS for ids in first.answers)
