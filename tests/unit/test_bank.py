"""The bank loads adapters once, when they are needed, and keeps the most recently used ones."""

import pytest
import torch
from torch import nn

from memkit.errors import InvalidInputError
from memkit.lora.bank import AdapterBank
from memkit.lora.layers import AdapterLayers, Factors
from memkit.lora.spec import LoraSpec

SPEC = LoraSpec(rank=1, alpha=1.0)


def adapter(value=1.0):
    """Adds ``value`` times the sum of the inputs to each output."""
    return {"0": Factors(a=torch.ones(1, 3), b=torch.full((2, 1), value))}


class Disk:
    """Adapters by key, and what was read in which order."""

    def __init__(self):
        self.read = []

    def __call__(self, key):
        self.read.append(key)
        if not key.isalpha():
            raise KeyError(key)
        return adapter(float(ord(key))), SPEC


@pytest.fixture
def layers():
    model = nn.Sequential(nn.Linear(3, 2, bias=False))
    model[0].weight.data.zero_()
    layers = AdapterLayers(model)
    layers.model = model
    return layers


@pytest.fixture
def disk():
    return Disk()


def bank_of(layers, disk, capacity=2, dtype=torch.float32):
    return AdapterBank(layers, disk, capacity=capacity, device=torch.device("cpu"), dtype=dtype)


def outputs(layers, bank, *rows):
    """What each row's mixture adds to an input of ones, divided by three."""
    with torch.no_grad(), bank.mix(rows):
        return (layers.model(torch.ones(len(rows), 1, 3))[:, 0, 0] / 3).tolist()


def test_an_adapter_is_loaded_when_it_is_first_needed_and_once(layers, disk):
    bank = bank_of(layers, disk)
    assert disk.read == []

    assert outputs(layers, bank, {"a": 1.0}) == [97.0]
    assert outputs(layers, bank, {"a": 0.5}, {"a": 2.0}) == [48.5, 194.0]
    assert disk.read == ["a"]


def test_bare_rows_load_nothing(layers, disk):
    assert outputs(layers, bank_of(layers, disk), {}, {}) == [0.0, 0.0]
    assert disk.read == []


def test_the_least_recently_used_goes_first(layers, disk):
    bank = bank_of(layers, disk, capacity=2)
    for key in ("a", "b", "a", "c"):  # "b" has to go for "c"
        outputs(layers, bank, {key: 1.0})
    assert len(bank) == 2

    outputs(layers, bank, {"a": 1.0}, {"c": 1.0})
    assert disk.read == ["a", "b", "c"]
    outputs(layers, bank, {"b": 1.0})
    assert disk.read == ["a", "b", "c", "b"]


def test_what_is_put_counts_as_used(layers, disk):
    bank = bank_of(layers, disk, capacity=2)
    bank.put("x", adapter(5.0), SPEC)
    bank.put("y", adapter(6.0), SPEC)
    bank.put("x", adapter(7.0), SPEC)  # replaces, and is now the most recent
    bank.put("z", adapter(8.0), SPEC)

    assert outputs(layers, bank, {"x": 1.0}) == [7.0]
    assert outputs(layers, bank, {"z": 1.0}) == [8.0]
    assert disk.read == []
    outputs(layers, bank, {"y": 1.0})
    assert disk.read == ["y"]


def test_a_batch_may_need_more_than_the_bank_keeps(layers, disk):
    bank = bank_of(layers, disk, capacity=1)

    assert outputs(layers, bank, {"a": 1.0}, {"b": 1.0, "a": 1.0}) == [97.0, 195.0]
    assert len(bank) == 1


def test_what_is_dropped_is_read_again(layers, disk):
    bank = bank_of(layers, disk)
    outputs(layers, bank, {"a": 1.0, "b": 1.0})

    bank.drop("a")
    bank.drop("never seen")
    assert len(bank) == 1
    outputs(layers, bank, {"a": 1.0, "b": 1.0})
    assert disk.read == ["a", "b", "a"]

    bank.clear()
    assert len(bank) == 0
    outputs(layers, bank, {"b": 1.0})
    assert disk.read == ["a", "b", "a", "b"]


def test_an_error_of_loading_passes_and_nothing_is_in_place(layers, disk):
    bank = bank_of(layers, disk)

    with pytest.raises(KeyError, match="7"):
        outputs(layers, bank, {"a": 1.0, "7": 1.0})

    assert outputs(layers, bank, {}) == [0.0]
    assert len(bank) == 1


def test_adapters_are_kept_in_the_models_precision(layers, disk):
    layers.model.to(torch.bfloat16)
    bank = bank_of(layers, disk, dtype=torch.bfloat16)

    with torch.no_grad(), bank.mix([{"a": 1.0}]):
        output = layers.model(torch.ones(1, 1, 3, dtype=torch.bfloat16))

    assert output.dtype == torch.bfloat16
    assert output[0, 0].tolist() == [292.0] * 2  # 3 * 97; of these, bfloat16 has the even ones
    assert bank._held["a"][0]["0"].a.dtype == torch.bfloat16


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_capacity_below_one_is_refused(layers, disk, capacity):
    with pytest.raises(InvalidInputError, match=f"`capacity` must be at least 1, got {capacity}"):
        bank_of(layers, disk, capacity=capacity)
