"""Answers from the local base model: prompt, adapters in place, text out."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing

from memkit.models.base import BaseModel
from memkit.prompt import system_message
from memkit.protocols import GREEDY, Context, Prompt, Sampling
from memkit.types import Answer, Recall, Route

NO_CONTEXT = Context()
PlaceAdapters = Callable[[Sequence[Route]], AbstractContextManager[None]]


class AnswerStream:
    """Pieces of an answer as they come; `answer` is there once the last one has come.

    The model is held until the stream is read to its end, closed or dropped.
    """

    def __init__(self, pieces: Generator[str, None, Answer]) -> None:
        self._pieces = pieces
        self.answer: Answer | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            return next(self._pieces)
        except StopIteration as end:
            self.answer = self.answer or end.value
            raise

    def close(self) -> None:
        """Stop early and let go of the model. Repeating it changes nothing."""
        self._pieces.close()


class Answerer:
    """Turns recalled evidence into answers of the base model.

    Args:
        base: The base model.
        place: Puts the routed adapters in place, one route per row; None without adapters.
    """

    def __init__(self, base: BaseModel, place: PlaceAdapters | None) -> None:
        self._base = base
        self._place = place

    def answer(
        self,
        recalls: Sequence[Recall],
        sampling: Sampling = GREEDY,
        *,
        contexts: Sequence[Context | None] | None = None,
    ) -> list[Answer]:
        """One answer per recall, computed as one batch.

        Args:
            recalls: The questions, with their evidence.
            sampling: How tokens are chosen.
            contexts: For each question what was said before it; None if nothing was.
        """
        started = time.perf_counter()
        before = contexts or [None] * len(recalls)
        prompts = [self._prompt(*row) for row in zip(recalls, before, strict=True)]
        with self._base.turn.take():
            completions = self._base.generate(
                prompts, sampling, adapters=self._adapters([recall.route for recall in recalls])
            )
        seconds = (time.perf_counter() - started) / max(1, len(prompts))
        return [
            Answer(completion.text, recall, len(prompt), completion.tokens, seconds)
            for recall, prompt, completion in zip(recalls, prompts, completions, strict=True)
        ]

    def stream(
        self, recall: Recall, sampling: Sampling = GREEDY, *, context: Context | None = None
    ) -> AnswerStream:
        """The same answer, piece by piece."""
        return AnswerStream(self._pieces(recall, self._prompt(recall, context), sampling))

    def _pieces(
        self, recall: Recall, prompt: Prompt, sampling: Sampling
    ) -> Generator[str, None, Answer]:
        started = time.perf_counter()
        text = ""
        with self._base.turn.take():
            adapters = self._adapters([recall.route])
            with closing(self._base.stream(prompt, sampling, adapters=adapters)) as pieces:
                for piece in pieces:
                    text += piece
                    yield piece
        seconds = time.perf_counter() - started
        return Answer(text, recall, len(prompt), self._base.count(text), seconds)

    def _adapters(self, routes: Sequence[Route]) -> AbstractContextManager[None] | None:
        return self._place(routes) if self._place is not None else None

    def _prompt(self, recall: Recall, context: Context | None) -> Prompt:
        before = context or NO_CONTEXT
        system = system_message(recall.text, before.system)
        return self._base.prompt(recall.query, system=system, history=before.history)
