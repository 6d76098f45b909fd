"""How many bytes each cache may take: it follows from the model and the memory that is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

from memkit.errors import InvalidInputError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

GIB = 2**30
# Shares of the memory that the weights leave: of keys and values of prefixes, of adapters, and
# of what the frozen layers below an adapter make of the examples of a training run. The rest is
# for what a pass through the model takes.
_PREFIXES, _ADAPTERS, _ACTIVATIONS = 1 / 8, 1 / 16, 1 / 8
# A prefix is what stands before the last message, so its length is bounded by the context. Of a
# longer context than this no more is kept.
_MOST_TOKENS, _LEAST_TOKENS = 32_768, 4096


class CacheBounds(NamedTuple):
    """Bounds of the caches that belong to a base model, in bytes.

    Attributes:
        prefixes: Keys and values of prefixes, on the model's device.
        adapters: Adapters that were used most recently, on the model's device.
        activations: What enters the first adapted layer, for the examples of a training run.
    """

    prefixes: int
    adapters: int
    activations: int

    @classmethod
    def within(cls, room: int, *, token: int, context: int | None) -> Self:
        """The bounds that go with some room.

        Args:
            room: Bytes that the weights of the model leave.
            token: Bytes of keys and values of one token.
            context: The most tokens that the model can attend to; None if it states no limit.
        """
        tokens = min(max(context or 0, _LEAST_TOKENS), _MOST_TOKENS)
        return cls(
            prefixes=min(int(room * _PREFIXES), tokens * token),
            adapters=int(room * _ADAPTERS),
            activations=int(room * _ACTIVATIONS),
        )


def room_beside(weights: int, *, limit: int | None, free: int, name: str) -> int:
    """Bytes that are left for caches and computing.

    Args:
        weights: Bytes of the model's weights, which are loaded.
        limit: Of the model with all that belongs to it; None for what is free.
        free: On its device, beside the weights.
        name: Of the model, for the error.

    Raises:
        InvalidInputError: If the weights alone are beyond the limit.
    """
    if limit is None:
        return free
    if weights > limit:
        raise InvalidInputError(
            f"`max_memory` is {in_gib(limit)}, the weights of {name} take {in_gib(weights)}",
            hint="raise it, take dtype='bfloat16' if it is not that yet, or a smaller base model",
        )
    return limit - weights


def token_bytes(config: PretrainedConfig, itemsize: int) -> int:
    """Bytes of keys and values that a model keeps of one token, by its configuration.

    Layers that keep something else count as if they kept these. What is kept is counted as it
    is; this is only for the bound.
    """
    text: Any = config.get_text_config()
    heads = int(getattr(text, "num_attention_heads", None) or 1)
    shared = int(getattr(text, "num_key_value_heads", None) or heads)
    width = int(getattr(text, "head_dim", None) or text.hidden_size // heads)
    return 2 * int(text.num_hidden_layers) * shared * width * itemsize


def stated_context(config: PretrainedConfig) -> int | None:
    """The most tokens that a model can attend to, under the names that configurations have."""
    text = config.get_text_config()
    names = ("max_position_embeddings", "max_seq_len", "context_length")
    stated = (getattr(text, name, None) for name in names)
    return next((value for value in stated if isinstance(value, int) and value > 0), None)


def in_gib(size: int) -> str:
    """Bytes in words."""
    return f"{size / GIB:.2f} GiB"
