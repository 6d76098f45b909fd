"""Adapters that memkit writes do in PEFT what they do in memkit, alone and mixed."""

import copy

import pytest
import torch
from peft import PeftModel

from memkit.lora.bank import AdapterBank
from memkit.lora.layers import AdapterLayers, Factors
from memkit.lora.peft_format import save_adapter
from memkit.lora.spec import LoraSpec
from memkit.testing import tiny_gpt2, tiny_llama, tiny_qwen2

# PEFT reads a property that transformers is about to rename.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

SPECS = {
    "low": LoraSpec(rank=2, layers=(0.0, 0.5)),
    "high": LoraSpec(rank=5, alpha=3.0, layers=(0.5, 1.0)),
    "all": LoraSpec(rank=3, layers=(0.0, 1.0)),
    "attention": LoraSpec(rank=4, target_modules=("q_proj", "o_proj", "c_attn"), layers=(0.0, 1.0)),
}
IDS = torch.tensor([[5, 9, 70, 33, 8, 120], [77, 3, 15, 200, 41, 6]])


@pytest.fixture(scope="module", params=[tiny_llama, tiny_qwen2, tiny_gpt2])
def bench(request, tmp_path_factory):
    """A model with a bank of random adapters, and PEFT's model with the same ones."""
    base = request.param()
    fresh = copy.deepcopy(base.model)
    layers = AdapterLayers(base.model)
    random = torch.Generator().manual_seed(1)
    folder = tmp_path_factory.mktemp("adapters")
    adapters = {}
    for name, spec in SPECS.items():
        adapters[name] = {
            layer: Factors(
                a=0.1 * torch.randn(spec.rank, n_in, generator=random),
                b=0.1 * torch.randn(n_out, spec.rank, generator=random),
            )
            for layer, (n_in, n_out) in layers.targets(spec).items()
        }
        save_adapter(folder / name, adapters[name], spec, {}, conv1d=layers.conv1d)
    bank = AdapterBank(
        layers,
        lambda key: (adapters[key], SPECS[key]),
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    return base, bank, peft_model(fresh, folder)


def peft_model(model, folder):
    # PEFT warns of what it does not understand in the files, and warnings are errors here.
    first, *others = SPECS
    model = PeftModel.from_pretrained(model, folder / first, adapter_name=first)
    for name in others:
        model.load_adapter(folder / name, adapter_name=name)
    return model.eval()


def mixed(base, bank, mixture):
    with torch.no_grad(), bank.mix([mixture] * len(IDS)):
        return base.model(IDS, use_cache=False).logits


def in_peft(model, adapter):
    model.set_adapter(adapter)
    with torch.no_grad():
        return model(IDS, use_cache=False).logits


@pytest.mark.parametrize("name", SPECS)
def test_peft_loads_an_adapter_and_computes_the_same(bench, name):
    base, bank, peft = bench
    expected = in_peft(peft, name)

    torch.testing.assert_close(mixed(base, bank, {name: 1.0}), expected, atol=1e-5, rtol=1e-5)
    assert (expected - mixed(base, bank, {})).abs().max() > 0.01


@pytest.mark.parametrize(
    "mixture",
    [
        {"low": 0.5, "high": 0.5},
        {"low": 0.2, "high": 1.3, "all": 0.7},
        {"all": 0.9, "attention": 0.1},
    ],
    ids=str,
)
def test_a_mixture_is_pefts_cat(bench, mixture):
    base, bank, peft = bench
    name = " ".join(mixture).replace(".", "_")
    peft.add_weighted_adapter(list(mixture), list(mixture.values()), name, combination_type="cat")
    expected = in_peft(peft, name)

    torch.testing.assert_close(mixed(base, bank, mixture), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", SPECS)
def test_merging_in_peft_gives_the_same_model(bench, name):
    """What PEFT writes into the weights is what memkit adds beside them."""
    base, bank, peft = bench
    peft.set_adapter(name)
    merged = copy.deepcopy(peft).merge_and_unload()
    with torch.no_grad():
        expected = merged(IDS, use_cache=False).logits

    torch.testing.assert_close(mixed(base, bank, {name: 1.0}), expected, atol=1e-4, rtol=1e-4)
