"""Rows of adapters: where each factor lies, and what comes back."""

import hashlib
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memkit.errors import IncompatibleModelError, NonFiniteError
from memkit.lora.serving.hooks import Factors
from memkit.lora.serving.layout import Frame, Layout, Row, union

TARGETS = {
    f"model.layers.{layer}.{name}": shape
    for layer in range(3)
    for name, shape in {
        "attn.q_proj": (4, 6), "attn.k_proj": (4, 2), "attn.v_proj": (4, 2), "attn.o_proj": (6, 4),
        "mlp.gate_proj": (4, 5), "mlp.up_proj": (4, 5), "mlp.down_proj": (5, 4),
    }.items()
}  # fmt: skip


def adapter(targets=TARGETS, rank=2):
    """Factors of numbers that are all different and exact in every type."""
    numbers = iter(range(10**6))

    def fill(*shape):
        count = math.prod(shape)
        return torch.tensor([next(numbers) for _ in range(count)]).float().view(shape)

    return {
        name: Factors(fill(rank, n_in), fill(n_out, rank))
        for name, (n_in, n_out) in targets.items()
    }


def test_layers_of_one_kind_and_input_lie_together():
    blocks = Frame(TARGETS).blocks

    assert [[name.rpartition(".")[2] for name in block.names[0]] for block in blocks] == [
        ["q_proj", "k_proj", "v_proj"], ["o_proj"], ["gate_proj", "up_proj"], ["down_proj"]
    ]  # fmt: skip
    assert [len(block.names) for block in blocks] == [3, 3, 3, 3]
    assert [(block.n_in, block.n_outs) for block in blocks] == [
        (4, (6, 2, 2)), (6, (4,)), (4, (5, 5)), (5, (4,))
    ]  # fmt: skip


def test_a_row_is_what_the_format_says():
    """Written out by hand from the description of the module."""
    factors = adapter(rank=2)
    row = Row.of(factors, 1.0, dtype=torch.float32)

    def layers(*names):
        return [[factors[f"model.layers.{n}.{name}"] for name in names] for n in range(3)]

    expected = []
    for names in (["attn.q_proj", "attn.k_proj", "attn.v_proj"], ["attn.o_proj"],
                  ["mlp.gate_proj", "mlp.up_proj"], ["mlp.down_proj"]):  # fmt: skip
        expected += [f.a.flatten() for members in layers(*names) for f in members]
        for name in names:
            expected += [f.b.T.flatten() for (f,) in layers(name)]
    assert torch.equal(row.data, torch.cat(expected))
    assert row.layout.size == len(row.data) == 2 * sum(a + b for a, b in TARGETS.values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16])
def test_what_is_packed_comes_back_rounded(dtype):
    factors = adapter()
    row = Row.of(factors, 1.0, dtype=dtype)

    back = row.layout.unpack(row.data)
    assert list(back) == list(factors)
    for name, packed in factors.items():
        assert torch.equal(back[name].a, packed.a.to(dtype))
        assert torch.equal(back[name].b, packed.b.to(dtype))
        assert back[name].a.untyped_storage().data_ptr() == row.data.untyped_storage().data_ptr()


@settings(max_examples=25, deadline=None)
@given(names=st.sets(st.sampled_from(sorted(TARGETS)), min_size=1), rank=st.integers(1, 3))
def test_any_layers_make_the_round_trip(names, rank):
    targets = {name: shape for name, shape in TARGETS.items() if name in names}
    factors = adapter(targets, rank)
    row = Row.of(factors, 1.0)

    back = row.layout.unpack(row.data)
    assert all(torch.equal(back[n].a, f.a) and torch.equal(back[n].b, f.b)
               for n, f in factors.items())  # fmt: skip
    # The same adapter in a row for all layers: the others are zeros.
    wide = Row.of(factors, 1.0, frame=Frame(TARGETS))
    for name, part in wide.layout.unpack(wide.data).items():
        expected = factors.get(name)
        assert torch.equal(part.a, torch.zeros_like(part.a) if expected is None else expected.a)


def test_the_digest_is_of_layers_and_shapes():
    expected = json.dumps([[name, *shape] for name, shape in TARGETS.items()])

    assert Frame(TARGETS).digest == hashlib.sha256(expected.encode()).hexdigest()


def test_frames_unite_in_the_models_order():
    names = list(TARGETS)
    left, right = (Frame({n: TARGETS[n] for n in some}) for some in (names[5:9], names[:6]))

    assert union([left, left], TARGETS) is left
    assert list(union([left, right], TARGETS).targets) == names[:9]


def test_what_does_not_fit_is_refused():
    layout = Layout(Frame(TARGETS), 2, torch.float16)
    name = next(iter(TARGETS))
    with pytest.raises(IncompatibleModelError, match=r"shapes \[\(2, 4\), \(6, 2\)\] for .*q_proj"):
        layout.pack({name: Factors(torch.ones(2, 4), torch.ones(5, 2))})
    with pytest.raises(IncompatibleModelError, match="weights for 'lm_head', the layout has no"):
        layout.pack({"lm_head": Factors(torch.ones(2, 4), torch.ones(6, 2))})
    for bad in (math.nan, math.inf, 70_000.0):
        with pytest.raises(NonFiniteError, match=r"finite in torch.float16, got NaN") as caught:
            layout.pack({name: Factors(torch.full((2, 4), bad), torch.ones(6, 2))})
        assert "store rows as float32" in caught.value.hint
    Layout(Frame(TARGETS), 2, torch.float32).pack(
        {name: Factors(torch.full((2, 4), 70_000.0), torch.ones(6, 2))}
    )


def test_the_layers_of_a_model_without_siblings_stand_alone():
    names = ["transformer.h.0.attn.c_attn", "transformer.h.1.attn.c_attn", "0"]
    blocks = Frame(dict.fromkeys(names, (3, 4))).blocks

    assert [block.names for block in blocks] == [
        (("transformer.h.0.attn.c_attn",), ("transformer.h.1.attn.c_attn",)), (("0",),)
    ]  # fmt: skip
