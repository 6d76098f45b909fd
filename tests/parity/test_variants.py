"""DoRA, PiSSA and rsLoRA against PEFT, which implements them inside the layers."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model

from memkit.lora.serving.hooks import AdapterLayers
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.training.precision import in_precision
from memkit.lora.training.trainer import Trainer
from memkit.lora.training.variants import new_variant
from memkit.protocols import Example
from memkit.testing import tiny_gpt2, tiny_llama, tiny_qwen2

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

IDS = torch.tensor([[5, 9, 70, 33, 8, 120]])
EXAMPLES = [Example("Which badge has Nora?", "4471", "a"), Example("Who opens?", "Ada", "b")]
MODELS = pytest.mark.parametrize("make", [tiny_llama, tiny_qwen2, tiny_gpt2])


def variant_of(base, spec):
    layers = AdapterLayers(base.model)
    shapes = layers.targets(spec)
    return layers, new_variant(base, shapes, spec, torch.Generator().manual_seed(0))


def logits_with(base, layers, adapter, spec):
    with layers.place(adapter, torch.full((1, spec.width), spec.scale)):
        return base.model(IDS, use_cache=False).logits


def peft_of(model, spec, **kwargs):
    fan_in_fan_out = type(model).__name__.startswith("GPT2")
    names = ["c_attn", "c_proj", "c_fc"] if fan_in_fan_out else "all-linear"
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=2 * spec.rank if spec.alpha is None else spec.alpha,
        target_modules=names,
        use_rslora=spec.rslora,
        fan_in_fan_out=fan_in_fan_out,
        task_type="CAUSAL_LM",
        **kwargs,
    )
    return get_peft_model(copy.deepcopy(model), config).eval()


def parts_of(peft):
    """PEFT's parameters by the base model's layer names and by what they are."""
    parts = {}
    for key, parameter in peft.named_parameters():
        for kind in ("lora_A", "lora_B", "lora_magnitude_vector"):
            if f".{kind}." in key:
                name = key.removeprefix("base_model.model.").split(f".{kind}.")[0]
                parts.setdefault(name, {})[kind] = parameter
    return parts


def randomise(tensors, seed):
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in tensors:
            tensor.copy_(0.1 * torch.randn(tensor.shape, generator=random))


@MODELS
def test_dora_computes_and_learns_as_pefts_does(make):
    """Equal logits and equal gradients, for random factors and lengths."""
    base, spec = make(), LoraSpec(rank=3, variant="dora")
    peft = peft_of(base.model, spec, use_dora=True)
    layers, dora = variant_of(base, spec)
    theirs = parts_of(peft)
    randomise(dora._learned.tensors.values(), 1)
    with torch.no_grad():
        for name, factors in dora._learned.factors().items():
            dora._lengths[name].mul_(1.1)
            theirs[name]["lora_A"].copy_(factors.a)
            theirs[name]["lora_B"].copy_(factors.b)
            theirs[name]["lora_magnitude_vector"].copy_(dora._lengths[name])

    mine = logits_with(base, layers, dora.adapter(), spec)
    other = peft(IDS, use_cache=False).logits

    torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)
    mine.square().mean().backward()
    other.square().mean().backward()
    slopes_of = {shape: stack.grad for shape, stack in dora._learned.tensors.items()}
    for name, slopes in dora._learned.split(slopes_of).items():
        same = {"atol": 1e-5, "rtol": 2e-3}
        torch.testing.assert_close(slopes.a, theirs[name]["lora_A"].grad, **same)
        torch.testing.assert_close(slopes.b, theirs[name]["lora_B"].grad, **same)
        lengths = theirs[name]["lora_magnitude_vector"].grad
        torch.testing.assert_close(dora._lengths[name].grad, lengths, **same)


@MODELS
@pytest.mark.parametrize("variant", ["lora", "dora", "pissa"])
def test_a_new_adapter_changes_nothing(make, variant):
    base, spec = make(), LoraSpec(rank=3, variant=variant)
    bare = base.model(IDS, use_cache=False).logits
    layers, fresh = variant_of(base, spec)

    changed = logits_with(base, layers, fresh.adapter(), spec)

    torch.testing.assert_close(changed, bare, atol=1e-4, rtol=1e-4)


@MODELS
def test_pissa_starts_where_pefts_does(make):
    """PEFT takes the principal part out of its own copy of the weights; the product is equal."""
    base, spec = make(), LoraSpec(rank=3, variant="pissa")
    peft = peft_of(base.model, spec, init_lora_weights="pissa")
    _, pissa = variant_of(base, spec)

    for name, parts in parts_of(peft).items():
        first = pissa._first[name]
        expected = parts["lora_B"] @ parts["lora_A"]
        torch.testing.assert_close(first.b @ first.a, expected.detach(), atol=1e-5, rtol=1e-4)


def test_pissa_keeps_what_it_took_away():
    """``W + s (B A - B0 A0)``, by dense arithmetic."""
    base, spec = tiny_llama(), LoraSpec(rank=2, variant="pissa")
    layers, pissa = variant_of(base, spec)
    randomise(pissa.parameters(), 3)
    dense = copy.deepcopy(base.model)
    for name, layer in dense.named_modules():
        if name in pissa._first:
            now, first = pissa._learned.factors()[name], pissa._first[name]
            layer.weight.data += spec.scale * (now.b @ now.a - first.b @ first.a).detach()

    adapter = pissa.adapter()

    assert {f.a.shape[0] for f in adapter.values()} == {spec.width} == {4}
    mine = logits_with(base, layers, adapter, spec)
    torch.testing.assert_close(mine, dense(IDS, use_cache=False).logits, atol=1e-4, rtol=1e-4)


@MODELS
def test_rslora_scales_as_pefts_does(make):
    base, spec = make(), LoraSpec(rank=4, alpha=6.0, rslora=True)
    peft = peft_of(base.model, spec)
    layers, lora = variant_of(base, spec)
    theirs = parts_of(peft)
    randomise(lora.parameters(), 2)
    with torch.no_grad():
        for name, factors in lora.adapter().items():
            theirs[name]["lora_A"].copy_(factors.a)
            theirs[name]["lora_B"].copy_(factors.b)

    mine = logits_with(base, layers, lora.adapter(), spec)

    assert spec.scale == 3.0
    torch.testing.assert_close(mine, peft(IDS, use_cache=False).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("variant", ["dora", "pissa"])
def test_variants_learn_through_the_trainer(variant):
    base = tiny_llama()
    spec = LoraSpec(rank=8, variant=variant)
    train = TrainSpec(epochs=150, batch_size=2, learning_rate=2e-3, guards=0)
    trainer = Trainer(base, AdapterLayers(base.model), spec, train)

    trained = trainer.fit(EXAMPLES)

    assert trained.mastered == 1.0
    parts = {len(factors.parts) for factors in trained.adapter.values()}
    assert parts == {3 if variant == "dora" else 2}
    assert not any(part.requires_grad for f in trained.adapter.values() for part in f.parts)


@pytest.mark.parametrize(
    ("group", "parts"),
    [
        ("attention", {"q_proj", "k_proj", "v_proj", "o_proj"}),
        ("mlp", {"gate_proj", "up_proj", "down_proj"}),
        (
            "all-linear",
            {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
        ),
        (("q_proj", "v_proj"), {"q_proj", "v_proj"}),
    ],
)
def test_groups_of_layers(group, parts):
    layers = AdapterLayers(tiny_llama().model)

    found = layers.targets(LoraSpec(target_modules=group))

    assert {name.split(".")[-1] for name in found} == parts


def test_a_copy_in_another_precision_has_hooks_of_its_own():
    base = tiny_llama()
    layers = AdapterLayers(base.model)
    other, own = in_precision(base, layers, "bfloat16")
    spec = LoraSpec(rank=2)
    adapter = new_variant(base, layers.targets(spec), spec, torch.Generator().manual_seed(0))
    randomise(adapter.parameters(), 4)
    bare = other.model(IDS, use_cache=False).logits

    with layers.place(adapter.adapter(), torch.ones(1, 2)):
        assert torch.equal(other.model(IDS, use_cache=False).logits, bare)
    assert (other.model.dtype, base.model.dtype) == (torch.bfloat16, torch.float32)
    assert own is not layers
    assert in_precision(base, layers, "float32") == (base, layers)
