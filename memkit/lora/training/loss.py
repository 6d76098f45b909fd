"""The training loss: cross-entropy of each token that is to be predicted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from memkit.models.language_model import TransformersModel

_HOPELESS = -50.0  # log-probability


def token_losses(base: TransformersModel, hidden: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of tokens ``(n,)``, in nats, by the states ``(n, h)`` that predict them."""
    weight, scale = base.head.weight, base.head.scale
    if weight is not None:
        states = hidden if scale is None else hidden * scale
        states = states.to(weight.dtype)
        losses: Tensor = _HeadLoss.apply(states, weight, targets)  # type: ignore[no-untyped-call]
        return losses
    return cross_entropy(base.logits(hidden).float(), targets, reduction="none")


class _HeadLoss(torch.autograd.Function):
    """Cross-entropy of ``hidden @ weight.T`` without keeping its ``(n, vocabulary)`` logits.

    The gradient of the i-th loss by its logits is ``softmax - one_hot``, whatever comes
    behind, so that the gradient by ``hidden`` can be taken in the forward pass.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - has no public type
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
    ) -> Tensor:
        """Losses of shape ``(n,)``."""
        logits = (hidden @ weight.T).float()
        rows = torch.arange(len(targets), device=targets.device)
        surplus = logits.logsumexp(dim=-1)
        losses = surplus - logits[rows, targets]
        if hidden.requires_grad:
            # Softmax; without the clamp, what is hopeless becomes denormal and the product slow.
            slope = logits.sub_(surplus[:, None]).clamp_min_(_HOPELESS).exp_()
            slope[rows, targets] -= 1.0
            ctx.save_for_backward(slope.to(weight.dtype) @ weight)
        return losses

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 - has no public type
        *gradients: Tensor,
    ) -> tuple[Tensor, None, None]:
        """Only ``hidden`` learns."""
        (slope,) = ctx.saved_tensors
        return gradients[0][:, None].to(slope.dtype) * slope, None, None
