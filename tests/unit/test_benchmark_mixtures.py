"""The benchmark `mixtures`, with a tiny model and two facts a module."""

import pytest
import torch
from benchmarks.evals import mixtures
from benchmarks.evals.mixtures import Lab, folding

from memkit.evals.data.phone_book import invented
from memkit.lora.serving.hooks import Factors, linear_layers
from memkit.lora.spec import TrainSpec
from memkit.testing import tiny_llama


@pytest.fixture
def base():
    return tiny_llama()


@pytest.mark.slow
def test_all_ways_are_compared(base, monkeypatch):
    monkeypatch.setattr(mixtures, "FACTS", 2)
    quick = TrainSpec(epochs=2, batch_size=2, guards=0, precision="float32")
    monkeypatch.setattr(mixtures, "TRAIN", quick)
    shares = dict(Lab(base, invented(6)).run(seed=0))
    ways = {case.partition(", (")[0] for case, _ in shares}
    assert len(ways) == 4 + 3 + 1 + 1 + 1  # trainings; rows by measure, by token; both, in two ways
    assert set(shares.values()) <= {0.0, 0.25, 0.5, 0.75, 1.0}


def test_a_folded_adapter_is_gone_afterwards(base):
    name, layer = next(iter(linear_layers(base.model).items()))
    before = layer.weight.clone()
    factors = Factors(torch.ones(1, layer.in_features), torch.ones(layer.out_features, 1))
    with folding(base, {name: factors}) as fold:
        fold(0.5)
        assert torch.equal(layer.weight, before + 0.5)
        fold(2.0)
        assert torch.equal(layer.weight, before + 2.0)
    assert torch.equal(layer.weight, before)
