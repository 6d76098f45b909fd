"""The bank loads adapters once, when they are needed, and keeps the most recently used ones."""

import pytest
import torch
from torch import nn

from memkit.lora.serving import bank as bank_module
from memkit.lora.serving import buffers as arena
from memkit.lora.serving.bank import AdapterBank
from memkit.lora.serving.hooks import AdapterLayers, Factors
from memkit.lora.serving.layout import Row
from memkit.types import CacheUse


def adapter(value=1.0, dtype=torch.float32):
    """Adds ``value`` times the sum of the inputs to each output."""
    return Row.of({"0": Factors(torch.ones(1, 3), torch.full((2, 1), value))}, 1.0, dtype=dtype)


class Disk:
    """Adapters by key, and what was read in which order."""

    def __init__(self):
        self.read = []

    def __call__(self, key):
        self.read.append(key)
        if not key.isalpha():
            raise KeyError(key)
        return adapter(float(ord(key)))


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


ROW = 20  # bytes of an adapter: five numbers in float32


def bank_of(layers, disk, holds=2, dtype=torch.float32):
    return AdapterBank(layers, disk, bound=holds * ROW, device=torch.device("cpu"), dtype=dtype)


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
    bank = bank_of(layers, disk, holds=2)
    for key in ("a", "b", "a", "c"):  # "b" has to go for "c"
        outputs(layers, bank, {key: 1.0})
    assert len(bank) == 2

    outputs(layers, bank, {"a": 1.0}, {"c": 1.0})
    assert disk.read == ["a", "b", "c"]
    outputs(layers, bank, {"b": 1.0})
    assert disk.read == ["a", "b", "c", "b"]


def test_what_is_put_stays_until_it_is_dropped(layers, disk):
    """It may be stored nowhere yet."""
    bank = bank_of(layers, disk, holds=1)
    bank.put("x", adapter(5.0))
    bank.put("y", adapter(6.0))
    bank.put("x", adapter(7.0))  # replaces
    for key in ("a", "b", "c"):
        outputs(layers, bank, {key: 1.0})

    assert outputs(layers, bank, {"x": 1.0}) == [7.0]
    assert outputs(layers, bank, {"y": 1.0}) == [6.0]
    assert disk.read == ["a", "b", "c"]
    bank.drop("y")
    assert "x" in bank
    assert "y" not in bank


def test_what_it_takes_is_counted_in_bytes(layers, disk):
    bank = bank_of(layers, disk, holds=2)
    assert bank.cached == CacheUse(0, 2 * ROW)
    outputs(layers, bank, {"a": 1.0, "b": 0.5, "c": 1.0})
    assert bank.cached == CacheUse(2 * ROW, 2 * ROW)


def test_without_room_adapters_are_read_whenever_they_are_needed(layers, disk):
    bank = bank_of(layers, disk, holds=0)
    for _ in range(2):
        assert outputs(layers, bank, {"a": 1.0, "b": 1.0}) == [195.0]
    assert disk.read == ["a", "b", "a", "b"]
    assert bank._idle is None  # buffers are bounded as well


def test_a_batch_may_need_more_than_the_bank_keeps(layers, disk):
    bank = bank_of(layers, disk, holds=1)

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


def test_an_error_of_loading_passes_and_nothing_is_in_place(layers, disk):
    bank = bank_of(layers, disk)

    with pytest.raises(KeyError, match="b7"):
        outputs(layers, bank, {"a": 1.0, "b7": 1.0})

    assert outputs(layers, bank, {}) == [0.0]
    assert len(bank) == 1


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("computed", [torch.float32, torch.bfloat16])
def test_adapters_may_be_stored_in_another_precision(layers, stored, computed):
    layers.model.to(computed)
    bank = bank_of(layers, lambda _: adapter(97.0, stored), dtype=computed)

    with torch.no_grad(), bank.mix([{"a": 1.0}]):
        output = layers.model(torch.ones(1, 1, 3, dtype=computed))

    assert output.dtype == computed
    # 3 * 97 = 291; of these, bfloat16 has the even ones
    assert output[0, 0].tolist() == [291.0 if computed == torch.float32 else 292.0] * 2


def test_nothing_is_copied_while_the_same_adapters_are_in_place(layers, disk, monkeypatch):
    bank = bank_of(layers, disk, holds=4)
    copied = []
    copy = arena._copy_blocks

    def note(seat, *rest):
        copied.append(seat.key)
        copy(seat, *rest)

    monkeypatch.setattr(arena, "_copy_blocks", note)

    assert outputs(layers, bank, {"a": 1.0, "b": 1.0}) == [195.0]
    assert outputs(layers, bank, {"b": 2.0, "a": 0.5}) == [244.5]  # other weights, other order
    assert outputs(layers, bank, {"a": 1.0}, {"b": 1.0}) == [97.0, 98.0]  # as rows of a batch
    assert outputs(layers, bank, {}) == [0.0]
    assert outputs(layers, bank, {"a": 1.0, "b": 1.0}) == [195.0]
    assert copied == ["a", "b"]
    outputs(layers, bank, {"a": 1.0})
    assert copied == ["a", "b", "a"]


def test_what_is_dropped_does_not_stay_in_the_buffers(layers, disk):
    bank = bank_of(layers, disk)
    outputs(layers, bank, {"a": 1.0})
    bank.put("a", adapter(5.0))

    assert outputs(layers, bank, {"a": 1.0}) == [5.0]


def test_what_is_dropped_while_in_place_stays_until_it_leaves(layers, disk):
    """An answer that is being streamed is finished with the adapters it began with."""
    bank = bank_of(layers, disk, holds=1)
    x = torch.ones(1, 1, 3)
    with torch.no_grad(), bank.mix([{"a": 1.0}]):
        bank.drop("a")
        outputs(layers, bank, {"b": 1.0})  # evicts whatever could be evicted
        bank.put("a", adapter(5.0))
        assert layers.model(x)[0, 0, 0] == 3 * 97
    assert outputs(layers, bank, {"a": 1.0}) == [5.0]


def test_wider_and_narrower_mixtures_use_the_same_buffers(layers, disk):
    bank = bank_of(layers, disk, holds=4)
    for row, expected in [
        ({"a": 1.0}, 97.0),
        ({"a": 1.0, "b": 1.0, "c": 1.0}, 294.0),
        ({"b": 1.0}, 98.0),
        ({"c": 1.0, "b": -1.0}, 1.0),
        ({"a": 1.0, "b": 1.0, "c": 1.0}, 294.0),
    ]:
        assert outputs(layers, bank, row) == [expected]


@pytest.mark.parametrize("rows", [2, 5])
def test_many_adapters_in_a_batch_go_row_by_row(layers, disk, rows, monkeypatch):
    monkeypatch.setattr(bank_module, "separate_stacks", lambda *_: True)
    bank = bank_of(layers, disk, holds=9)
    mixtures = [{"a": 1.0, "b": 0.5}, {"c": 2.0}, {}, {"b": 1.0}, {"a": 1.0, "c": -1.0}][:rows]

    assert outputs(layers, bank, *mixtures) == [146.0, 198.0, 0.0, 98.0, -2.0][:rows]
    assert outputs(layers, bank, *mixtures[::-1]) == [146.0, 198.0, 0.0, 98.0, -2.0][:rows][::-1]


@pytest.mark.parametrize(
    ("mixtures", "expected"),
    [
        ([{"a": 1.0, "b": 1.0}], (0, 2)),  # one request: nothing to tell apart
        ([{"a": 1.0}, {"b": 1.0}], (0, 2)),
        ([{key: 1.0} for key in "abcdef"], (6, 6)),  # six adapters, each of one request
        ([{key: 1.0} for key in "abcdef"] * 3, (0, 6)),  # each of three: copies would be many
        ([{"a": 1.0, "b": 1.0}, *({key: 1.0} for key in "cdefghijk")], (10, 20)),
    ],
)
def test_rows_get_stacks_of_their_own_where_that_is_less_work(mixtures, expected):
    held = {key: adapter() for row in mixtures for key in row}
    plan = bank_module.plan_for(mixtures, held)

    assert (plan.rows, plan.width) == expected
