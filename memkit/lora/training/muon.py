"""Muon: momentum whose every step moves all directions of a matrix alike.

The gradients of an adapter's factors are dominated by a few directions; AdamW follows those and
learns the many small ones, which tell one fact from another, late. Muon replaces the momentum
``M`` of each factor by the nearest matrix with orthonormal rows (or columns), ``(M M^T)^(-1/2) M``.
Adapters of rank r make that cheap: the root is that of an r x r matrix.

Source:
    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". There the
    orthonormal matrix is approached by Newton-Schulz steps; here it is computed from the
    eigenvalues of ``M M^T``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

MOMENTUM = 0.9
_SMALLEST = 1e-6  # of the largest eigenvalue: directions below 1e-3 of the gradient are noise


class Muon(torch.optim.Optimizer):
    """Steps of the same length for every factor: each of their entries moves by about ``lr``.

    Args:
        params: Each a stack of matrices of one shape, ``(n, rows, columns)``.
        lr: The root mean square of an entry's change.
    """

    def __init__(self, params: Sequence[Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, _closure: None = None) -> None:  # type: ignore[override]
        """Take one step along the gradients."""
        for group in self.param_groups:
            for matrices in group["params"]:
                momentum = self.state[matrices].setdefault("momentum", torch.zeros_like(matrices))
                momentum.lerp_(matrices.grad, 1.0 - MOMENTUM)
                ahead = matrices.grad.lerp(momentum, MOMENTUM)  # Nesterov's
                matrices.add_(orthogonalized(ahead), alpha=-group["lr"])


def orthogonalized(matrices: Tensor) -> Tensor:
    """The nearest matrices with orthonormal rows or columns, times the root of the longer side.

    Args:
        matrices: Shape ``(n, rows, columns)``; a zero matrix stays one.

    Returns:
        The same shape; the root mean square of the entries is one.
    """
    rows, columns = matrices.shape[1:]
    if rows > columns:
        return orthogonalized(matrices.mT).mT
    exact = matrices.double()
    values, vectors = torch.linalg.eigh(exact @ exact.mT)  # (n, r), (n, r, r)
    floor = (_SMALLEST * values[:, -1:]).clamp_min(torch.finfo(torch.float64).tiny)
    roots = (vectors * torch.maximum(values, floor).rsqrt()[:, None]) @ vectors.mT
    result: Tensor = math.sqrt(columns) * (roots @ exact)
    return result.to(matrices.dtype)
