"""Which base model this is, told by its weights, vocabulary and chat template."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

WHOLE = 65_536  # tensors of up to so many values are hashed as a whole
SAMPLED = 4096  # at least so many values of every larger one


def fingerprint(weights: Mapping[str, Tensor], tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 over names and shapes, a sample of the weights, vocabulary and chat template.

    Weights count as rounded to bfloat16, so that the same model has one fingerprint in float32 on
    the CPU and in bfloat16 on a GPU. Of each tensor count all values if there are up to `WHOLE`;
    of a larger one a few of every row and of every column, and at least `SAMPLED` in all. That
    is one value in four thousand of a model of eight billion, and takes well under a second.

    **What it notices:** another vocabulary, template or shape; another value in a small tensor,
    such as a norm or a bias; and whatever changes a whole row or column of a larger one: the
    embedding of a token, an output or an input of a layer, a low-rank update. A step of an
    optimizer changes nearly all values of the tensors that it trains. So another fine-tune is
    noticed, even one that trained a single tensor, or the embeddings of a few tokens.

    **What it does not notice:** a few values of a large tensor that were changed by hand, unless
    they are in the sample; and changes that rounding to bfloat16 hides.

    Source:
        Own design; tried in ``tests/unit/test_fingerprint.py``.
    """
    digest = hashlib.sha256()
    for head, sample in _samples(weights):
        digest.update(head.encode())
        digest.update(sample.reshape(-1).cpu().contiguous().view(torch.uint8).numpy().data)
    digest.update(_identity(tokenizer).encode())
    return digest.hexdigest()


def _samples(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Names and shapes of the tensors, each once, with what counts of their values."""
    seen: set[int] = set()
    for name, tensor in sorted(weights.items()):
        if tensor.data_ptr() in seen:
            continue  # tied to one that is in already
        seen.add(tensor.data_ptr())
        values = tensor.detach()
        if values.numel() > WHOLE:
            values = _sampled(values)
        if values.is_floating_point():  # the bytes of quantized weights count as they are
            values = values.to(torch.bfloat16)
        yield f"{name}{tuple(tensor.shape)}", values


def _sampled(tensor: Tensor) -> Tensor:
    """As many values of every row as it takes to have all columns; these take turns."""
    table = tensor.reshape(-1, tensor.shape[-1])
    rows, columns = table.shape
    each = -(-max(columns, SAMPLED) // rows)  # of a row
    step = _coprime(columns)
    places = torch.arange(rows * each, device=tensor.device)
    return table[places // each, places * step % columns]


def _coprime(columns: int) -> int:
    """A stride near the golden section that visits every column before one comes again."""
    step = max(1, round(columns * 0.618))
    while math.gcd(step, columns) > 1:
        step += 1
    return step


def _identity(tokenizer: PreTrainedTokenizerBase) -> str:
    fast: Any = tokenizer
    backend = json.loads(fast.backend_tokenizer.to_str())
    return json.dumps(
        [backend["model"], backend["added_tokens"], fast.chat_template], sort_keys=True
    )
