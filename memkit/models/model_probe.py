"""What kind of causal language model this is: tried on a few tokens when it is taken in.

Architectures differ in what they keep of what they have read, in how logits come from hidden
states and in the shapes that reach their layers. All of that is measured on the model itself,
so that one that nobody has tried is either computed rightly or refused, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from memkit.errors import IncompatibleModelError
from memkit.models.whole_rows import read_whole

if TYPE_CHECKING:
    from memkit.models.language_model import TransformersModel

# Distinct tokens in most vocabularies: repeated ones would look alike wherever they stand.
_TEXT = "Seven grey boats left the small harbour before it got dark."
_TOKENS = 13
_PREFIX = 6
# What configurations call the number of columns that a layer sees.
_WINDOWS = ("sliding_window", "attention_window_size", "window_size", "attention_chunk_size")
_TOLERANCE, _ROUGH_TOLERANCE = 1e-3, 5e-2  # of a state, relative; in float32, in less

Shapes = dict[str, list[tuple[int, ...]]]  # of the inputs of layers, by name


@dataclass(frozen=True)
class Traits:
    """What a model does.

    Attributes:
        caches: Whether keys and values are all that it keeps, so that parts of rows may be
            padded; otherwise all tokens are read again at every step.
        layers: Names of the linear layers that see every token once, as it is read.
    """

    caches: bool
    layers: frozenset[str]


def check_kind(model: PreTrainedModel) -> None:
    """Refuse what is no decoder with an output embedding.

    Raises:
        IncompatibleModelError: If it is none.
    """
    if getattr(model.config, "is_encoder_decoder", False):
        raise _refusal(model, "has an encoder beside its decoder")
    if model.get_output_embeddings() is None:  # type: ignore[no-untyped-call]
        raise _refusal(model, "has no output embedding")
    if decoder_of(model) is model:
        raise _refusal(model, "has no part that gives hidden states")


def decoder_of(model: PreTrainedModel) -> nn.Module:
    """The part of a model that gives hidden states."""
    base: nn.Module = model.base_model
    # Some classes do not name that part as they should.
    return getattr(model, "model", model) if base is model else base


def smallest_window(model: PreTrainedModel) -> int | None:
    """How many columns every layer of a model can see; None if there is no such limit."""
    config = model.config.get_text_config()
    values = [getattr(config, name, None) for name in _WINDOWS]
    return min((value for value in values if isinstance(value, int) and value > 0), default=None)


def sees_chunks(model: PreTrainedModel) -> bool:
    """Whether some layer sees the tokens of a chunk of columns, wherever a row begins."""
    return bool(getattr(model.config.get_text_config(), "attention_chunk_size", None))


@torch.no_grad()
def probe(base: TransformersModel) -> Traits:
    """Try a model whose logits and states nobody has looked at yet.

    Raises:
        IncompatibleModelError: If its logits are not made of the last hidden state as its
            configuration says, or later tokens change what it makes of earlier ones.
    """
    room = min(_TOKENS, base.context or _TOKENS, base.window or _TOKENS)
    ids = base.answer_ids(_TEXT)[:room]
    first, second = list(ids), list(reversed(ids))
    cut = min(_PREFIX, len(ids) - 1)
    with _input_shapes(base.model) as shapes:
        whole = read_whole(base, [first, second])
    layers = _layers_of_tokens(shapes, rows=2, tokens=len(ids))
    _check_head(base, torch.tensor([first, second], device=base.device), whole)
    short = cut // 3  # so that there is a hole behind the second prefix
    new = len(ids) - cut
    read = (first[:cut], first[cut:]), (second[:short], second[short : short + new])
    expected = [whole[0, cut:], whole[1, short : short + new]]
    with _input_shapes(base.model) as shapes:
        parts = _cached_states(base, read)
    if parts is not None and all(map(partial(_alike, base), parts, expected)):
        return Traits(caches=True, layers=layers & _layers_of_tokens(shapes, 2, new))
    padded = read_whole(base, [first, second[:cut]])
    if not _alike(base, padded[1, :cut], whole[1, :cut]):
        raise _refusal(base.model, "makes of a token what depends on the tokens behind it")
    return Traits(caches=False, layers=layers)


def _check_head(base: TransformersModel, ids: Tensor, hidden: Tensor) -> None:
    """Give the model the head that makes its logits of its states."""
    logits = base.model(input_ids=ids, use_cache=False).logits
    for head in (base.head, base.head.bare()):
        if _alike(base, head(hidden), logits):
            base.head = head
            return
    raise _refusal(base.model, "makes its logits of more than the last hidden state")


def _cached_states(
    base: TransformersModel, rows: tuple[tuple[list[int], list[int]], ...]
) -> list[Tensor] | None:
    """States behind prefixes that are kept as keys and values; None if they are not kept so."""
    try:
        past = base.past([tuple(prefix) for prefix, _ in rows])
        hidden = base.extend(past, [ids for _, ids in rows])
    except Exception:  # noqa: BLE001 - whatever a model says to a cache that is not its own
        return None
    finally:
        base.forget_prefixes()
    return [states[: len(ids)] for states, (_, ids) in zip(hidden, rows, strict=True)]


def _alike(base: TransformersModel, got: Tensor, expected: Tensor) -> bool:
    """Whether most tokens have these states; in half precision an expert may change for one."""
    exact = expected.dtype in {torch.float32, torch.float64} and base.quantization is None
    off = (got.double() - expected.double()).norm(dim=-1) / expected.double().norm(dim=-1)
    return bool(off.median() < (_TOLERANCE if exact else _ROUGH_TOLERANCE))


@contextmanager
def _input_shapes(model: nn.Module) -> Iterator[Shapes]:
    """Note what reaches each linear layer in the enclosed forward passes."""
    shapes: Shapes = {}
    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear | Conv1D)}

    def hook(name: str) -> Any:  # noqa: ANN401 - torch's type of hooks is not public
        return lambda _, args, __: shapes.setdefault(name, []).append(tuple(args[0].shape))

    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers.items()]
    try:
        yield shapes
    finally:
        for handle in handles:
            handle.remove()


def _layers_of_tokens(shapes: Shapes, rows: int, tokens: int) -> frozenset[str]:
    """Names of the layers that saw each token once in the last pass, row by row."""
    return frozenset(
        name for name, seen in shapes.items() if seen[-1][:-1] in {(rows, tokens), (rows * tokens,)}
    )


def _refusal(model: PreTrainedModel, why: str) -> IncompatibleModelError:
    return IncompatibleModelError(
        f"expected a causal language model whose logits are the output embedding of the last "
        f"hidden state, got {type(model).__name__} (model type {model.config.model_type!r}), "
        f"which {why}",
        hint="use a decoder-only model; docs/models.md lists those that were tried",
    )
