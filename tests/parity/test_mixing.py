"""Mixtures beside frozen layers equal dense weights ``W + sum_i w_i s_i B_i A_i``, row by row."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers.pytorch_utils import Conv1D

from memkit.errors import IncompatibleModelError
from memkit.lora.serving import bank as bank_module
from memkit.lora.serving.bank import AdapterBank
from memkit.lora.serving.hooks import (
    AdapterLayers,
    Factors,
    linear_layers,
)
from memkit.lora.serving.layout import Row
from memkit.lora.spec import LoraSpec
from memkit.lora.training.trainable_adapter import new_adapter
from memkit.testing import tiny_gpt2, tiny_llama, tiny_qwen2
from memkit.types import Sampling

# Different ranks and scales, on different layers: a mixture has zeros where one is absent.
SPECS = {
    "low": LoraSpec(rank=2, layers=(0.0, 0.5)),
    "high": LoraSpec(rank=5, alpha=3.0, layers=(0.5, 1.0)),
    "all": LoraSpec(rank=3, alpha=9.0, layers=(0.0, 1.0)),
}
IDS = torch.tensor([[5, 9, 70, 33, 8, 120]])


class Bench:
    """A model in float64 with its hooks, random adapters, and the bare model as it was."""

    def __init__(self, base):
        self.bare = copy.deepcopy(base.model).double()
        self.base = base
        base.model.double()
        self.layers = AdapterLayers(base.model)
        random = torch.Generator().manual_seed(1)
        self.adapters = {
            name: random_adapter(self.layers.targets(spec), spec.rank, random)
            for name, spec in SPECS.items()
        }
        self.bank = AdapterBank(
            self.layers,
            lambda key: Row.of(self.adapters[key], SPECS[key].scale),
            bound=2**30,
            device=torch.device("cpu"),
            dtype=torch.float64,
        )

    def mixed(self, rows, ids):
        with torch.no_grad(), self.bank.mix(rows):
            return self.base.model(ids, use_cache=False).logits

    def dense(self, mixture, ids):
        """Logits of a copy whose weights contain the mixture."""
        model = copy.deepcopy(self.bare)
        for name, layer in model.named_modules():
            for key, weight in mixture.items():
                if name in self.adapters[key]:
                    add_delta(layer, self.adapters[key][name], weight * SPECS[key].scale)
        with torch.no_grad():
            return model(ids, use_cache=False).logits


def random_adapter(shapes, rank, random):
    """Both factors random: a fresh adapter's delta is zero."""
    return {
        name: Factors(
            a=0.1 * torch.randn(rank, n_in, generator=random, dtype=torch.float64),
            b=0.1 * torch.randn(n_out, rank, generator=random, dtype=torch.float64),
        )
        for name, (n_in, n_out) in shapes.items()
    }


def add_delta(layer, factors, scale):
    delta = scale * factors.b @ factors.a  # (out, in)
    layer.weight.data += delta.T if isinstance(layer, Conv1D) else delta


@pytest.fixture(scope="module", params=[tiny_llama, tiny_qwen2, tiny_gpt2])
def bench(request):
    return Bench(request.param())


MIXTURES = [
    {"low": 1.0},
    {"high": 1.0},
    {"low": 0.5, "high": 0.5},
    {"low": 0.2, "high": 1.3, "all": -0.7},
    {"all": 0.0},
    {"all": -1.0},
]


@pytest.mark.parametrize("mixture", MIXTURES, ids=str)
def test_a_mixture_equals_dense_weights(bench, mixture):
    expected = bench.dense(mixture, IDS)

    torch.testing.assert_close(bench.mixed([mixture], IDS), expected, atol=1e-9, rtol=1e-9)


def test_the_mixtures_of_this_file_matter(bench):
    bare = bench.dense({}, IDS)

    for name in SPECS:
        assert (bench.dense({name: 1.0}, IDS) - bare).abs().max() > 0.1


def test_the_rows_of_a_batch_have_their_own_mixtures(bench):
    rows = [*MIXTURES, {}]
    random = torch.Generator().manual_seed(2)
    ids = torch.randint(0, 200, (len(rows), 7), generator=random)
    expected = torch.cat([bench.dense(row, ids[i : i + 1]) for i, row in enumerate(rows)])

    torch.testing.assert_close(bench.mixed(rows, ids), expected, atol=1e-9, rtol=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    ranks=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    data=st.data(),
)
def test_any_weights_and_ranks(ranks, data):
    layer = nn.Linear(7, 4, dtype=torch.float64)
    model = nn.Sequential(layer)
    layers = AdapterLayers(model)
    random = torch.Generator().manual_seed(sum(ranks))
    specs = {f"m{i}": LoraSpec(rank=rank, alpha=float(i)) for i, rank in enumerate(ranks, start=1)}
    adapters = {k: random_adapter(layers.shapes, s.rank, random) for k, s in specs.items()}
    bank = AdapterBank(
        layers, lambda key: Row.of(adapters[key], specs[key].scale), bound=2**30,
        device=layer.weight.device,
        dtype=torch.float64,
    )  # fmt: skip
    weights = st.floats(-3, 3, allow_nan=False)
    rows = data.draw(
        st.lists(st.dictionaries(st.sampled_from(sorted(specs)), weights), min_size=1, max_size=4)
    )
    x = torch.randn(len(rows), 3, 7, generator=random, dtype=torch.float64)

    with torch.no_grad(), bank.mix(rows):
        mixed = model(x)

    for row, given_x, got in zip(rows, x, mixed, strict=True):
        weight = layer.weight.detach().clone()
        for key, share in row.items():
            factors = adapters[key]["0"]
            weight += share * specs[key].scale * factors.b @ factors.a
        expected = given_x @ weight.T + layer.bias.detach()
        torch.testing.assert_close(got, expected, atol=1e-10, rtol=1e-10)


def test_with_nothing_in_place_the_output_is_the_bare_models_to_the_bit(bench):
    with torch.no_grad():
        expected = bench.bare(IDS, use_cache=False).logits
        assert torch.equal(bench.base.model(IDS, use_cache=False).logits, expected)
    assert torch.equal(bench.mixed([{}], IDS), expected)


def test_a_bare_row_beside_a_mixed_one_is_the_bare_models(bench):
    ids = IDS.repeat(2, 1)
    with torch.no_grad():
        expected = bench.bare(ids, use_cache=False).logits

    mixed = bench.mixed([{}, {"all": 1.0}], ids)

    assert torch.equal(mixed[0], expected[0])
    assert not torch.allclose(mixed[1], expected[1])


def test_adapters_leave_when_an_error_passes(bench):
    before = bench.mixed([{}], IDS)

    with pytest.raises(ZeroDivisionError), bench.bank.mix([{"all": 1.0}]):
        raise ZeroDivisionError

    assert torch.equal(bench.mixed([{}], IDS), before)


def test_an_error_inside_the_model_leaves_nothing_behind(bench):
    before = bench.mixed([{}], IDS)

    with (
        pytest.raises(RuntimeError, match="must match"),
        torch.no_grad(),
        bench.bank.mix([{"all": 1.0}] * 2),
    ):
        bench.base.model(IDS.repeat(3, 1), use_cache=False)  # two mixtures for three rows

    assert torch.equal(bench.mixed([{}], IDS), before)


def test_the_innermost_mixture_counts_and_the_outer_one_returns(bench):
    expected = {key: bench.dense({key: 1.0}, IDS) for key in ("low", "high")}
    bare = bench.dense({}, IDS)

    def logits():
        return bench.base.model(IDS, use_cache=False).logits

    with torch.no_grad(), bench.bank.mix([{"low": 1.0}]):
        with bench.bank.mix([{"high": 1.0}]):
            torch.testing.assert_close(logits(), expected["high"], atol=1e-9, rtol=1e-9)
            with bench.bank.mix([{}]):
                torch.testing.assert_close(logits(), bare, atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(logits(), expected["low"], atol=1e-9, rtol=1e-9)


def test_base_weights_are_never_touched(bench):
    before = {name: tensor.clone() for name, tensor in bench.base.model.state_dict().items()}

    bench.mixed([{"all": 1.0, "low": 2.0}], IDS)

    after = bench.base.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_the_prefix_is_the_base_models(bench):
    """Adapters act on what follows the prefix: generating equals the two passes done by hand."""
    prefix, question = (5, 9, 70, 33), (8, 120, 14)
    past = bench.base.past([prefix])
    with torch.no_grad(), bench.bank.mix([{"all": 1.0}]):
        hidden = bench.base.extend(past, [question])

    adapted = copy.deepcopy(bench.bare)
    for name, layer in adapted.named_modules():
        if name in bench.adapters["all"]:
            add_delta(layer, bench.adapters["all"][name], SPECS["all"].scale)
    with torch.no_grad():
        first = bench.bare(torch.tensor([prefix]), use_cache=True)
        expected = adapted(torch.tensor([question]), past_key_values=first.past_key_values).logits

    torch.testing.assert_close(bench.base.logits(hidden), expected, atol=1e-9, rtol=1e-9)
    whole = bench.dense({"all": 1.0}, torch.tensor([prefix + question]))[:, len(prefix) :]
    assert not torch.allclose(expected, whole)  # adapting the prefix, too, is something else


def test_what_is_remembered_of_a_prefix_does_not_know_the_adapters():
    base = tiny_llama()
    layers = AdapterLayers(base.model)
    adapter = random_adapter(layers.shapes, 2, torch.Generator().manual_seed(3))
    adapter = {name: Factors(f.a.float(), f.b.float()) for name, f in adapter.items()}
    prompt = base.prompt("Where is it?")
    sampling = Sampling(max_new_tokens=8)
    bare = base.generate([prompt], sampling)[0]
    base.forget_prefixes()

    with_adapter = base.generate(
        [prompt], sampling, adapters=layers.place(adapter, torch.full((1, 2), 9.0))
    )[0]

    assert with_adapter.ids != bare.ids
    assert base.generate([prompt], sampling)[0].ids == bare.ids


def hooks(base):
    """How many hooks each module has; transformers puts some on, too."""
    return [len(module._forward_hooks) for module in base.model.modules()]


def test_detaching_leaves_no_hook():
    base = tiny_llama()
    before = hooks(base)
    layers = AdapterLayers(base.model)
    assert sum(hooks(base)) == sum(before) + len(layers.shapes)

    layers.detach()
    layers.detach()  # repeating it changes nothing

    assert hooks(base) == before


def test_detaching_waits_for_the_adapters_in_place():
    """An answer that is being streamed keeps its adapters to the end."""
    base = tiny_llama()
    before = hooks(base)
    layers = AdapterLayers(base.model)
    adapter = new_adapter(layers.shapes, 1, generator=torch.Generator())

    with layers.place(adapter, torch.ones(1, 1)):
        layers.detach()
        assert hooks(base) != before

    assert hooks(base) == before


def test_only_the_linear_layers_of_decoder_layers_count():
    names = linear_layers(tiny_llama().model)

    assert len(names) == 2 * 7
    assert all(name.startswith("model.layers.") for name in names)
    assert "lm_head" not in names
    assert len(linear_layers(tiny_gpt2().model)) == 2 * 4


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            LoraSpec(target_modules=("q_proj",), layers=(0.0, 1.0)),
            {"0.self_attn.q_proj", "1.self_attn.q_proj"},
        ),
        (
            LoraSpec(target_modules=("q_proj", "up_proj"), layers=(0.5, 1.0)),
            {"1.self_attn.q_proj", "1.mlp.up_proj"},
        ),
        (LoraSpec(target_modules=("down_proj",), layers=(0.0, 0.5)), {"0.mlp.down_proj"}),
    ],
)
def test_targets_are_chosen_by_name_and_depth(tiny, spec, expected):
    layers = AdapterLayers(tiny.model)
    targets = layers.targets(spec)
    layers.detach()

    assert {name.removeprefix("model.layers.") for name in targets} == expected


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

    targets = layers.targets(LoraSpec(target_modules=group))

    assert {name.split(".")[-1] for name in targets} == parts


def test_unknown_targets_are_refused(tiny):
    layers = AdapterLayers(tiny.model)
    layers.detach()

    with pytest.raises(IncompatibleModelError, match=r"expected layers \('qkv',\).*'q_proj'"):
        layers.targets(LoraSpec(target_modules=("qkv",)))


def test_a_fresh_adapter_changes_nothing_and_is_drawn_as_in_peft():
    shapes = {"a": (64, 10), "b": (16, 3)}

    adapter = new_adapter(shapes, 4, generator=torch.Generator().manual_seed(0))
    again = new_adapter(shapes, 4, generator=torch.Generator().manual_seed(0))

    for name, (n_in, n_out) in shapes.items():
        a, b = adapter[name].a, adapter[name].b
        assert a.shape == (4, n_in)
        assert torch.equal(a, again[name].a)
        assert torch.equal(b, torch.zeros(n_out, 4))
        # Kaiming-uniform with a = sqrt(5): bound sqrt(6 / ((1 + 5) n_in)) = 1 / sqrt(n_in)
        assert a.abs().max() <= n_in**-0.5
        assert a.abs().max() > 0.8 * n_in**-0.5


# -- many adapters, other precisions, compiled models


def test_rows_with_stacks_of_their_own_give_the_same(bench, monkeypatch):
    rows = [*MIXTURES, {}]
    ids = torch.randint(0, 200, (len(rows), 7), generator=torch.Generator().manual_seed(5))
    together = bench.mixed(rows, ids)
    monkeypatch.setattr(bank_module, "separate_stacks", lambda *_: True)

    torch.testing.assert_close(bench.mixed(rows, ids), together, atol=1e-9, rtol=1e-9)


def test_gradients_are_those_of_dense_weights(bench):
    """With ``W' = W + s B A``: ``dA = s B^T dW'`` and ``dB = s dW' A^T``."""
    adapter, scale = bench.adapters["all"], SPECS["all"].scale
    dense = copy.deepcopy(bench.bare).requires_grad_()
    for name, factors in adapter.items():
        add_delta(dense.get_submodule(name), factors, scale)
    dense(IDS, use_cache=False).logits.square().mean().backward()

    leaves = {
        n: Factors(f.a.clone().requires_grad_(), f.b.clone().requires_grad_())
        for n, f in adapter.items()
    }
    with bench.layers.place(leaves, torch.full((1, 3), scale, dtype=torch.float64)):
        bench.base.model(IDS, use_cache=False).logits.square().mean().backward()

    for name, leaf in leaves.items():
        layer, factors = dense.get_submodule(name), adapter[name]
        slope = layer.weight.grad.T if isinstance(layer, Conv1D) else layer.weight.grad
        torch.testing.assert_close(leaf.a.grad, scale * factors.b.T @ slope, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(leaf.b.grad, scale * slope @ factors.a.T, atol=1e-6, rtol=1e-4)


def test_mixtures_in_bfloat16_are_those_in_float32_rounded():
    base = tiny_llama()
    exact = Bench(tiny_llama())
    layers = AdapterLayers(base.model.bfloat16())
    held = {
        name: Row.of(exact.adapters[name], SPECS[name].scale, dtype=torch.bfloat16)
        for name in SPECS
    }
    bank = AdapterBank(
        layers, held.__getitem__, bound=2**30, device=base.device, dtype=torch.bfloat16
    )
    rows = [{"low": 1.0}, {"low": 0.2, "high": 1.3, "all": -0.7}]
    with torch.no_grad(), bank.mix(rows):
        mixed = base.model(IDS.repeat(2, 1), use_cache=False).logits

    expected = exact.mixed(rows, IDS.repeat(2, 1))
    assert mixed.dtype == torch.bfloat16
    # bfloat16 has eight bits; two layers of it leave a few per cent of the largest logit.
    assert (mixed - expected).abs().max() < 0.05 * expected.abs().max()


def test_a_compiled_model_follows_the_mixtures():
    base = tiny_llama()
    bench = Bench(base)
    torch.compiler.reset()
    compiled = torch.compile(base.model, backend="aot_eager")
    with torch.no_grad():
        for rows in ([{}], [{"low": 1.0}], [{"high": 0.5, "all": 1.0}], [{}], [{"high": 1.0}],
                     [{"low": 1.0, "high": -1.0, "all": 0.3}], [{"low": 0.5}]):  # fmt: skip
            with bench.bank.mix(rows):
                torch.testing.assert_close(
                    compiled(IDS, use_cache=False).logits,
                    base.model(IDS, use_cache=False).logits,
                    atol=1e-9,
                    rtol=1e-9,
                )
    torch.compiler.reset()
