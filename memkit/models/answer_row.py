"""One answer while it is decoded: a row of a batch, however many others there are."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

from memkit.models.constrained import Constraints, Keeper, mask
from memkit.types import Completion, Prompt, Sampling


@runtime_checkable
class RowAdapters(Protocol):
    """Adapters for the rows of a batch, which can act on rows of other batches as well.

    `memkit.lora.serving.bank.Mixtures` are such.
    """

    @property
    def source(self) -> object:
        """What puts them in place; those of one source are put in place together."""
        ...

    def kept(self) -> AbstractContextManager[object]:
        """Keep them usable in the enclosed block, whatever is closed or dropped meanwhile."""
        ...

    def among(self, rows: Sequence[tuple[Self, int] | None]) -> AbstractContextManager[object]:
        """What puts adapters of one source in place for the rows of another batch.

        Args:
            rows: For each row whose adapters act on it, and of which row; None for none.
        """
        ...


class Speaker(Protocol):
    """What a row needs of its model."""

    stop_ids: frozenset[int]
    constraints: Constraints

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids."""


class Row:
    """An answer as far as it has come.

    It depends on its prompt, its adapters and the seed, and not on what else is in the batch.

    Args:
        base: The model.
        prompt: What is answered.
        sampling: How tokens are chosen.
        adapters: Whose adapters act on it; None for none.
        place: Of the row among them.

    Attributes:
        ids: The tokens so far.
        ended: Whether it has come to its end, and not merely run out of tokens.
        error: Why it cannot go on.
        withdrawn: Whether nobody wants it any more.
    """

    def __init__(
        self,
        base: Speaker,
        prompt: Prompt,
        sampling: Sampling,
        adapters: RowAdapters | None = None,
        place: int = 0,
    ) -> None:
        self.prompt = prompt
        self.adapters = adapters
        self.place = place
        self.ids: list[int] = []
        self.ended = False
        self.error: Exception | None = None
        self.withdrawn = False
        self._base = base
        self._sampling = sampling
        self._random = torch.Generator()  # on the CPU: a seed draws the same on every device
        self._random.manual_seed(sampling.seed)
        self._given = 0  # tokens of which the settled text was given
        self._cut: int | None = None  # where a stop text begins
        self._keeper: Keeper | None = None  # what keeps it to its constraint
        if prompt.constraint is not None:
            self._keeper = base.constraints.keeper(prompt.constraint)

    @property
    def finished(self) -> bool:
        """Whether no more tokens come."""
        full = len(self.ids) >= self._sampling.max_new_tokens
        return self.ended or full or self.error is not None or self.withdrawn

    @property
    def most_tokens(self) -> int:
        """How many it may have, its prompt included."""
        return len(self.prompt) + self._sampling.max_new_tokens

    @property
    def asked(self) -> tuple[int, ...]:
        """What the model is to read behind the prefix."""
        return (*self.prompt.question, *self.ids)

    @property
    def takes_likeliest(self) -> bool:
        """Whether it takes the likeliest token, whichever it is."""
        return self._sampling.temperature == 0 and self._keeper is None

    def choose(self, scores: Tensor) -> int:
        """The next token, for scores of all tokens, shape ``(vocab,)``."""
        allowed = mask(scores[None], [self._keeper])
        if self._sampling.temperature == 0:
            return int(allowed.argmax(dim=-1))
        ids = torch.empty(0, dtype=torch.long)  # the warpers ignore the tokens so far
        warp: Any = self._warpers()  # annotated with the legacy tensor types
        chances = warp(ids, allowed.float().cpu()).softmax(dim=-1)
        return int(torch.multinomial(chances[0], 1, generator=self._random))

    def _warpers(self) -> LogitsProcessorList:
        warpers = LogitsProcessorList([TemperatureLogitsWarper(float(self._sampling.temperature))])
        if self._sampling.top_p < 1:
            warpers.append(TopPLogitsWarper(float(self._sampling.top_p)))
        return warpers

    def has_news(self) -> bool:
        """Whether a token has come since `settled_text` was given, or none will."""
        return self.finished or len(self.ids) > self._given

    def take(self, token: int) -> None:
        """Append a token, unless the answer is finished."""
        if self.finished:
            return
        self.ids.append(token)
        if self._keeper is not None:
            self._keeper.take(token)
            self.ended = self._keeper.ended
        elif token in self._base.stop_ids:
            self.ended = True
        elif self._sampling.stop:
            starts = [at for at in map(self._decoded().find, self._sampling.stop) if at >= 0]
            self._cut = min(starts, default=None)
            self.ended = bool(starts)

    def completion(self) -> Completion:
        """What was generated, once no more tokens come.

        Raises:
            Exception: What has gone wrong with this row.
        """
        return Completion(self.whole_text(), tuple(self.ids), "stop" if self.ended else "length")

    def text(self) -> str:
        """The answer: without a stop text, surrounding blanks or half a character at the end."""
        return self._decoded()[: self._cut].rstrip("\ufffd").strip()

    def whole_text(self) -> str:
        """The answer, unless it is bound by a constraint and its tokens did not suffice."""
        if self.error is not None:
            raise self.error
        if self._keeper is not None:
            self._keeper.check_whole(self._decoded(), self._sampling.max_new_tokens)
        return self.text()

    def settled_text(self) -> str:
        """The part of `text` that no further token can change."""
        self._given = len(self.ids)
        decoded, stops = self._decoded(), self._sampling.stop
        beginnings = (stop[:length] for stop in stops for length in range(1, len(stop)))
        # What may yet turn out to begin a stop text.
        undecided = max((len(b) for b in beginnings if decoded.endswith(b)), default=0)
        return decoded[: len(decoded) - undecided].rstrip("\ufffd").strip()

    def _decoded(self) -> str:
        ended = bool(self.ids) and self.ids[-1] in self._base.stop_ids
        return self._base.decode(self.ids[:-1] if ended else self.ids)
