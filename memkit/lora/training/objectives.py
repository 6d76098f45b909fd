"""What training makes small: a loss for each token that is to be predicted."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, l1_loss, log_softmax

from memkit.errors import InvalidInputError
from memkit.lora.spec import TrainSpec
from memkit.lora.training.encoding import Batch
from memkit.models.language_model import LanguageModel

TEMPERATURE = 2.0  # of teacher and student
_HOPELESS = -50.0  # log-probability
HIDDEN_WEIGHT = 0.1  # of the distance between their last hidden states


class Objective(Protocol):
    """A loss over the tokens of a batch."""

    questions: bool  # whether it predicts the tokens of the questions, too

    def losses(self, batch: Batch, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """What to make small, and how surprised the model is; both in nats, shape ``(n,)``.

        Args:
            batch: The n tokens.
            hidden: Hidden states that predict them, shape ``(n, h)``.
        """
        ...


def objective_of(base: LanguageModel, train: TrainSpec) -> Objective:
    """The objective that a spec names."""
    if train.objective == "distill":
        return Distillation(base)
    return Likelihood(base, questions=train.objective == "sequence")


class Likelihood:
    """Cross-entropy of the tokens; the head is computed for them alone.

    Args:
        base: The base model.
        questions: Learn the questions' tokens, too.
    """

    def __init__(self, base: LanguageModel, *, questions: bool) -> None:
        self.questions = questions
        self._base = base

    def losses(self, batch: Batch, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The same for both; see `Objective`."""
        head: Any = self._base.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        if isinstance(head, nn.Linear) and head.bias is None:
            losses: Tensor = _HeadLoss.apply(
                hidden.to(head.weight.dtype), head.weight, batch.targets
            )
        else:
            logits = self._base.logits(hidden).float()
            losses = cross_entropy(logits, batch.targets, reduction="none")
        return losses, losses.detach()


class Distillation:
    """Follows the untouched model that has read the record's text: context distillation.

    The divergence of the two next-token distributions at temperature 2, plus a tenth of the
    distance between the last hidden states.

    Args:
        base: The base model, student and teacher.

    Source:
        Hinton et al. 2015 (arXiv 1503.02531), section 2: the squared temperature keeps the
        gradient's size. The hidden-state term is that of arXiv 2603.01097's own code.
    """

    questions = False

    def __init__(self, base: LanguageModel) -> None:
        self._base = base

    def losses(self, batch: Batch, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """See `Objective`; adapters must not be in place."""
        with torch.no_grad():
            taught = self._teach(batch)
            wanted = log_softmax(self._base.logits(taught).float() / TEMPERATURE, dim=-1)
        logits = self._base.logits(hidden).float()
        given = log_softmax(logits / TEMPERATURE, dim=-1)
        apart = kl_div(given, wanted, log_target=True, reduction="none").sum(-1)
        away = l1_loss(hidden.float(), taught.float(), reduction="none").mean(-1)
        surprise = cross_entropy(logits.detach(), batch.targets, reduction="none")
        return TEMPERATURE**2 * apart + HIDDEN_WEIGHT * away, surprise

    def _teach(self, batch: Batch) -> Tensor:
        """Hidden states of the model that reads the texts first, shape ``(n, h)``."""
        prefixes = [example.informed for example in batch.examples]
        if None in prefixes:
            raise InvalidInputError(
                "expected examples with a `context` to distil from, got one without",
                hint="have the synthesizer set it, or use another `objective`",
            )
        past = self._base.past([prefix for prefix in prefixes if prefix is not None])
        hidden = self._base.extend(past, [example.ids for example in batch.examples])
        return hidden[batch.rows, batch.columns]


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
