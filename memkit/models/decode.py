"""Decoding: the loop that turns a model's hidden states into text, token by token."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

from memkit.errors import InvalidInputError
from memkit.models.constrained import Constraints, Keeper, mask
from memkit.models.kv_cache import KVCache
from memkit.types import Completion, Constraint, Prompt, Sampling
from memkit.types.timings import step

Adapters = AbstractContextManager[object] | None


class Reader(Protocol):
    """What decoding needs of a model; `memkit.models.language_model.TransformersModel` has it."""

    name: str
    context: int | None
    stop_ids: frozenset[int]
    device: torch.device
    constraints: Constraints

    def past(self, prefixes: Sequence[tuple[int, ...]]) -> KVCache:
        """Encode one prefix per row."""

    def extend(self, past: KVCache, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Feed every row its next tokens; hidden states, shape ``(rows, longest, hidden)``."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token, shape ``(n, vocab)``."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids."""


def generate(
    base: Reader, prompts: Sequence[Prompt], sampling: Sampling, adapters: Adapters
) -> list[Completion]:
    """One completion per prompt; see `memkit.protocols.LanguageModel.generate`."""
    check(base, prompts, sampling)
    if not prompts:
        return []
    rows = [_Row(base, sampling, prompt.constraint) for prompt in prompts]
    with closing(_steps(base, prompts, rows, sampling, adapters)) as steps:
        for tokens in steps:
            for row, token in zip(rows, tokens, strict=True):
                row.take(token)
            if all(row.done for row in rows):
                break
    return [row.completion() for row in rows]


def stream(
    base: Reader, prompt: Prompt, sampling: Sampling, adapters: Adapters
) -> Generator[str, None, Completion]:
    """Pieces of one completion; see `memkit.protocols.LanguageModel.stream`."""
    row = _Row(base, sampling, prompt.constraint)
    sent = 0
    # Closing leaves the adapters at once when the consumer abandons this iterator.
    with closing(_steps(base, [prompt], [row], sampling, adapters)) as steps:
        for (token,) in steps:
            row.take(token)
            if row.done:
                break
            settled = row.settled_text()
            if len(settled) > sent:
                yield settled[sent:]
                sent = len(settled)
    if rest := row.whole_text()[sent:]:
        yield rest
    return row.completion()


def check(base: Reader, prompts: Sequence[Prompt], sampling: Sampling) -> None:
    """Refuse a request that the model cannot serve, before anything is computed."""
    sampling.check()
    for prompt in prompts:
        if not prompt.question:
            raise InvalidInputError("`question` must hold at least one token, got none")
        if prompt.constraint is not None:
            base.constraints.check(prompt.constraint, sampling)
        longest = len(prompt) + sampling.max_new_tokens
        if base.context is not None and longest > base.context:
            raise InvalidInputError(
                f"expected at most {base.context} tokens, the context of {base.name}; got a "
                f"prompt of {len(prompt)} and `max_new_tokens` of {sampling.max_new_tokens}, "
                f"{longest} together",
                hint="lower the budget of evidence or `max_new_tokens`",
            )


def _steps(
    base: Reader,
    prompts: Sequence[Prompt],
    answers: Sequence[_Row],
    sampling: Sampling,
    adapters: Adapters,
) -> Generator[list[int]]:
    """Yield the next token of every row, until `max_new_tokens` or the consumer has enough.

    The consumer puts the tokens into ``answers``: what is in them decides what may come next.
    """
    choose = _Chooser(sampling, rows=len(prompts))
    with step("prefill"):
        past = base.past([prompt.prefix for prompt in prompts])
    with ExitStack() as in_place:
        if adapters is not None:
            with step("mix"):
                in_place.enter_context(adapters)
        fed: Sequence[Sequence[int]] = [prompt.question for prompt in prompts]
        for number in range(sampling.max_new_tokens):
            # Not around the yield: the consumer's code may want gradients.
            with torch.no_grad(), step("decode" if number else "prefill"):
                hidden = base.extend(past, fed)
                last = torch.tensor([len(ids) - 1 for ids in fed], device=hidden.device)
                rows = torch.arange(len(fed), device=hidden.device)
                logits = base.logits(hidden[rows, last])
                tokens = choose(mask(logits, [answer.keeper for answer in answers]))
            yield tokens
            fed = [[token] for token in tokens]


class _Chooser:
    """Picks one token per row; every row has its own random numbers.

    So a row's answer depends on its prompt and the seed, not on what else is in the batch.
    """

    def __init__(self, sampling: Sampling, *, rows: int) -> None:
        self._greedy = sampling.temperature == 0
        self._warp = LogitsProcessorList()
        if not self._greedy:
            self._warp.append(TemperatureLogitsWarper(float(sampling.temperature)))
        if sampling.top_p < 1:
            self._warp.append(TopPLogitsWarper(float(sampling.top_p)))
        # On the CPU, so that a seed draws the same numbers on every device.
        self._random = [torch.Generator().manual_seed(sampling.seed) for _ in range(rows)]

    def __call__(self, logits: Tensor) -> list[int]:
        """Token ids for logits of shape ``(rows, vocab)``."""
        if self._greedy:
            return [int(token) for token in logits.argmax(dim=-1).tolist()]  # one transfer
        ids = torch.empty(0, dtype=torch.long)  # the warpers ignore the tokens so far
        warp: Any = self._warp  # annotated with the legacy tensor types
        chances = warp(ids, logits.float().cpu()).softmax(dim=-1)
        return [
            int(torch.multinomial(row, 1, generator=random))
            for row, random in zip(chances, self._random, strict=True)
        ]


class _Row:
    """The answer of one row as far as it has come."""

    def __init__(self, base: Reader, sampling: Sampling, constraint: Constraint | None) -> None:
        self.ids: list[int] = []
        self.done = False
        self._base = base
        self._stop = sampling.stop
        self._limit = sampling.max_new_tokens
        self._cut: int | None = None  # where a stop text begins
        # What keeps it to its constraint.
        self.keeper: Keeper | None = None
        if constraint is not None:
            self.keeper = base.constraints.keeper(constraint)

    def take(self, token: int) -> None:
        """Append a token, unless the answer has ended before."""
        if self.done:
            return
        self.ids.append(token)
        if self.keeper is not None:
            self.keeper.take(token)
            self.done = self.keeper.ended
        elif token in self._base.stop_ids:
            self.done = True
        elif self._stop:
            starts = [at for at in map(self._decoded().find, self._stop) if at >= 0]
            self._cut = min(starts, default=None)
            self.done = bool(starts)

    def completion(self) -> Completion:
        """What was generated, once no more tokens come."""
        return Completion(self.whole_text(), tuple(self.ids), "stop" if self.done else "length")

    def text(self) -> str:
        """The answer: without a stop text, surrounding blanks or half a character at the end."""
        return self._decoded()[: self._cut].rstrip("\ufffd").strip()

    def whole_text(self) -> str:
        """The answer, unless it is bound by a constraint and its tokens did not suffice."""
        if self.keeper is not None:
            self.keeper.check_whole(self._decoded(), self._limit)
        return self.text()

    def settled_text(self) -> str:
        """The part of `text` that no further token can change."""
        decoded = self._decoded()
        beginnings = (stop[:length] for stop in self._stop for length in range(1, len(stop)))
        # What may yet turn out to begin a stop text.
        undecided = max((len(b) for b in beginnings if decoded.endswith(b)), default=0)
        return decoded[: len(decoded) - undecided].rstrip("\ufffd").strip()

    def _decoded(self) -> str:
        ended = bool(self.ids) and self.ids[-1] in self._base.stop_ids
        return self._base.decode(self.ids[:-1] if ended else self.ids)
