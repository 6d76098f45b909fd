"""Lets so many questions be answered at once, and the others wait in the order in which they came.

Those that are answered at once share forward passes, whatever their scopes, adapters and options:
the model lets a row join between two steps, and leave (`memkit.models.decode_shared`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from memkit.types import Answer, Scope

if TYPE_CHECKING:
    from memkit import AsyncMemory
    from memkit.memory.options import Question
    from memkit.server.http.answer_options import How


class AnswerQueue:
    """Answers questions, the oldest first.

    Args:
        memory: Answers them.
        most: How many are answered at once.
    """

    def __init__(self, memory: AsyncMemory, *, most: int) -> None:
        self._memory = memory
        self._places = asyncio.Semaphore(most)  # whoever waits gets one in order

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place among those that are answered, for the enclosed block."""
        async with self._places:
            yield

    async def ask(self, question: Question, scope: Scope, how: How) -> Answer:
        """Answer one question; when the caller is cancelled, its place and its row are free."""
        async with self.place():
            return await self._memory.ask(question, how.budget, scope=scope, **how.options())
