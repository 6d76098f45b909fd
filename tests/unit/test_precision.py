"""In which precision training computes: what "auto" takes, and what mixing two of them is for."""

import math

import pytest
import torch

from memkit.lora.serving.hooks import AdapterLayers
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.training import precision
from memkit.lora.training.precision import MixedPrecision, chosen_precision, in_precision
from memkit.lora.training.trainers import Trainers
from memkit.protocols import Example
from memkit.testing import tiny_llama

FITTED = TrainSpec(readout=True)


@pytest.fixture
def base():
    return tiny_llama()


@pytest.mark.parametrize(
    ("amx", "train", "expected"),
    [
        (True, TrainSpec(), "bfloat16"),
        (True, FITTED, "mixed"),
        (False, TrainSpec(), "float32"),
        (False, FITTED, "float32"),
        (True, TrainSpec(precision="float32"), "float32"),
        (False, TrainSpec(precision="mixed"), "mixed"),
    ],
)
def test_what_is_chosen(base, monkeypatch, amx, train, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx}, raising=False)

    assert chosen_precision(base, train) == expected


def test_auto_is_the_precision_of_a_model_in_half_precision(base, monkeypatch):
    monkeypatch.setattr(precision, "_has_amx", lambda: False)
    base.model.to(torch.bfloat16)

    assert chosen_precision(base, TrainSpec()) == "bfloat16"


def test_the_residual_stream_is_not_rounded(base):
    """What a layer adds to a stream that is large beside it; in bfloat16 it is lost."""
    layers = AdapterLayers(base.model)
    embedding = base.model.get_input_embeddings().weight
    embedding.data.mul_(10_000.0)
    ids = (5, 6, 7, 8, 9, 10)

    def added(other):
        stream = []  # what enters the first and the second layer
        handles = [
            layer.register_forward_pre_hook(lambda _, args: stream.append(args[0].float()))
            for layer in other.model.base_model.layers
        ]
        with torch.no_grad():
            other.extend(other.past([()]), [ids])
        for handle in handles:
            handle.remove()
        return stream[1] - stream[0]

    exact = added(base)
    mixed, rounded = (added(in_precision(base, layers, name)[0]) for name in ("mixed", "bfloat16"))

    assert (mixed - exact).norm() < 0.02 * exact.norm()  # a bfloat16 has eight bits
    assert (rounded - exact).norm() > 0.2 * exact.norm()


def test_a_mixed_copy_leaves_the_model_alone(base):
    layers = AdapterLayers(base.model)
    other, own = in_precision(base, layers, "mixed")

    assert isinstance(other, MixedPrecision)
    assert own is not layers
    assert (other.model.dtype, base.model.dtype) == (torch.bfloat16, torch.float32)
    assert other.logits(torch.ones(1, other.model.config.hidden_size)).dtype == torch.bfloat16


def test_a_model_in_bfloat16_is_copied_to_mix(base):
    base.model.to(torch.bfloat16)
    layers = AdapterLayers(base.model)

    assert in_precision(base, layers, "bfloat16") == (base, layers)
    assert in_precision(base, layers, "mixed")[0] is not base


@pytest.mark.parametrize(
    ("objective", "readout"),
    [("answer", False), ("answer", True), ("sequence", False), ("distill", False)],
)
def test_training_in_mixed_precision(base, objective, readout):
    """It ends, learns in float32 and says how it was trained."""
    examples = [
        Example(f"What is the badge number of {name}?", badge, name, context=f"{name}: {badge}")
        for name, badge in {"Nora": "4471", "Emil": "1234"}.items()
    ]
    spec = TrainSpec(
        epochs=40,
        batch_size=3,
        learning_rate=2e-3,
        precision="mixed",
        objective=objective,
        readout=readout,
    )
    trainer = Trainers().get(base, AdapterLayers(base.model), LoraSpec(rank=8), spec)

    trained = trainer.fit(examples)

    assert trainer.train.precision == "mixed"
    assert all(f.a.dtype == f.b.dtype == torch.float32 for f in trained.adapter.values())
    assert math.isfinite(trained.loss)
    assert objective != "answer" or trained.mastered == 1.0
