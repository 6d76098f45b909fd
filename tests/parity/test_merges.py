"""Merges are PEFT's, number for number, where PEFT is right; elsewhere dense arithmetic's."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer

from memkit.lora.peft.merges import Merge
from memkit.lora.serving.hooks import Factors, Scaled
from memkit.testing import tiny_gpt2, tiny_llama

# PEFT reads a property that transformers is about to rename.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

ATTENTION = {"llama": ["q_proj", "o_proj"], "gpt2": ["c_attn"]}
MLP = {"llama": ["up_proj"], "gpt2": ["c_fc"]}
IDS = torch.tensor([[5, 9, 70, 33, 8, 120], [77, 3, 15, 200, 41, 6]])


@pytest.fixture(scope="module", params=[tiny_llama, tiny_gpt2])
def base(request):
    return request.param().model


def with_adapters(base, *, rslora=False, **settings):
    """PEFT's model with one random adapter per name: rank, alpha, modules."""
    kind = base.config.model_type
    model = copy.deepcopy(base)
    random = torch.Generator().manual_seed(3)
    for name, (rank, alpha, modules) in settings.items():
        config = LoraConfig(
            r=rank,
            lora_alpha=alpha,
            target_modules=modules[kind],
            use_rslora=rslora,
            fan_in_fan_out=kind == "gpt2",
        )
        if hasattr(model, "peft_config"):
            model.add_adapter(name, config)
        else:
            model = get_peft_model(model, config, adapter_name=name)
        for layer in lora_layers(model, name).values():
            for half in (layer.lora_A[name].weight, layer.lora_B[name].weight):
                half.data = 0.1 * torch.randn(half.shape, generator=random)
    return model.eval()


def lora_layers(model, name):
    return {
        path: layer
        for path, layer in model.named_modules()
        if isinstance(layer, LoraLayer) and name in layer.lora_A
    }


def part(model, name):
    """An adapter of PEFT's as memkit sees it."""
    layers = lora_layers(model, name)
    factors = {
        path: Factors(layer.lora_A[name].weight.data, layer.lora_B[name].weight.data)
        for path, layer in layers.items()
    }
    some = next(iter(layers.values()))
    return Scaled(factors, some.r[name], some.scaling[name])


def merged_by_peft(model, weights, **options):
    model.add_weighted_adapter(list(weights), list(weights.values()), "merged", **options)
    return part(model, "merged")


def merged(model, weights, how):
    return how([part(model, name) for name in weights], list(weights.values()))


def deltas(scaled):
    return {
        name: scaled.scale * (f.b.double() @ f.a.double()) for name, f in scaled.adapter.items()
    }


def assert_same_factors(ours, theirs):
    assert (ours.rank, ours.scale) == (theirs.rank, theirs.scale)
    assert ours.adapter.keys() == theirs.adapter.keys()
    for name, factors in theirs.adapter.items():
        for half in ("a", "b"):
            torch.testing.assert_close(
                getattr(ours.adapter[name], half), getattr(factors, half), atol=1e-7, rtol=1e-6
            )


def assert_same_deltas(ours, expected, atol=1e-6):
    assert ours.keys() == expected.keys()
    for name, delta in expected.items():
        torch.testing.assert_close(ours[name], delta, atol=atol, rtol=1e-5)


def sum_of_deltas(model, weights):
    """Dense float64: what the adapters add to each weight, by definition."""
    total = {}
    for name, weight in weights.items():
        for path, delta in deltas(part(model, name)).items():
            total[path] = total.get(path, 0.0) + weight * delta
    return total


ALIKE = {"one": (4, 8, ATTENTION), "two": (4, 3, ATTENTION), "three": (4, 4, ATTENTION)}
UNLIKE = {"one": (4, 8, ATTENTION), "two": (2, 5, MLP), "three": (3, 4, ATTENTION)}
WEIGHTS = {"one": 0.7, "two": 1.2, "three": -0.4}


# -- where PEFT is right ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "options"),
    [
        (Merge("linear"), {"combination_type": "linear"}),
        (Merge("ties"), {"combination_type": "ties", "density": 0.5}),
        (Merge("ties", density=0.2), {"combination_type": "ties", "density": 0.2}),
        (Merge("cat"), {"combination_type": "cat"}),
    ],
    ids=str,
)
def test_the_factors_are_pefts(base, how, options):
    model = with_adapters(base, **ALIKE)

    assert_same_factors(merged(model, WEIGHTS, how), merged_by_peft(model, WEIGHTS, **options))


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties"])
def test_what_dare_drops_is_what_peft_drops_with_that_seed(base, method, monkeypatch):
    model = with_adapters(base, **ALIKE)
    inject = model.base_model.inject_adapter

    def inject_then_seed(*args, **kwargs):  # making the new layers draws, too
        inject(*args, **kwargs)
        torch.manual_seed(11)

    monkeypatch.setattr(model.base_model, "inject_adapter", inject_then_seed)
    with torch.random.fork_rng(devices=[]):
        expected = merged_by_peft(model, WEIGHTS, combination_type=method, density=0.3)

    ours = merged(model, WEIGHTS, Merge(method, density=0.3, seed=11))

    assert_same_factors(ours, expected)


@pytest.mark.parametrize("rank", [1, 3, 4])
def test_svd_is_pefts_without_the_dense_delta(base, rank):
    model = with_adapters(base, **ALIKE)
    expected = merged_by_peft(model, WEIGHTS, combination_type="svd", svd_rank=rank)

    ours = merged(model, WEIGHTS, Merge("svd", rank=rank))

    assert ours.rank == rank
    assert_same_deltas(deltas(ours), deltas(expected))


@pytest.mark.parametrize("how", [Merge("cat"), Merge("svd", rank=9), Merge("svd", rank=20)])
def test_cat_and_svd_at_full_rank_are_the_sum_of_the_deltas(base, how):
    model = with_adapters(base, **UNLIKE)

    assert_same_deltas(deltas(merged(model, WEIGHTS, how)), sum_of_deltas(model, WEIGHTS))


def test_mean_delta_is_the_mean_of_the_deltas(base):
    model = with_adapters(base, **UNLIKE)
    expected = {name: delta / 3 for name, delta in sum_of_deltas(model, WEIGHTS).items()}

    assert_same_deltas(deltas(merged(model, WEIGHTS, Merge("mean_delta"))), expected)


# -- where it is not: figures of docs/decisions/0004-merges.md -------------------------------


def error_of(result, expected):
    """Relative error in the Frobenius norm, over all layers."""
    wrong = sum((result[name] - delta).square().sum() for name, delta in expected.items())
    return float((wrong / sum(delta.square().sum() for delta in expected.values())).sqrt())


def test_linear_is_far_from_the_sum_of_the_deltas(base):
    """Cross terms: for N independent adapters at equal weights their norm is sqrt(N - 1)."""
    model = with_adapters(base, **dict.fromkeys(("one", "two", "three"), (4, 4, ATTENTION)))
    thirds = dict.fromkeys(("one", "two", "three"), 1 / 3)
    expected = sum_of_deltas(model, thirds)

    assert error_of(deltas(merged(model, thirds, Merge("linear"))), expected) == pytest.approx(
        2**0.5, rel=0.1
    )
    assert error_of(deltas(merged(model, thirds, Merge("cat"))), expected) < 1e-6


def test_peft_makes_a_cat_of_two_rslora_adapters_four_times_too_strong(base):
    """It scales the result by rslora's rule, too: 16 / sqrt(16) = 4, with the scales folded in."""
    model = with_adapters(base, rslora=True, one=(8, 8, ATTENTION), two=(8, 8, ATTENTION))
    weights = {"one": 0.5, "two": 0.5}
    expected = sum_of_deltas(model, weights)

    theirs = deltas(merged_by_peft(model, weights, combination_type="cat"))

    assert_same_deltas(theirs, {name: 4 * delta for name, delta in expected.items()}, atol=1e-5)
    assert_same_deltas(deltas(merged(model, weights, Merge("cat"))), expected)


@pytest.mark.parametrize(("method", "options"), [("linear", {}), ("ties", {"density": 0.5})])
def test_peft_makes_other_merges_of_rslora_adapters_too_strong_by_the_root_of_the_rank(
    base, method, options
):
    model = with_adapters(base, rslora=True, one=(4, 8, ATTENTION), two=(4, 8, ATTENTION))
    weights = {"one": 0.5, "two": 0.5}
    ours = deltas(merged(model, weights, Merge(method)))

    theirs = deltas(merged_by_peft(model, weights, combination_type=method, **options))

    assert_same_deltas(theirs, {name: 2 * delta for name, delta in ours.items()})
