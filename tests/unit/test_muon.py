"""Steps of the same length in every direction of a matrix."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from memkit.lora.training.muon import MOMENTUM, Muon, orthogonalized


def nearest_orthonormal(matrix):
    """By singular value decomposition, in float64."""
    left, _, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    return left @ right * max(matrix.shape) ** 0.5


@given(
    rows=st.integers(1, 6),
    columns=st.integers(1, 6),
    scale=st.sampled_from([1e-20, 1.0, 1e6]),
    seed=st.integers(0, 100),
)
def test_the_nearest_matrix_with_orthonormal_rows_or_columns(rows, columns, scale, seed):
    random = np.random.default_rng(seed)
    # With singular values of one size: how near those far below the largest come is a choice.
    shape = (3, rows, columns)
    left, _, right = np.linalg.svd(random.standard_normal(shape), full_matrices=False)
    sizes = random.uniform(0.3, 1.0, (3, min(rows, columns)))
    matrices = (scale * (left * sizes[:, None]) @ right).astype(np.float32)

    evened = orthogonalized(torch.from_numpy(matrices)).numpy()

    for matrix, found in zip(matrices, evened, strict=True):
        np.testing.assert_allclose(found, nearest_orthonormal(matrix), atol=1e-3)


@pytest.mark.parametrize("shape", [(2, 3, 8), (2, 8, 3)])
def test_what_has_no_gradient_does_not_move(shape):
    assert torch.equal(orthogonalized(torch.zeros(shape)), torch.zeros(shape))


def test_missing_directions_stay_missing():
    line = torch.ones(1, 1, 4)

    evened = orthogonalized(torch.cat([line, 2.0 * line], dim=1))

    assert evened.isfinite().all()
    assert torch.linalg.matrix_rank(evened).tolist() == [1]


def test_steps_follow_the_momentum():
    """By hand: one matrix of rank one, gradients along it; each step has the length of the rate."""
    weights = torch.zeros(1, 1, 4, requires_grad=True)
    muon = Muon([weights], lr=0.5)

    weights.grad = torch.tensor([[[3.0, -3.0, 3.0, -3.0]]])
    muon.step()
    torch.testing.assert_close(weights.detach(), torch.tensor([[[-0.5, 0.5, -0.5, 0.5]]]))

    # The momentum M = (1 - m) (m g1 + g2), and m M + (1 - m) g2, still point along g1.
    weights.grad = torch.tensor([[[-3.0, 3.0, -3.0, 3.0]]]) * 0.25 * MOMENTUM
    muon.step()
    torch.testing.assert_close(weights.detach(), torch.tensor([[[-1.0, 1.0, -1.0, 1.0]]]))
