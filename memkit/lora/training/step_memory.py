"""How much memory a training step takes, reckoned before it is computed, and what fits."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

from memkit.errors import IncompatibleModelError
from memkit.lora.serving.hooks import AdapterLayers, decoder_layer
from memkit.lora.training.checkpointing import Checkpointing
from memkit.lora.training.encoding import Encoded
from memkit.models.cache_bounds import in_gib, token_bytes
from memkit.models.language_model import TransformersModel

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

# A pass keeps for the way back about twice what the adapted layers read and make: what is between
# them is as much again (measured on a model of 1.24 billion, docs/benchmarks.md).
KEPT = 2

logger = logging.getLogger(__name__)


class Kept(NamedTuple):
    """Bytes that a pass keeps of a token for the way back, about.

    Attributes:
        whole: With all that the layers make.
        little: With what enters each layer, and what one makes, as they are computed again.
    """

    whole: int
    little: int


def kept_bytes(
    config: PretrainedConfig, targets: Mapping[str, tuple[int, int]], dtype: torch.dtype
) -> Kept:
    """Reckon what a pass keeps of a token.

    Args:
        config: Of the base model.
        targets: ``(in, out)`` of the layers that are adapted, by name.
        dtype: In which the model computes.
    """
    widths: dict[int, int] = {}  # of what they read and make, by decoder layer
    for name, (n_in, n_out) in targets.items():
        widths[decoder_layer(name)] = widths.get(decoder_layer(name), 0) + n_in + n_out
    text, size = config.get_text_config(), dtype.itemsize
    entering = int(text.num_hidden_layers) * int(text.hidden_size) * size
    little = KEPT * max(widths.values()) * size + entering + token_bytes(config, size)
    return Kept(KEPT * sum(widths.values()) * size, little)


class StepMemory:
    """Says how a step is computed so that it fits into the memory that the model may take.

    Args:
        base: The base model.
        layers: The hooks on its target layers.
        targets: ``(in, out)`` of the layers that are adapted, by name.
        checkpointing: As `memkit.lora.spec.TrainSpec.gradient_checkpointing`.

    Raises:
        IncompatibleModelError: If it is "on" for a model without layers to compute again.
    """

    def __init__(
        self,
        base: TransformersModel,
        layers: AdapterLayers,
        targets: Mapping[str, tuple[int, int]],
        checkpointing: str,
    ) -> None:
        self._base = base
        self._layers = Checkpointing(base, layers)
        self._when = checkpointing if self._layers.supported else "off"
        if checkpointing == "on" and not self._layers.supported:
            raise IncompatibleModelError(
                f"`gradient_checkpointing` is 'on', {type(base.model).__name__} has no decoder "
                f"layers that transformers computes again",
                hint="leave it out; with a `max_memory`, steps are computed in smaller parts",
            )
        self._whole, self._little = kept_bytes(base.model.config, targets, base.model.dtype)
        self._told = False

    def rows(self, examples: Sequence[Encoded]) -> int:
        """How many of a step's examples to compute at once.

        Without a limit all of them, however much memory is free: the same data give the same
        adapter.
        """
        room, longest = self._base.room, _longest(examples)
        fits = self._when != "on" and len(examples) * longest * self._whole <= room
        if self._base.max_memory is None or fits:
            return len(examples)
        kept = self._whole if self._when == "off" else self._little
        return min(len(examples), max(1, room // (longest * kept)))

    def pass_over(self, examples: Sequence[Encoded]) -> AbstractContextManager[None]:
        """What the forward pass over some examples is to be enclosed by."""
        kept = len(examples) * _longest(examples) * self._whole
        if self._when == "off" or (self._when == "auto" and kept <= self._base.room):
            return nullcontext()
        if not self._told:
            self._told = True
            logger.info(
                "layers of %s are computed again in the backward pass: a step would keep %s, "
                "%s are left",
                self._base.name,
                in_gib(kept),
                in_gib(max(0, self._base.room)),
            )
        return self._layers.on()


def _longest(examples: Sequence[Encoded]) -> int:
    """Tokens of the longest of the examples, to which the others are padded."""
    return max(len(example.prefix) + len(example.ids) for example in examples)
