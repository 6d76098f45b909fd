"""Cached lower layers give what the whole model gives, and are computed once."""

import pytest
import torch

from memkit.lora.training.activation_cache import ActivationCache
from memkit.lora.training.encoding import Encoded
from memkit.testing import tiny_gpt2, tiny_llama, tiny_qwen2

EXAMPLES = [
    Encoded((5, 6, 7), (10, 11, 12, 13), 2),
    Encoded((5, 6, 7), (20, 21), 1),
    Encoded((8,), (30, 31, 32), 1),
]


def whole(base, examples):
    with torch.no_grad():
        past = base.past([example.prefix for example in examples])
        return base.extend(past, [example.ids for example in examples])


def through(cache, base, examples):
    with torch.no_grad():
        inputs = cache.inputs(examples)
        past = base.past([example.prefix for example in examples])
        with cache.upper_layers():
            return base.extend(past, [e.ids for e in examples], embedded=inputs)


def assert_rows_equal(given, expected, examples):
    for row, example in enumerate(examples):
        there = slice(0, len(example.ids))  # beyond is padding
        assert torch.equal(given[row, there], expected[row, there])


@pytest.mark.parametrize("make", [tiny_llama, tiny_qwen2])
@pytest.mark.parametrize("first", [0, 1])
def test_the_hidden_states_are_the_whole_models_bit_for_bit(make, first):
    base = make()
    cache = ActivationCache(base, first)

    for _ in range(2):  # computed, then remembered
        assert_rows_equal(through(cache, base, EXAMPLES), whole(base, EXAMPLES), EXAMPLES)


def test_lower_layers_run_once_per_example():
    base = tiny_llama()
    cache = ActivationCache(base, 1)
    fed = []
    layers = base.model.base_model.layers
    layers[0].register_forward_pre_hook(lambda _, args: fed.append(args[0].shape[0]))

    through(cache, base, EXAMPLES[:2])
    fed.clear()  # the prefixes, too, went through it
    through(cache, base, [EXAMPLES[1], EXAMPLES[0], EXAMPLES[1]])
    assert fed == []
    through(cache, base, EXAMPLES)
    assert fed == [1, 1]  # the new prefix and its example


def test_the_model_is_whole_again_after_an_error():
    base = tiny_llama()
    inner = base.model.base_model
    before = inner.layers, inner.norm

    def fail():
        with ActivationCache(base, 1).upper_layers():
            assert len(inner.layers) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (inner.layers, inner.norm) == before


def test_models_that_cannot_be_cut_are_told_apart():
    """GPT-2 adds positions to what enters its first layer."""
    assert ActivationCache.supports(tiny_llama())
    assert ActivationCache.supports(tiny_qwen2())
    assert not ActivationCache.supports(tiny_gpt2())


def test_gradients_end_at_the_cache():
    base = tiny_llama()
    cache = ActivationCache(base, 1)
    inputs = cache.inputs(EXAMPLES)

    assert not inputs.requires_grad
