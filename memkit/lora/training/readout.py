"""The last layer of an adapter can be fitted instead of trained.

The last linear layer of a decoder adds to what the final norm and the head read:

    logits = head(norm(h + s B A x))

where ``x`` enters that layer and ``h`` is what the norm reads without the adapter. No other layer
stands between, so that its factors can be fitted to all that training has seen, again after each
epoch: ``x`` and ``h`` are kept from the training steps themselves. The layers below learn what the
fit cannot do, in half the visits (docs/decisions/0001-training-defaults.md). A fit needs a
direction for each token that answers are made of: below that rank it is of little use.

The norm divides by the root mean square, as RMSNorm does. So the fit is about products with A and
B alone, whose width is the rank, and never makes the states as wide as the model.

Source:
    Own design. Writes by least squares are those of ROME and MEMIT (Meng et al. 2022, arXiv
    2202.05262 and 2210.07229); to solve for the last layer while the others descend is variable
    projection (Golub and Pereyra 1973).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from memkit.lora.serving.hooks import Factors, shape_of
from memkit.lora.training.final_layer import Tap
from memkit.models.language_model import LanguageModel

MOST = 8192  # positions that are kept, the latest ones
MARGIN = 4.0  # nats: how far the right token is to be above the best other one, and others below
RIDGE = 4e-7  # beside the mean squared length of x, which counts as 1
LEAK = 1e-2  # ridge of the directions, beside the mean square of the head's columns
ITERATIONS = 30  # of the descent from the least squares


@dataclass(frozen=True)
class Seen:
    """Positions whose next token is to be predicted.

    Attributes:
        x: What enters the layer, shape ``(n, in)``.
        h: What enters the norm without the adapter's last layer, shape ``(n, hidden)``.
        rest: Log of the summed exponentials of all logits but those told apart, shape ``(n,)``.
        label: Which of the tokens is next, shape ``(n,)``.
    """

    x: Tensor
    h: Tensor
    rest: Tensor
    label: Tensor

    @classmethod
    def joined(cls, parts: Sequence[Seen]) -> Seen:
        """All positions, one part after the other."""
        return cls(
            torch.cat([part.x for part in parts]),
            torch.cat([part.h for part in parts]),
            torch.cat([part.rest for part in parts]),
            torch.cat([part.label for part in parts]),
        )


class Readout:
    """The factors of one adapter's last layer.

    Args:
        base: The base model.
        tap: Where it listens.
        tokens: What the answers are made of: the tokens to tell apart.
        rank: Of the factors.
        scale: The factor s.

    Attributes:
        tap: Where it listens.
        factors: A and B, float32; they change nothing until the first fit.
    """

    def __init__(
        self, base: LanguageModel, tap: Tap, tokens: Sequence[int], rank: int, scale: float
    ) -> None:
        head: Any = base.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        self._head: Tensor = head.weight.detach()  # (vocabulary, hidden)
        self.tap = tap
        self._norm = tap.norm
        self._rank = rank
        self._scale = scale
        self._tokens = torch.tensor(sorted(set(tokens)), device=base.device)
        self._gain = tap.gain()
        self._own = self._head[self._tokens].float() * self._gain  # (c, hidden)
        self._raising = self._directions()
        self._seen: list[Seen] = []
        n_in, n_out = shape_of(tap.layer)
        zeros = self._own.new_zeros
        self.factors = Factors(zeros(rank, n_in), zeros(n_out, rank))

    @torch.no_grad()
    def note(self, x: Tensor, h: Tensor, targets: Tensor) -> None:
        """Keep what was seen where tokens were predicted.

        Args:
            x: What entered the layer, shape ``(n, in)``.
            h: What entered the norm, the factors in place, shape ``(n, hidden)``.
            targets: The tokens, shape ``(n,)``.
        """
        x = x.float()
        h = h.float() - self._scale * (x @ self.factors.a.T) @ self.factors.b.T
        logits = (self._norm(h).to(self._head.dtype) @ self._head.T).float()
        logits[:, self._tokens] = -torch.inf
        label = torch.searchsorted(self._tokens, targets)
        self._seen.append(Seen(x, h, logits.logsumexp(-1), label))
        while sum(len(seen.x) for seen in self._seen[1:]) >= MOST:
            del self._seen[0]

    def fit(self) -> None:
        """Make the noted tokens probable: by least squares, and down their surprise from there."""
        seen = Seen.joined(self._seen)
        length = seen.x.square().sum(1).mean().sqrt()
        x = seen.x / length
        with torch.no_grad():
            a, b = self._least_squares(x, seen)
        a, b = self._descend(a, b, x, seen)
        self.factors = Factors(a / length, b / self._scale)

    def _least_squares(self, x: Tensor, seen: Seen) -> tuple[Tensor, Tensor]:
        """``A`` and ``B`` that bring the right token ahead by the margin: reduced-rank ridge."""
        logits = seen.h @ self._own.T / seen.h.square().mean(1, keepdim=True).sqrt()
        best = torch.maximum(logits.amax(1), seen.rest)[:, None]
        wanted = best - MARGIN - logits  # (n, c)
        wanted[torch.arange(len(wanted)), seen.label] += 2.0 * MARGIN
        spread = x.T @ x / len(x)
        spread.diagonal().add_(RIDGE)
        slopes = torch.linalg.solve(spread, x.T @ wanted / len(x))  # (in, c)
        toward = self._raising * seen.h.square().mean().sqrt()
        missing = self._rank - slopes.shape[1]
        if missing >= 0:
            return pad(slopes, (0, missing)).T, pad(toward, (0, missing))
        _, _, axes = torch.linalg.svd(x @ slopes, full_matrices=False)
        axes = axes[: self._rank].T  # (c, rank)
        return (slopes @ axes).T, toward @ axes

    def _directions(self) -> Tensor:
        """What raises one token's logit by 1 and others little, (hidden, c).

        In units of the length by which the norm divides.
        """
        everything = self._head.float() * self._gain
        metric = everything.T @ everything
        metric.diagonal().add_(LEAK * metric.diagonal().mean())
        toward = torch.linalg.solve(metric, self._own.T)
        raised: Tensor = toward @ torch.linalg.pinv(self._own @ toward)
        return raised

    def _descend(self, a: Tensor, b: Tensor, x: Tensor, seen: Seen) -> tuple[Tensor, Tensor]:
        a, b = (f.clone(memory_format=torch.contiguous_format).requires_grad_() for f in (a, b))
        descent = torch.optim.LBFGS([a, b], max_iter=ITERATIONS, line_search_fn="strong_wolfe")
        bare, squares = seen.h @ self._own.T, seen.h.square().sum(1)

        def surprise() -> Tensor:
            descent.zero_grad()
            ax = x @ a.T  # (n, rank)
            # |h + B A x|^2, multiplied out
            square = squares + (ax * (2.0 * (seen.h @ b) + ax @ (b.T @ b))).sum(1)
            length = (square / seen.h.shape[1]).sqrt()
            logits = (bare + ax @ (self._own @ b).T) / length[:, None]
            logits = torch.cat([logits, seen.rest[:, None]], dim=1)
            loss: Tensor = cross_entropy(logits, seen.label)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        with torch.enable_grad():
            descent.step(surprise)  # type: ignore[no-untyped-call]
        return a.detach(), b.detach()
