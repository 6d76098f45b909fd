"""Rows that are read again from their first token on, where keys and values do not serve.

They do not with LongRoPE, a position encoding with other frequencies for rows beyond a certain
length. transformers chooses the frequencies by the longest row of a batch, and leaves keys as they
were when a row grows past that length. Here each row has those of its own length, so that neither
its neighbours nor the way in which it was read change what it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from memkit.models.kv_cache import KVCache

if TYPE_CHECKING:
    from memkit.models.language_model import TransformersModel


def turning_length(model: PreTrainedModel) -> int | None:
    """The most tokens of a row with the first frequencies; None for one kind of them."""
    stated = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    each = [stated, *(part for part in stated.values() if isinstance(part, dict))]
    lengths = [
        part["original_max_position_embeddings"]
        for part in each
        if part.get("rope_type") == "longrope"
    ]
    return min(lengths, default=None)


def turns(past: KVCache, length: int | None) -> bool:
    """Whether keys and values of some row were made with other frequencies than it has now."""
    if length is None or max(map(len, past.tokens)) <= length:
        return False
    return min(past.starts) <= length


def read_again(base: TransformersModel, past: KVCache) -> Tensor:
    """Hidden states of all tokens, ``(rows, t, hidden)``; adapters leave the prefixes alone.

    Where there are short and long rows, all are read twice, the long ones cut off: adapters go by
    a row's place in the batch.
    """
    rows, length = past.tokens, base.turning_length
    hidden = _read(base, past, rows)
    short = [length is not None and len(row) <= length for row in rows]
    if not any(short) or all(short):
        return hidden
    cut = _read(base, past, [row[:length] for row in rows])
    cut = functional.pad(cut, (0, 0, 0, hidden.shape[1] - cut.shape[1]))
    return torch.where(torch.tensor(short, device=hidden.device)[:, None, None], cut, hidden)


def read_whole(base: TransformersModel, rows: Sequence[Sequence[int]]) -> Tensor:
    """Hidden states of whole rows, read from their first token on: ``(rows, t, hidden)``."""
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        mask[number, : len(row)] = 1
    given = {"input_ids": ids.to(base.device), "attention_mask": mask.to(base.device)}
    hidden: Tensor = base.decoder(**given, use_cache=False).last_hidden_state
    return hidden


def _read(base: TransformersModel, past: KVCache, rows: Sequence[tuple[int, ...]]) -> Tensor:
    starts = torch.tensor(past.starts, device=base.device)[:, None]
    columns = torch.arange(max(map(len, rows)), device=base.device)
    with base.acting.only(columns >= starts):
        return read_whole(base, rows)
