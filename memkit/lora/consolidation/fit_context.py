"""What of the training examples a base model has room for, and how much there is to learn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from memkit.lora.serving.hooks import AdapterLayers
from memkit.lora.spec import LoraSpec
from memkit.lora.verify import canonical
from memkit.models.language_model import TransformersModel
from memkit.types import Example

# Share of the model's context that a prompt and an answer may take each: verification asks in
# batches, where the longest prompt may meet the longest answer.
_ROOM = 0.45


def fitting(base: TransformersModel, examples: Sequence[Example]) -> list[Example]:
    """Leave out the records that the model's context has no room for; rag keeps them."""
    if base.context is None:
        return list(examples)
    room = int(base.context * _ROOM)
    too_long = {
        example.record_id
        for example in examples
        if max(len(base.prompt(example.question)), len(base.answer_ids(example.answer))) > room
    }
    return [example for example in examples if example.record_id not in too_long]


def answer_tokens(base: TransformersModel, examples: Sequence[Example]) -> Counter[str]:
    """Record id to the tokens of its answers, each answer once, stop tokens included."""
    tokens: Counter[str] = Counter()
    for example in canonical(examples):
        tokens[example.record_id or ""] += len(base.answer_ids(example.answer))
    return tokens


def adapted_share(layers: AdapterLayers, lora: LoraSpec) -> float:
    """Share of the weights of an adapter on all linear layers that this shape has, rank for rank.

    The law of capacity was measured on all of them.
    """
    widths = {name: n_in + n_out for name, (n_in, n_out) in layers.shapes.items()}
    return sum(widths[name] for name in layers.targets(lora)) / sum(widths.values())
