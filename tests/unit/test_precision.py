"""In which precision training computes: what "auto" takes, and what a copy shares."""

import pytest
import torch

from memkit.lora.serving.hooks import AdapterLayers, Factors
from memkit.lora.spec import TrainSpec
from memkit.lora.training.precision import chosen_precision, in_precision
from memkit.testing import tiny_llama

IDS = torch.tensor([[5, 9, 70, 33, 8, 120]])


@pytest.fixture
def base():
    return tiny_llama()


AMX, AVX512, NEITHER = {"amx_bf16": True}, {"avx512_bf16": True}, {"avx512_f": True}


@pytest.mark.parametrize(
    ("cpu", "size", "train", "expected"),
    [
        (AMX, 20_000_000, TrainSpec(), "bfloat16"),
        (AVX512, 10_000_000, TrainSpec(), "bfloat16"),
        (AVX512, 9_999_999, TrainSpec(), "float32"),
        (NEITHER, 20_000_000, TrainSpec(), "float32"),
        (AMX, 20_000_000, TrainSpec(precision="float32"), "float32"),
        (NEITHER, 20_000_000, TrainSpec(precision="bfloat16"), "bfloat16"),
    ],
)
def test_what_is_chosen(base, cpu, size, train, expected):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", lambda: cpu, raising=False)
        patch.setattr(type(base), "size", size)

        assert chosen_precision(base, train) == expected


def test_auto_is_the_precision_of_a_model_in_half_precision(base, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: NEITHER, raising=False)
    base.model.to(torch.bfloat16)

    assert chosen_precision(base, TrainSpec()) == "bfloat16"


def test_a_copy_in_another_precision_has_hooks_of_its_own(base):
    layers = AdapterLayers(base.model)
    other, own = in_precision(base, layers, "bfloat16")
    random = torch.Generator().manual_seed(4)
    adapter = {
        name: Factors(torch.randn(2, n, generator=random), torch.randn(m, 2, generator=random))
        for name, (n, m) in layers.shapes.items()
    }
    bare = other.model(IDS, use_cache=False).logits

    with layers.place(adapter, torch.ones(1, 2)):
        assert torch.equal(other.model(IDS, use_cache=False).logits, bare)
    assert (other.model.dtype, base.model.dtype) == (torch.bfloat16, torch.float32)
    assert own is not layers
    assert in_precision(base, layers, "float32") == (base, layers)
