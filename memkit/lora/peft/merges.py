"""Merging adapters into one: for export, and to repeat what studies of merging did.

Serving merges nothing, it mixes exactly in output space (`memkit.lora.serving.bank`). Of the
methods here only ``cat``, ``mean_delta`` and, at full rank, ``svd`` give the sum of the deltas

    sum_i w_i s_i B_i A_i

and accept adapters of any ranks and layers. The others combine the factors: A with A, B with B.
They are PEFT's (0.21.2, ``LoraModel.add_weighted_adapter``), number for number, and the product
of combined factors has cross terms B_i A_j of adapters that were never trained together. What
that means, and where PEFT itself is off:
docs/decisions/0004-merges.md.

Shapes: ``a`` is (r, in), ``b`` is (out, r); N adapters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from memkit.errors import InvalidInputError
from memkit.lora.serving.hooks import Adapter, Factors, Scaled
from memkit.types.validate import check_limit, check_number, shown

DENSITY = 0.5  # the studies' choice for TIES and DARE


@dataclass(frozen=True)
class Merge:
    """A way to merge adapters; call it with adapters and their weights.

    Attributes:
        method: A name in `METHODS`.
        rank: Of the result, for ``svd``; None for that of the widest adapter.
        density: Share of the entries that stay, in (0, 1], for TIES and DARE; None for 0.5.
        seed: Of what DARE drops; None for 0.

    Raises:
        InvalidInputError: If there is no such method, it has no such option, or a value is out
            of range.
    """

    method: str = "cat"
    rank: int | None = None
    density: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.method, str) or self.method not in METHODS:
            raise InvalidInputError(
                f"`merge` must be one of {sorted(METHODS)}, got {shown(self.method)}"
            )
        for option in {"rank", "density", "seed"} - METHODS[self.method].options:
            if getattr(self, option) is not None:
                raise InvalidInputError(
                    f"the merge {self.method!r} has no `{option}`, "
                    f"got {shown(getattr(self, option))}",
                    hint=f"its options: {sorted(METHODS[self.method].options)}",
                )
        if self.rank is not None:
            check_limit("rank", self.rank)
        if self.seed is not None:
            check_limit("seed", self.seed, least=0, most=2**63 - 1)
        if self.density is not None:
            check_number("density", self.density)
            if not 0.0 < self.density <= 1.0:
                raise InvalidInputError(f"`density` must be in (0, 1], got {shown(self.density)}")

    def __call__(self, parts: Sequence[Scaled], weights: Sequence[float]) -> Scaled:
        """Merge adapters into one; their weights need not sum to 1.

        A single adapter is not merged: it comes back ``weight`` times as strong, unless ``svd``
        is to bring it to another rank.

        Raises:
            InvalidInputError: If parts and weights do not fit together, or the parts differ in
                ranks or layers and the method needs them equal.
        """
        _check(parts, weights)
        if len(parts) == 1 and self.rank in {None, parts[0].rank}:
            return parts[0].times(weights[0])
        return METHODS[self.method].merge(parts, weights, self)


def cat(parts: Sequence[Scaled], weights: Sequence[float], _: Merge) -> Scaled:
    """The sum of the deltas, exactly, at the sum of the ranks: A_i stacked, times w_i s_i.

    Source:
        PEFT's ``cat``; it equals the mixing of `memkit.lora.serving.bank`.
    """
    ranks = [part.rank for part in parts]
    weighed = [
        {
            name: Factors(factors.a * (weight * part.scale), factors.b)
            for name, factors in part.adapter.items()
        }
        for part, weight in zip(parts, weights, strict=True)
    ]
    return Scaled(stack_adapters(weighed, ranks), sum(ranks), 1.0)


def mean_delta(parts: Sequence[Scaled], weights: Sequence[float], options: Merge) -> Scaled:
    """The mean of the deltas, exactly: ``cat`` / N. Copies of an adapter give the adapter."""
    return cat(parts, weights, options).times(1.0 / len(parts))


def svd(parts: Sequence[Scaled], weights: Sequence[float], options: Merge) -> Scaled:
    """The best approximation of the sum of the deltas at a chosen rank; exact at the sum of ranks.

    With the stacked factors B = Q_b R_b and A^T = Q_a R_a (QR), the singular values of B A are
    those of the small R_b R_a^T, so that no (out, in) matrix is ever made. Both factors get the
    root of each singular value, which keeps their entries alike in size.

    Source:
        Eckart and Young 1936 for the optimum; the meaning is PEFT's ``svd``, which decomposes
        the dense delta.
    """
    stacked = cat(parts, weights, options)
    rank = options.rank or max(part.rank for part in parts)
    adapter = {name: _truncated(f, rank) for name, f in stacked.adapter.items()}
    return Scaled(adapter, rank, 1.0)


def linear(parts: Sequence[Scaled], weights: Sequence[float], _: Merge) -> Scaled:
    """The factors' weighted sums: (sum_i c_i B_i) (sum_i ±c_i A_i), c_i = sqrt|w_i s_i|.

    Source:
        PEFT's ``linear``, cross terms included; A carries the sign of a negative weight.
    """
    return _by_factor(parts, weights, lambda stack: stack)


def ties(parts: Sequence[Scaled], weights: Sequence[float], options: Merge) -> Scaled:
    """TIES on each factor: keep the largest entries, elect a sign, average those that have it.

    Weights enter as in ``linear`` and are not normalised: at weights of 1/N the delta is 1/N of
    that at weights of 1.

    Source:
        Yadav et al. 2023 (arXiv 2306.01708), section 4, by factor as in PEFT's ``ties``; signs
        are elected by the unweighted sum ("total"), 0 counts as positive.
    """
    density = options.density or DENSITY
    return _by_factor(parts, weights, partial(_largest, density=density), elect=True)


def dare_linear(parts: Sequence[Scaled], weights: Sequence[float], options: Merge) -> Scaled:
    """``linear`` after DARE: entries are dropped at random, the others divided by ``density``.

    Layers are drawn for in the order of the first adapter; A of every adapter before B.

    Source:
        Yu et al. 2023 (arXiv 2311.03099), section 3.2; PEFT's ``dare_linear``, seeded.
    """
    return _by_factor(parts, weights, _dropout(options))


def dare_ties(parts: Sequence[Scaled], weights: Sequence[float], options: Merge) -> Scaled:
    """``ties`` with DARE's random drop in place of the choice of the largest entries.

    Source:
        Yu et al. 2023 (arXiv 2311.03099), section 3.3; PEFT's ``dare_ties``, seeded.
    """
    return _by_factor(parts, weights, _dropout(options), elect=True)


class _Method(NamedTuple):
    merge: Callable[[Sequence[Scaled], Sequence[float], Merge], Scaled]
    options: frozenset[str] = frozenset()


METHODS: Mapping[str, _Method] = {
    "cat": _Method(cat),
    "mean_delta": _Method(mean_delta),
    "svd": _Method(svd, frozenset({"rank"})),
    "linear": _Method(linear),
    "ties": _Method(ties, frozenset({"density"})),
    "dare_linear": _Method(dare_linear, frozenset({"density", "seed"})),
    "dare_ties": _Method(dare_ties, frozenset({"density", "seed"})),
}

_Sparsify = Callable[[Tensor], Tensor]  # (N, ...) -> (N, ...), some entries set to zero


def _by_factor(
    parts: Sequence[Scaled], weights: Sequence[float], sparsify: _Sparsify, *, elect: bool = False
) -> Scaled:
    """Combine A with A and B with B."""
    _check_alike(parts)
    strengths = [w * part.scale for part, w in zip(parts, weights, strict=True)]
    roots = torch.tensor([math.sqrt(abs(strength)) for strength in strengths])
    signed = torch.tensor([math.copysign(math.sqrt(abs(s)), s) for s in strengths])
    combine = _agreeing_mean if elect else _weighted_sum
    adapter = {}
    for name in parts[0].adapter:
        factors = [part.adapter[name] for part in parts]
        adapter[name] = Factors(
            a=combine(sparsify(torch.stack([f.a for f in factors])), signed),
            b=combine(sparsify(torch.stack([f.b for f in factors])), roots),
        )
    return Scaled(adapter, parts[0].rank, 1.0)


def _weighted_sum(stack: Tensor, weights: Tensor) -> Tensor:
    return (stack * weights.to(stack)[:, None, None]).sum(dim=0)


def _agreeing_mean(stack: Tensor, weights: Tensor) -> Tensor:
    """Of each entry the weighted mean over the adapters that have the elected sign."""
    elected = torch.where(stack.sum(dim=0) >= 0, 1.0, -1.0).to(stack)
    agree = stack.sign() == elected  # zeros never do
    count = agree.sum(dim=0).clamp(min=1)
    return _weighted_sum(stack * agree, weights) / count


def _largest(stack: Tensor, density: float) -> Tensor:
    """Keep each adapter's entries of largest magnitude."""
    flat = stack.flatten(start_dim=1)
    largest = flat.abs().topk(int(density * flat.shape[1]), dim=1).indices
    return torch.zeros_like(flat).scatter(1, largest, flat.gather(1, largest)).view_as(stack)


def _dropout(options: Merge) -> _Sparsify:
    density = options.density or DENSITY
    random = torch.Generator().manual_seed(options.seed or 0)

    def drop(stack: Tensor) -> Tensor:
        mask = torch.bernoulli(torch.full(stack.shape, density), generator=random)
        return stack * mask.to(stack) / density

    return drop


def _truncated(factors: Factors, rank: int) -> Factors:
    """The first ``rank`` singular directions of ``b @ a``; zeros where there are fewer."""
    q_b, r_b = torch.linalg.qr(factors.b.double())  # (out, m), (m, R)
    q_a, r_a = torch.linalg.qr(factors.a.double().T)  # (in, n), (n, R)
    u, values, vh = torch.linalg.svd(r_b @ r_a.T, full_matrices=False)
    roots = values[:rank].sqrt()
    missing = (0, 0, 0, rank - len(roots))  # rows to add to a
    a = torch.nn.functional.pad((roots[:, None] * vh[:rank]) @ q_a.T, missing)
    b = torch.nn.functional.pad(((q_b @ u[:, :rank]) * roots).T, missing).T
    return Factors(a.to(factors.a).contiguous(), b.to(factors.b).contiguous())


def stack_adapters(adapters: Sequence[Adapter], ranks: Sequence[int]) -> Adapter:
    """Stack adapters along the rank, in order; where one has no factors, zeros take its place."""
    if len(adapters) == 1:
        return adapters[0]
    stacked = {}
    for name in dict.fromkeys(name for adapter in adapters for name in adapter):
        like = next(adapter[name] for adapter in adapters if name in adapter)
        bare = [
            Factors(like.a.new_zeros(r, like.a.shape[1]), like.b.new_zeros(like.b.shape[0], r))
            for r in ranks
        ]
        parts = [a.get(name, zeros) for a, zeros in zip(adapters, bare, strict=True)]
        stacked[name] = Factors(
            a=torch.cat([part.a for part in parts]), b=torch.cat([part.b for part in parts], dim=1)
        )
    return stacked


def _check(parts: Sequence[Scaled], weights: Sequence[float]) -> None:
    if not parts:
        raise InvalidInputError("expected at least one adapter to merge, got none")
    if len(parts) != len(weights):
        raise InvalidInputError(
            f"expected one weight for each of {len(parts)} adapters, got {len(weights)}"
        )
    if not all(isinstance(weight, int | float) and math.isfinite(weight) for weight in weights):
        raise InvalidInputError(f"expected finite weights, got {list(weights)}")
    shapes: dict[str, tuple[int, int]] = {}
    for part in parts:
        for name, factors in part.adapter.items():
            shape = factors.a.shape[1], factors.b.shape[0]
            if shapes.setdefault(name, shape) != shape:
                raise InvalidInputError(
                    f"the adapters are of different base models: layer {name} is (in, out) = "
                    f"{shapes[name]} in one and {shape} in another"
                )


def _check_alike(parts: Sequence[Scaled]) -> None:
    exact = "the merges 'cat', 'mean_delta' and 'svd' take any adapters"
    ranks = [part.rank for part in parts]
    if len(set(ranks)) > 1:
        raise InvalidInputError(f"expected adapters of one rank, got ranks {ranks}", hint=exact)
    for part in parts[1:]:
        if odd := part.adapter.keys() ^ parts[0].adapter.keys():
            raise InvalidInputError(
                f"expected adapters of the same layers, only some have {min(odd)!r}", hint=exact
            )
