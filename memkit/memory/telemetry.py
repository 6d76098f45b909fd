"""What others can observe of a memory: spans by OpenTelemetry's conventions, and log lines.

Spans are made where the program has set OpenTelemetry up, and cost next to nothing elsewhere.
Neither they nor the log say what is stored or asked, unless the program's environment says
``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true``, which is about spans alone.

Source:
    OpenTelemetry semantic conventions for generative AI, spans of memory operations:
    https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-spans.md
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar

from memkit.ledger.engine.connect import FILE
from memkit.types import (
    ConsolidationReport,
    Hit,
    ImportReport,
    Query,
    Recall,
    Receipt,
    Record,
    TransferReport,
    Turn,
)
from memkit.types.value import counted
from memkit.version import __version__

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from memkit.memory.engine import Engine

P = ParamSpec("P")
R = TypeVar("R")

Operation = Literal[
    "create_memory_store",
    "create_memory",
    "update_memory",
    "upsert_memory",
    "search_memory",
    "delete_memory",
]
# Records, those of hits and turns, or their ids; or how many there are.
Touched = Sequence[Record | Hit | Turn | str] | int

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
CAPTURES = {"true", "span_only", "span_and_event"}  # values that ask for content on spans

logger = logging.getLogger(__name__)


def traced(
    operation: Operation, verb: str, *, about: bool = False
) -> Callable[[Callable[Concatenate[Engine, P], R]], Callable[Concatenate[Engine, P], R]]:
    """Let a verb be observed.

    Args:
        operation: What the conventions call it.
        verb: What memkit calls it.
        about: Whether the first argument is what it is about: a query, or ids of records.
    """

    def decorate(run: Callable[Concatenate[Engine, P], R]) -> Callable[Concatenate[Engine, P], R]:
        @wraps(run)
        def observed(engine: Engine, /, *args: P.args, **kwargs: P.kwargs) -> R:
            if not _is_observed(operation):
                return run(engine, *args, **kwargs)
            with observation(operation, verb, engine.ledger.name) as seen:
                if about:
                    seen.asked(args[0])
                result = run(engine, *args, **kwargs)
                seen.touched(_touched(result))
            return result

        return observed

    return decorate


@contextmanager
def creating(place: str | Path, *, create: bool) -> Iterator[None]:
    """Observe how a memory is made; opening one that is there is no operation.

    On a server it is not observed: whether there is one is known only once it is open.
    """
    if not create or isinstance(place, str) or (place / FILE).exists():
        yield
        return
    with observation("create_memory_store", "open", str(place.resolve())):
        yield


@contextmanager
def observation(operation: Operation, verb: str, store: str) -> Iterator[Observation]:
    """Observe the enclosed block as one operation on a memory."""
    tracer = _tracer()
    if tracer is None:
        with _logged(operation, verb, Observation(None)) as seen:
            yield seen
        return
    from opentelemetry.trace import SpanKind, StatusCode

    about = {"gen_ai.operation.name": operation, "gen_ai.memory.store.id": store}
    with tracer.start_as_current_span(
        operation,
        kind=SpanKind.INTERNAL,
        attributes=about | {"memkit.verb": verb},
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            with _logged(operation, verb, Observation(span)) as seen:
                yield seen
        except BaseException as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(StatusCode.ERROR)
            if _captures():  # messages quote what came
                span.record_exception(error)
            raise


class Observation:
    """One operation while it is observed.

    Attributes:
        recorded: Whether a span of it is kept.
    """

    def __init__(self, span: Span | None) -> None:
        self._span = span
        self.recorded = span is not None and span.is_recording()
        self.count: int | None = None

    def asked(self, subject: object) -> None:
        """Note what the operation is about, before it may fail: a query, or ids of records."""
        if isinstance(subject, Query) and self.recorded and _captures():
            self._set("gen_ai.memory.query.text", subject.text)
            return
        id = subject[0] if isinstance(subject, list | tuple) and len(subject) == 1 else subject
        if isinstance(id, str):
            self._set("gen_ai.memory.record.id", id)

    def touched(self, things: Touched) -> None:
        """Note which records the operation has read or written."""
        self.count = things if isinstance(things, int) else len(things)
        self._set("gen_ai.memory.record.count", self.count)
        if isinstance(things, int) or not self.recorded:
            return
        if len(things) == 1 and not isinstance(things[0], Hit):
            self._set("gen_ai.memory.record.id", _id(things[0]))
        if things and _captures():
            shown = [_shown(thing) for thing in things if not isinstance(thing, str)]
            self._set("gen_ai.memory.records", json.dumps(shown, ensure_ascii=False))

    def _set(self, name: str, value: str | int) -> None:
        if self._span is not None:
            self._span.set_attribute(name, value)


def _is_observed(operation: Operation) -> bool:
    """Whether anybody may be listening."""
    return "opentelemetry.trace" in sys.modules or logger.isEnabledFor(_level(operation))


def _level(operation: Operation) -> int:
    return logging.DEBUG if operation == "search_memory" else logging.INFO


def _tracer() -> Tracer | None:
    """What makes spans; None where nothing has imported OpenTelemetry, so that nobody listens."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import trace

    return trace.get_tracer("memkit", __version__)


def _captures() -> bool:
    return os.environ.get(CAPTURE, "").strip().lower() in CAPTURES


@contextmanager
def _logged(operation: Operation, verb: str, seen: Observation) -> Iterator[Observation]:
    """Write a line on what was done or has failed, without a word of what it was about."""
    level = _level(operation)
    started = time.perf_counter()
    try:
        yield seen
    except BaseException as error:
        logger.log(level, "%s failed: %s", verb, type(error).__name__)
        raise
    if logger.isEnabledFor(level):
        count = "" if seen.count is None else f"{counted(seen.count, 'record')}, "
        logger.log(level, "%s: %s%.3f s", verb, count, time.perf_counter() - started)


def _touched(result: object) -> Touched:
    """The records that a verb's result is about."""
    match result:
        case Record() | Turn():
            return [result]
        case list():
            return result
        case object(recall=Recall(hits=hits)):
            return hits
        case Receipt():
            return result.records or result.turns
        case ConsolidationReport():
            return (*result.held, *result.missed)
        case ImportReport(turns=things) | TransferReport(records=things):
            return things
        case _:
            raise TypeError(f"expected what a verb returns, got {type(result).__name__}")


def _id(thing: Record | Hit | Turn | str) -> str:
    if isinstance(thing, str):
        return thing
    return (thing.record_id or thing.id) if isinstance(thing, Turn) else thing.id


def _shown(thing: Record | Hit | Turn) -> dict[str, Any]:
    """A record by the conventions' schema of memory records."""
    if isinstance(thing, Turn):
        return {"id": _id(thing), "content": thing.content}
    if isinstance(thing, Hit):
        shown = {"id": thing.id, "content": thing.text, "score": thing.score}
        return shown | {"metadata": dict(thing.record.metadata)}
    return {"id": thing.id, "content": thing.text, "metadata": dict(thing.metadata)}
