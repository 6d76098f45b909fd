"""The verbs of `memkit.Memory` for asyncio: the same calls, in threads, with ``await``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar
from weakref import WeakSet

from memkit.errors import StorageError
from memkit.memory.memory import Memory

if TYPE_CHECKING:
    from memkit.answering.generate import AnswerStream
    from memkit.types import Answer

P = ParamSpec("P")
R = TypeVar("R")

THREADS = 32  # calls at once; most of them wait for a lock, so there are more than cores


def _twin(
    verb: Callable[Concatenate[Memory, P], R],
) -> Callable[Concatenate[AsyncMemory, P], Coroutine[Any, Any, R]]:
    """Make the async twin of a verb; type checkers see the verb's parameters and result."""

    @wraps(verb)
    async def twin(self: AsyncMemory, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._run(partial(verb, self.memory, *args, **kwargs))

    return twin


def _stream_twin(
    verb: Callable[Concatenate[Memory, P], AnswerStream],
) -> Callable[Concatenate[AsyncMemory, P], AsyncAnswerStream]:
    @wraps(verb)
    def twin(self: AsyncMemory, /, *args: P.args, **kwargs: P.kwargs) -> AsyncAnswerStream:
        stream = AsyncAnswerStream(partial(verb, self.memory, *args, **kwargs))
        self._streams.add(stream)
        return stream

    return twin


def _opening_twin(verb: Callable[P, Memory]) -> Callable[P, Opening]:
    @wraps(verb)
    def twin(*args: P.args, **kwargs: P.kwargs) -> Opening:
        return Opening(partial(verb, *args, **kwargs))

    return twin


class AsyncMemory:
    """A `Memory` whose verbs are awaited; the event loop runs on while they work.

        async with AsyncMemory.open("agent.mem") as memory:
            await memory.add("The archive is on the second floor.")
            async for piece in memory.stream("Where is the archive?"):
                print(piece, end="")

    Each call runs in a thread of its own, with the caller's context variables. Tasks and threads
    may share an `AsyncMemory`, and it is not bound to one event loop.

    A cancelled call that waits for a thread never starts. One that has started goes on to its
    end in the background, as threads cannot be interrupted: what it writes is there as a whole
    or, if it fails, not at all. `close` waits for it.

    Args:
        memory: Open already; `close` closes it.

    Attributes:
        memory: As given.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="memkit")
        self._streams: WeakSet[AsyncAnswerStream] = WeakSet()
        self._closed = False

    open = staticmethod(_opening_twin(Memory.open))

    add = _twin(Memory.add)
    add_messages = _twin(Memory.add_messages)
    add_turn = _twin(Memory.add_turn)
    ask = _twin(Memory.ask)
    ask_batch = _twin(Memory.ask_batch)
    chat = _twin(Memory.chat)
    chat_batch = _twin(Memory.chat_batch)
    chat_recall = _twin(Memory.chat_recall)
    chat_stream = _stream_twin(Memory.chat_stream)
    consolidate = _twin(Memory.consolidate)
    count_tokens = _twin(Memory.count_tokens)
    duplicates = _twin(Memory.duplicates)
    explain = _twin(Memory.explain)
    expire = _twin(Memory.expire)
    export = _twin(Memory.export)
    export_adapter = _twin(Memory.export_adapter)
    forget = _twin(Memory.forget)
    get = _twin(Memory.get)
    get_many = _twin(Memory.get_many)
    history = _twin(Memory.history)
    import_ = _twin(Memory.import_)
    import_adapter = _twin(Memory.import_adapter)
    merge = _twin(Memory.merge)
    modules = _twin(Memory.modules)
    pin = _twin(Memory.pin)
    recall = _twin(Memory.recall)
    records = _twin(Memory.records)
    reembed = _twin(Memory.reembed)
    retrain = _twin(Memory.retrain)
    rollback = _twin(Memory.rollback)
    search = _twin(Memory.search)
    search_by_vector = _twin(Memory.search_by_vector)
    set_ttl = _twin(Memory.set_ttl)
    settle = _twin(Memory.settle)
    stats = _twin(Memory.stats)
    stream = _stream_twin(Memory.stream)
    sweep = _twin(Memory.sweep)
    turns = _twin(Memory.turns)
    unpin = _twin(Memory.unpin)
    update = _twin(Memory.update)
    vectors = _twin(Memory.vectors)

    async def close(self) -> None:
        """End the streams, wait for the calls that are under way, and close the memory.

        Repeating it changes nothing.
        """
        self._closed = True
        for stream in list(self._streams):
            await stream.close()
        await asyncio.to_thread(self._finish)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncMemory({self.memory!r})"

    async def _run(self, call: Callable[[], R]) -> R:
        if self._closed:
            raise StorageError(f"expected an open memory, {self!r} is closed", "Open it again.")
        return await _run_in(self._threads, call)

    def _finish(self) -> None:
        self._threads.shutdown(wait=True)
        self.memory.close()


class Opening:
    """A memory about to be opened: ``await`` it, or enter it with ``async with``."""

    def __init__(self, open_memory: Callable[[], Memory]) -> None:
        self._open = open_memory
        self._opened: AsyncMemory | None = None

    def __await__(self) -> Generator[Any, Any, AsyncMemory]:
        return self._run().__await__()

    async def __aenter__(self) -> AsyncMemory:
        self._opened = await self
        return self._opened

    async def __aexit__(self, *_: object) -> None:
        if self._opened is not None:
            await self._opened.close()

    async def _run(self) -> AsyncMemory:
        thread = ThreadPoolExecutor(1, thread_name_prefix="memkit-open")
        opening = thread.submit(copy_context().run, self._open)
        try:
            return AsyncMemory(await asyncio.wrap_future(opening))
        except asyncio.CancelledError:
            thread.submit(_close_unused, opening)  # once it is open
            raise
        finally:
            thread.shutdown(wait=False)


class AsyncAnswerStream:
    """Pieces of an answer as they come; `answer` is there once the last one has come.

    The model is held from the first piece until the stream is read to its end, closed, dropped
    or cancelled. Other calls wait for it meanwhile, those of the task that reads included: it
    has to leave the stream before it asks again, best by ``async with``.
    """

    def __init__(self, begin: Callable[[], AnswerStream]) -> None:
        self._begin = begin
        self._stream: AnswerStream | None = None
        # One thread for all pieces, as the model knows by the thread who is using it.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="memkit-stream")
        self._closed = False

    @property
    def answer(self) -> Answer | None:
        """The whole answer, once the last piece has come."""
        return self._stream.answer if self._stream is not None else None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        if self._closed:
            raise StopAsyncIteration
        try:
            piece = await _run_in(self._thread, self._next)
        except BaseException:  # above all a cancelled task must not keep the model
            self._stop()
            raise
        if piece is None:
            self._stop()
            raise StopAsyncIteration
        return piece

    async def close(self) -> None:
        """Stop early and let go of the model. Repeating it changes nothing."""
        if not self._closed:
            await asyncio.shield(asyncio.wrap_future(self._stop()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _next(self) -> str | None:
        if self._stream is None:
            self._stream = self._begin()
        return next(self._stream, None)

    def _stop(self) -> Future[None]:
        """Let go of the model, as soon as a piece that is being made is finished."""
        self._closed = True
        stopping = self._thread.submit(self._let_go)
        self._thread.shutdown(wait=False)
        return stopping

    def _let_go(self) -> None:
        if self._stream is not None:
            self._stream.close()


async def _run_in(threads: ThreadPoolExecutor, call: Callable[[], R]) -> R:
    """Run a call in a thread, with the context variables of the task."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(threads, copy_context().run, call)


def _close_unused(opening: Future[Memory]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
