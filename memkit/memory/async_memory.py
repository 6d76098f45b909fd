"""The verbs of `memkit.Memory` for asyncio: the same calls, in threads, with ``await``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, NoReturn, ParamSpec, Self, TypeVar, cast
from weakref import WeakSet

from memkit.errors import StorageError
from memkit.ledger import is_address
from memkit.memory.memory import Memory
from memkit.memory.memory_jobs import Jobs
from memkit.memory.modules import Modules
from memkit.memory.retention import Retention
from memkit.memory.vectors import Vectors
from memkit.types.giving_up import may_give_up
from memkit.types.validate import absolute_path, check_part

if TYPE_CHECKING:
    from memkit.answering.generate import AnswerStream
    from memkit.types import Answer

P = ParamSpec("P")
R = TypeVar("R")

_OPEN = "AsyncMemory.open(path) opens one: `async with AsyncMemory.open(path) as memory`."
THREADS = 64  # calls at once; most wait for a lock or for others that decode for them


class _Awaited:
    """Verbs of something synchronous, to be awaited."""

    def __init__(self, verbs: object, calls: _Calls) -> None:
        self._verbs = verbs
        self._calls = calls


def _twin(
    verb: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[_Awaited, P], Coroutine[Any, Any, R]]:
    """Make the async twin of a verb; type checkers see the verb's parameters and result."""

    @wraps(verb)
    async def twin(self: _Awaited, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._calls.run(partial(verb, self._verbs, *args, **kwargs))

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


def _opening_twin(
    verb: Callable[Concatenate[str | Path, P], Memory],
) -> Callable[Concatenate[str | Path, P], Opening]:
    @wraps(verb)
    def twin(path: str | Path, *args: P.args, **kwargs: P.kwargs) -> Opening:
        # Absolute from here on: the thread that opens it may start late.
        place = path if is_address(path) else absolute_path("path", path)
        return Opening(partial(verb, place, *args, **kwargs))

    return cast("Callable[Concatenate[str | Path, P], Opening]", twin)


class _Calls:
    """Runs calls in threads until it is closed."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="memkit")
        self.closed = False

    async def run(self, call: Callable[[], R]) -> R:
        if self.closed:
            raise StorageError(
                f"expected an open memory, AsyncMemory({self._memory!r}) is closed",
                "Open it again.",
            )
        return await _run_in(self._threads, call)

    def finish(self) -> None:
        self._threads.shutdown(wait=True)
        self._memory.close()


class AsyncJobs(_Awaited):
    """`memkit.Memory.jobs`, awaited."""

    cancel = _twin(Jobs.cancel)
    get = _twin(Jobs.get)
    list = _twin(Jobs.list)
    put = _twin(Jobs.put)
    start = _twin(Jobs.start)
    status = _twin(Jobs.status)
    stop = _twin(Jobs.stop)
    wait = _twin(Jobs.wait)
    work = _twin(Jobs.work)


class AsyncModules(_Awaited):
    """`memkit.Memory.modules`, awaited."""

    compact = _twin(Modules.compact)
    export = _twin(Modules.export)
    import_ = _twin(Modules.import_)
    list = _twin(Modules.list)
    peft_model = _twin(Modules.peft_model)
    retrain = _twin(Modules.retrain)
    rollback = _twin(Modules.rollback)


class AsyncRetention(_Awaited):
    """`memkit.Memory.retention`, awaited."""

    expire = _twin(Retention.expire)
    pin = _twin(Retention.pin)
    set_ttl = _twin(Retention.set_ttl)
    sweep = _twin(Retention.sweep)
    unpin = _twin(Retention.unpin)


class AsyncVectors(_Awaited):
    """`memkit.Memory.vectors`, awaited."""

    duplicates = _twin(Vectors.duplicates)
    get = _twin(Vectors.get)
    reembed = _twin(Vectors.reembed)
    search = _twin(Vectors.search)
    wait = _twin(Vectors.wait)


class AsyncMemory(_Awaited):
    """A `Memory` whose verbs are awaited; the event loop runs on while they work.

        async with AsyncMemory.open("agent.mem") as memory:
            await memory.add("The archive is on the second floor.")
            async for piece in memory.stream("Where is the archive?"):
                print(piece, end="")

    Each call runs in a thread of its own, with the caller's context variables. Tasks and threads
    may share an `AsyncMemory`, and it is not bound to one event loop.

    A cancelled call that waits for a thread never starts. An answer that is being decoded ends at
    its next token. Any other call that has started goes on to its end in the background, as
    threads cannot be interrupted: what it writes is there as a whole or, if it fails, not at all.
    `close` waits for it.

    Args:
        memory: Open already; `close` closes it.

    Attributes:
        memory: As given.
    """

    def __init__(self, memory: Memory) -> None:
        check_part("memory", memory, Memory, "an open `Memory`", _OPEN)
        super().__init__(memory, _Calls(memory))
        self.memory = memory
        self._streams: WeakSet[AsyncAnswerStream] = WeakSet()
        self.jobs = AsyncJobs(memory.jobs, self._calls)
        self.modules = AsyncModules(memory.modules, self._calls)
        self.retention = AsyncRetention(memory.retention, self._calls)
        self.vectors = AsyncVectors(memory.vectors, self._calls)

    open = staticmethod(_opening_twin(Memory.open))

    add = _twin(Memory.add)
    add_messages = _twin(Memory.add_messages)
    add_turn = _twin(Memory.add_turn)
    add_turns = _twin(Memory.add_turns)
    ask = _twin(Memory.ask)
    ask_batch = _twin(Memory.ask_batch)
    clear = _twin(Memory.clear)
    consolidate = _twin(Memory.consolidate)
    count = _twin(Memory.count)
    count_tokens = _twin(Memory.count_tokens)
    explain = _twin(Memory.explain)
    export = _twin(Memory.export)
    forget = _twin(Memory.forget)
    forget_all = _twin(Memory.forget_all)
    get = _twin(Memory.get)
    get_by_prefix = _twin(Memory.get_by_prefix)
    get_many = _twin(Memory.get_many)
    history = _twin(Memory.history)
    import_ = _twin(Memory.import_)
    merge = _twin(Memory.merge)
    recall = _twin(Memory.recall)
    records = _twin(Memory.records)
    scopes = _twin(Memory.scopes)
    search = _twin(Memory.search)
    stats = _twin(Memory.stats)
    stream = _stream_twin(Memory.stream)
    turns = _twin(Memory.turns)
    update = _twin(Memory.update)

    async def close(self) -> None:
        """End the streams, wait for the calls that are under way, and close the memory.

        Repeating it changes nothing.
        """
        self._calls.closed = True
        for stream in list(self._streams):
            await stream.close()
        await asyncio.to_thread(self._calls.finish)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncMemory({self.memory!r})"


class Opening:
    """A memory about to be opened: ``await`` it, or enter it with ``async with``."""

    def __init__(self, open_memory: Callable[[], Memory]) -> None:
        self._open = open_memory
        self._opened: AsyncMemory | None = None

    def __await__(self) -> Generator[Any, Any, AsyncMemory]:
        return self._run().__await__()

    if not TYPE_CHECKING:  # a type checker says so itself

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(
                f"the memory is not open yet, so it has no {name!r}: write "
                "`async with AsyncMemory.open(path) as memory` or `await AsyncMemory.open(path)`"
            )

        def __enter__(self) -> NoReturn:
            raise TypeError("expected `async with` to open an AsyncMemory, got `with`")

        def __exit__(self, *_: object) -> None: ...

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

    Its row stays among those that the model decodes until the stream is read to its end, closed,
    dropped or cancelled. Models whose rows cannot join each other (`memkit.models.decode`) are held
    as long: other calls wait for it, those of the task that reads included.
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
    """Run a call in a thread, with the context variables of the task.

    If the task is cancelled, an answer that is being decoded is given up.
    """
    loop = asyncio.get_running_loop()
    with may_give_up() as giving_up:
        try:
            return await loop.run_in_executor(threads, copy_context().run, call)
        except asyncio.CancelledError:
            giving_up.give_up()
            raise


def _close_unused(opening: Future[Memory]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
