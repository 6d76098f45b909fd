"""Decoding: prompts in, text out, token by token, alone or together with what others ask."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from memkit.errors import InvalidInputError
from memkit.models.answer_row import Row, RowAdapters
from memkit.models.decode_alone import alone
from memkit.models.decode_batch import Reader
from memkit.models.decode_shared import SharedDecoding, Waiting
from memkit.models.model_lock import ModelLock
from memkit.types import Completion, Prompt, Sampling

Adapters = AbstractContextManager[object] | None


class Decoder:
    """Answers the prompts of one model.

    Args:
        base: The model.
        lock: Held by whoever uses it.
    """

    def __init__(self, base: Reader, lock: ModelLock) -> None:
        self._base = base
        self._lock = lock
        self._shared = SharedDecoding(base, lock)

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, adapters: Adapters
    ) -> list[Completion]:
        """One completion per prompt; see `memkit.protocols.LanguageModel.generate`."""
        self.check(prompts, sampling)
        if not prompts:
            return []
        rows = self._rows(prompts, sampling, adapters)
        with self._answering(rows, adapters) as wait:
            wait(lambda: all(row.finished for row in rows))
        return [row.completion() for row in rows]

    def stream(
        self, prompt: Prompt, sampling: Sampling, adapters: Adapters
    ) -> Generator[str, None, Completion]:
        """Pieces of one completion; see `memkit.protocols.LanguageModel.stream`."""
        (row,) = self._rows([prompt], sampling, adapters)
        sent = 0
        # Closing takes the row out at once when the consumer abandons this iterator.
        with self._answering([row], adapters) as wait:
            while not row.finished:
                wait(row.has_news)
                settled = row.settled_text()
                if not row.finished and len(settled) > sent:
                    yield settled[sent:]
                    sent = len(settled)
        if rest := row.whole_text()[sent:]:
            yield rest
        return row.completion()

    def check(self, prompts: Sequence[Prompt], sampling: Sampling) -> None:
        """Refuse a request that the model cannot serve, before anything is computed."""
        base = self._base
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

    def _rows(self, prompts: Sequence[Prompt], sampling: Sampling, adapters: Adapters) -> list[Row]:
        of_rows = adapters if isinstance(adapters, RowAdapters) else None
        return [
            Row(self._base, prompt, sampling, of_rows, place)
            for place, prompt in enumerate(prompts)
        ]

    @contextmanager
    def _answering(self, rows: Sequence[Row], adapters: Adapters) -> Iterator[Waiting]:
        """How rows are decoded.

        Whoever holds the model wants it alone. So do adapters that act on these very rows, all of
        them, and rows of a model whose rows cannot join each other.
        """
        whole = None if adapters is None or isinstance(adapters, RowAdapters) else adapters
        with adapters.kept() if isinstance(adapters, RowAdapters) else nullcontext():
            if self._lock.mine or whole is not None or not self._base.shares_passes:
                answering = alone(self._base, self._lock, rows, whole)
            else:
                answering = self._shared.answering(rows)
            with answering as wait:
                yield wait
