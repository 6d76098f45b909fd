"""From the last hidden state to the scores of the next token."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

# What configurations call the factor that logits are multiplied with (Cohere, Falcon-H1),
# divided by (Granite), and the bound that a tanh keeps them within (Gemma, RecurrentGemma).
_FACTORS = ("logit_scale", "lm_head_multiplier")
_DIVISORS = ("logits_scaling",)
_CAPS = ("final_logit_softcapping", "logits_soft_cap")


class OutputHead:
    """The output embedding of a model, and the scale and soft cap that its configuration names.

    Args:
        model: A causal language model with an output embedding.

    Attributes:
        scale: Factor of the logits; None for 1.
        cap: The logits are ``cap * tanh(logits / cap)``; None if they are not capped.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        config = model.config.get_text_config()
        self.embedding: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        divisor = _first(config, _DIVISORS)
        self.scale = _first(config, _FACTORS) if divisor is None else 1.0 / divisor
        if self.scale == 1.0:
            self.scale = None
        self.cap = _first(config, _CAPS)

    def __call__(self, hidden: Tensor) -> Tensor:
        """Scores of the next token, shape ``(n, vocab)``, for hidden states ``(n, hidden)``."""
        # Some models keep their states in a wider type than their weights.
        scores: Tensor = self.embedding(hidden.to(self.embedding.weight.dtype))
        if self.scale is not None:
            scores = scores * self.scale
        if self.cap is not None:
            scores = torch.tanh(scores / self.cap) * self.cap
        return scores

    def bare(self) -> OutputHead:
        """The output embedding alone, for models that do not do what their settings say."""
        other = copy.copy(self)
        other.scale = other.cap = None
        return other

    @property
    def weight(self) -> Tensor | None:
        """What states are multiplied with, before the scale; None if logits are more than that."""
        linear = isinstance(self.embedding, nn.Linear) and self.embedding.bias is None
        return self.embedding.weight if linear and self.cap is None else None


def _first(config: object, names: tuple[str, ...]) -> float | None:
    """The first of these settings that is a number."""
    values = (getattr(config, name, None) for name in names)
    return next((float(v) for v in values if isinstance(v, int | float) and v), None)
