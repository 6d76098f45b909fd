"""Where the time of an answer went, and the stopwatch that measures it where the work is done."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Literal, TypeVar

from memkit.types.value import Value

Piece = TypeVar("Piece")
Result = TypeVar("Result")

Step = Literal["embed", "route", "search", "judge", "mix", "prefill", "decode"]


@dataclass(frozen=True)
class Timings(Value):
    """Seconds of wall-clock time by what they were spent on; in a batch, one answer's share.

    No second counts twice, so the sum is at most `Answer.seconds`. Waiting for a model that
    another thread holds is in none of them.

    Attributes:
        embed: Making vectors of the question and of what is compared with it.
        route: Choosing adapters.
        search: Finding passages and turns.
        judge: Reading passages with the base model, to tell which are about the question.
        mix: Putting adapters in place.
        prefill: Reading the prompt.
        decode: Writing the answer, token by token; for a language model of your own, all of it.
    """

    embed: float = 0.0
    route: float = 0.0
    search: float = 0.0
    judge: float = 0.0
    mix: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0

    def __str__(self) -> str:
        return ", ".join(f"{part.name} {getattr(self, part.name):.3f} s" for part in fields(self))


class Stopwatch:
    """Adds up how long steps take; a step within another counts for itself alone.

    Attributes:
        seconds: While it was running, altogether.
        steps: Seconds of each step so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.steps: dict[Step, float] = {}
        self._inner = 0.0  # seconds of the steps within the one that is under way

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure the steps of the enclosed block, in this thread."""
        started, token = time.perf_counter(), _running.set(self)
        try:
            yield
        finally:
            _running.reset(token)
            self.seconds += time.perf_counter() - started

    def over(self, pieces: Generator[Piece, None, Result]) -> Generator[Piece, None, Result]:
        """Run while pieces are made, and not while whoever takes them is busy."""
        try:
            while True:
                with self.running():
                    try:
                        piece = next(pieces)
                    except StopIteration as end:
                        result: Result = end.value
                        return result
                yield piece
        finally:
            pieces.close()

    @contextmanager
    def step(self, name: Step) -> Iterator[None]:
        """Measure the enclosed block."""
        started, beside = time.perf_counter(), self._inner
        self._inner = 0.0
        try:
            yield
        finally:
            took = time.perf_counter() - started
            self._add(name, took - self._inner)
            self._inner = beside + took

    def credit(self, steps: Mapping[Step, float]) -> None:
        """Add seconds that were measured elsewhere, within the step that is under way."""
        for name, seconds in steps.items():
            self._add(name, seconds)
            self._inner += seconds

    def _add(self, name: Step, seconds: float) -> None:
        self.steps[name] = self.steps.get(name, 0.0) + seconds

    def timings(self, among: int = 1) -> Timings:
        """What was measured, shared out among so many answers."""
        return Timings(**{name: seconds / among for name, seconds in self.steps.items()})


_running: ContextVar[Stopwatch | None] = ContextVar("memkit_stopwatch", default=None)


def step(name: Step) -> AbstractContextManager[None]:
    """Measure the enclosed block, if a stopwatch is running."""
    stopwatch = _running.get()
    return nullcontext() if stopwatch is None else stopwatch.step(name)


def credit(steps: Mapping[Step, float]) -> None:
    """Add seconds that another thread has spent for this one, if a stopwatch is running."""
    stopwatch = _running.get()
    if stopwatch is not None:
        stopwatch.credit(steps)
