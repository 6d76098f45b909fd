"""A fingerprint tells one fine-tune from another, whatever it is computed in, in little time."""

import pytest
import torch
from torch import nn

from memkit.models import fingerprint as fingerprint_module
from memkit.models.fingerprint import SAMPLED, WHOLE, fingerprint
from memkit.testing import tiny_llama

ROWS, COLUMNS = 300, 700  # more values than are hashed as a whole


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_llama().tokenizer


@pytest.fixture
def weights():
    random = torch.Generator().manual_seed(0)
    return {
        "large": torch.randn(ROWS, COLUMNS, generator=random),
        "tall": torch.randn(COLUMNS * 4, ROWS, generator=random),
        "norm": torch.randn(COLUMNS, generator=random),
    }


def sampled(tensor):
    """Which values of a tensor are looked at."""
    numbers = torch.arange(tensor.numel()).view(tensor.shape)
    return torch.unique(fingerprint_module._sampled(numbers))


@pytest.mark.parametrize(
    "shape", [(300, 700), (2800, 300), (70_000, 4), (3, 40_000), (8, 64, 256), (100_000, 1)]
)
def test_the_sample_has_values_of_every_row_and_every_column(shape):
    tensor = torch.empty(shape)
    rows, columns = tensor.numel() // shape[-1], shape[-1]
    chosen = sampled(tensor)

    assert set((chosen // columns).tolist()) == set(range(rows))
    assert set((chosen % columns).tolist()) == set(range(columns))
    assert SAMPLED <= len(chosen) <= max(rows, columns, SAMPLED) + rows


def test_a_model_of_eight_billion_has_a_sample_of_some_megabytes():
    # Llama 3.1 8B: shapes of a layer, and the two embeddings.
    layer = [(4096, 4096), (1024, 4096), (1024, 4096), (4096, 4096)]
    layer += [(14_336, 4096), (14_336, 4096), (4096, 14_336)]
    shapes = layer * 32 + [(128_256, 4096)] * 2
    size = sum(-(-max(c, SAMPLED) // r) * r for r, c in shapes)

    assert 2 * size < 5e6  # bytes


@pytest.mark.parametrize("name", ["large", "tall"])
def test_another_row_or_column_is_noticed_wherever_it_is(weights, tokenizer, name):
    before = fingerprint(weights, tokenizer)
    rows, columns = weights[name].shape
    for row in {0, 1, rows // 3, rows - 1}:
        changed = weights[name].clone()
        changed[row] += 1.0
        assert fingerprint({**weights, name: changed}, tokenizer) != before
    for column in {0, 1, columns // 3, columns - 1}:
        changed = weights[name].clone()
        changed[:, column] += 1.0
        assert fingerprint({**weights, name: changed}, tokenizer) != before


def test_any_value_of_a_small_tensor_is_noticed(weights, tokenizer):
    before = fingerprint(weights, tokenizer)
    for place in range(0, COLUMNS, 50):
        changed = weights["norm"].clone()
        changed[place] += 1.0
        assert fingerprint({**weights, "norm": changed}, tokenizer) != before


def test_a_low_rank_update_is_noticed(weights, tokenizer):
    random = torch.Generator().manual_seed(1)
    update = torch.randn(ROWS, 1, generator=random) @ torch.randn(1, COLUMNS, generator=random)
    changed = {**weights, "large": weights["large"] + 0.05 * update}

    assert fingerprint(changed, tokenizer) != fingerprint(weights, tokenizer)


def test_one_step_of_an_optimizer_is_noticed(tokenizer):
    torch.manual_seed(0)
    layer = nn.Linear(COLUMNS, ROWS, bias=False)
    before = fingerprint({"w": layer.weight.detach().clone()}, tokenizer)
    layer(torch.randn(4, COLUMNS)).square().mean().backward()
    torch.optim.AdamW(layer.parameters(), lr=1e-4).step()

    assert layer.weight.numel() > WHOLE
    assert fingerprint({"w": layer.weight}, tokenizer) != before


def test_a_single_value_outside_of_the_sample_is_not(weights, tokenizer):
    """The limit of what is promised, so that nobody takes it for more."""
    outside = set(range(ROWS * COLUMNS)) - set(sampled(weights["large"]).tolist())
    place = min(outside)
    changed = weights["large"].clone()
    changed.view(-1)[place] += 1.0

    assert fingerprint({**weights, "large": changed}, tokenizer) == fingerprint(weights, tokenizer)


def test_names_and_shapes_count(weights, tokenizer):
    before = fingerprint(weights, tokenizer)
    renamed = {("head" if name == "large" else name): t for name, t in weights.items()}
    folded = {**weights, "norm": weights["norm"].view(2, -1)}

    assert len({before, fingerprint(renamed, tokenizer), fingerprint(folded, tokenizer)}) == 3


def test_tied_weights_count_once_and_precision_does_not(weights, tokenizer):
    tied = {**weights, "tied": weights["large"]}
    half = {name: tensor.to(torch.bfloat16) for name, tensor in weights.items()}
    before = fingerprint(weights, tokenizer)

    assert fingerprint(tied, tokenizer) == before
    assert fingerprint(half, tokenizer) == before


def test_quantized_bytes_and_scalars_are_hashed_as_they_are(tokenizer):
    packed = torch.randint(0, 256, (400, 400), dtype=torch.uint8)
    weights = {"packed": packed, "scale": torch.tensor(0.5)}
    before = fingerprint(weights, tokenizer)

    assert fingerprint({**weights, "packed": packed ^ 1}, tokenizer) != before
    assert fingerprint({**weights, "scale": torch.tensor(0.25)}, tokenizer) != before
