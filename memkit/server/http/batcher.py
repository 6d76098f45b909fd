"""Puts questions that come at the same time into one batch, so that they share forward passes.

While the model works on a batch, the next one gathers. A question that finds the model idle waits
a moment for others. Questions of different users share a batch, each with its own scope and its
own adapters; those with other options, such as another temperature, take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from memkit.errors import MemkitError
from memkit.types import Answer, Scope

if TYPE_CHECKING:
    from memkit import AsyncMemory
    from memkit.memory.options import Question
    from memkit.server.http.answer_options import How


@dataclass(eq=False)
class _Asked:
    """A question that waits for its answer."""

    question: Question
    scope: Scope
    how: How
    arrived: float  # by the loop's clock
    answer: asyncio.Future[Answer] = field(repr=False)


class Batcher:
    """Answers questions in batches, the oldest first.

    Args:
        memory: Whose `ask_batch` answers them.
        size: How many questions share a batch, at most.
        wait: How long a question waits for others while the model is idle, in seconds.
    """

    def __init__(self, memory: AsyncMemory, *, size: int, wait: float) -> None:
        self._memory = memory
        self._size = size
        self._wait = wait
        self._waiting: list[_Asked] = []
        self._arrival = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    async def ask(self, question: Question, scope: Scope, how: How) -> Answer:
        """Answer one question; when the caller is cancelled, its place in the queue is free."""
        if self._work is None:
            self._work = asyncio.create_task(self._run())
        loop = asyncio.get_running_loop()
        asked = _Asked(question, scope, how, loop.time(), loop.create_future())
        self._waiting.append(asked)
        self._arrival.set()
        return await asked.answer

    async def close(self) -> None:
        """Stop; nobody may be waiting any more."""
        if self._work is not None:
            self._work.cancel()
            with suppress(asyncio.CancelledError):
                await self._work

    async def _run(self) -> None:
        while True:
            await self._gather()
            batch = self._next()
            if batch:
                await self._answer(batch)

    async def _gather(self) -> None:
        """Wait for a question, and as long as it may wait for others to share its batch."""
        loop = asyncio.get_running_loop()
        while True:
            self._arrival.clear()
            self._waiting = [asked for asked in self._waiting if not asked.answer.done()]
            patience = None
            if self._waiting:
                patience = self._waiting[0].arrived + self._wait - loop.time()
                if patience <= 0 or len(self._sharing()) >= self._size:
                    return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._arrival.wait(), patience)

    def _sharing(self) -> list[_Asked]:
        """Those that can share a batch with the oldest."""
        return [asked for asked in self._waiting if asked.how == self._waiting[0].how]

    def _next(self) -> list[_Asked]:
        batch = self._sharing()[: self._size]
        self._waiting = [asked for asked in self._waiting if asked not in batch]
        return batch

    async def _answer(self, batch: Sequence[_Asked]) -> None:
        """Answer a batch; if one question of it cannot be answered, each by itself."""
        try:
            answers = await self._ask(batch)
        except MemkitError as error:
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            for asked in batch:
                await self._answer([asked])
        except Exception as error:  # noqa: BLE001 - the callers raise it
            for asked in batch:
                _fail(asked, error)
        else:
            for asked, answer in zip(batch, answers, strict=True):
                if not asked.answer.done():
                    asked.answer.set_result(answer)

    async def _ask(self, batch: Sequence[_Asked]) -> list[Answer]:
        how = batch[0].how
        options: dict[str, Any] = how.options()
        return await self._memory.ask_batch(
            [asked.question for asked in batch],
            how.budget,
            scopes=[asked.scope for asked in batch],
            **options,
        )


def _fail(asked: _Asked, error: Exception) -> None:
    if not asked.answer.done():  # its client may have gone
        asked.answer.set_exception(error)
