"""Answers one batch for calls that LangChain makes one by one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from memkit import Answer, MemkitError

Conversation = list[dict[str, Any]]
Ask = Callable[[Sequence[Conversation]], list[Answer]]


class Batch:
    """Conversations that are answered together, as soon as the first answer is asked for.

    LangChain calls a model once per input of a batch, with callbacks of its own, in threads. The
    first call answers the whole batch; the others wait for it and take their answer from it.

    Args:
        owner: The model that is called.
        options: The options of its calls; calls with others are not answered by the batch.
        conversations: All that will be answered.
        ask: Answers several conversations.
        size: How many are answered at once.
    """

    def __init__(
        self,
        owner: object,
        options: Mapping[str, Any],
        conversations: Sequence[Conversation],
        ask: Ask,
        *,
        size: int,
    ) -> None:
        self._owner = owner
        self._options = options
        self._ask = ask
        self._size = size
        self._waiting = {_key(conversation): conversation for conversation in conversations}
        self._answers: dict[str, Answer] = {}
        self._lock = threading.Lock()

    def fits(self, owner: object, options: Mapping[str, Any]) -> bool:
        """Whether a call belongs to the batch."""
        return owner is self._owner and options == self._options

    def answer(self, conversation: Conversation) -> Answer:
        """Give the answer of one conversation; the first call computes the batch."""
        key = _key(conversation)
        with self._lock:
            if key in self._waiting:
                self._compute(key)
            if key in self._answers:
                return self._answers[key]
        return self._ask([conversation])[0]

    def _compute(self, key: str) -> None:
        keys = [key, *(other for other in self._waiting if other != key)][: self._size]
        conversations = [self._waiting.pop(key) for key in keys]
        try:
            answers = self._ask(conversations)
        except MemkitError:
            if len(conversations) == 1:
                raise
            return  # one of them is invalid: each is asked by itself, and that one raises
        self._answers |= zip(keys, answers, strict=True)


BATCH: ContextVar[Batch | None] = ContextVar("memkit_batch", default=None)


@contextmanager
def shared(batch: Batch) -> Iterator[None]:
    """Answer the calls of this context, and of threads that copy it, by a batch."""
    token = BATCH.set(batch)
    try:
        yield
    finally:
        BATCH.reset(token)


def _key(conversation: Conversation) -> str:
    return json.dumps(conversation)
