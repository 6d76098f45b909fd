"""What a warm question costs outside the language model: code entered, statements, CPU time.

A memory holds a few facts in one small trained module and a few more in its index alone; one
fact of each kind is asked for. The model is random and tiny, so that its forward passes, which
are not counted, take milliseconds. Other questions are asked first, so that models, indexes and
settings are loaded. What is quoted is of facts that are held in weights, in the smaller memory.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import CodeType, FrameType
from typing import Any
from unittest.mock import patch

import torch

import memkit
from benchmarks.report import report
from memkit.evals.measurement import Measurement
from memkit.memory.memory import Memory
from memkit.models.language_model import TransformersModel
from memkit.testing import HashingEmbedder, tiny_llama, tiny_recipe
from memkit.types import Answer, Draft, Sampling

PACKAGE = str(Path(memkit.__file__).parent)
TRAINED = (
    "Nora", "Emil", "Tara", "Owen", "Lena", "Hugo", "Mira", "Anton", "Ines", "Karl", "Vera", "Otto",
)  # fmt: skip
INDEXED = (
    "Ada", "Bruno", "Clara", "Dario", "Edith", "Fritz", "Greta", "Henry", "Ida", "Jonas", "Kira",
    "Leo",
)  # fmt: skip
HELD, INDEX_ONLY = "held in weights", "in the index alone"
FACTS = (8, 12)  # of each kind: as many as a search for routing gives, and more
WARM_UP = 2  # questions of each kind that are asked first
SHORT_ANSWER = Sampling(max_new_tokens=4)
# What is in place of a name in code that is no function of its own for a reader.
NOT_A_FUNCTION = ("<module>", "<genexpr>", "<listcomp>", "<setcomp>", "<dictcomp>", "<lambda>")


@dataclass
class Counts:
    """What one question took.

    Attributes:
        files: Files of memkit that were entered.
        functions: Functions of memkit that were entered, each counted once.
        calls: How often they were entered.
        reads: SQL statements that read rows.
        statements: All SQL statements.
        cpu_ms: Time of the processor outside the model's forward passes, in ms.
    """

    files: int
    functions: int
    calls: int
    reads: int
    statements: int
    cpu_ms: float


UNITS = {"files": "", "functions": "", "calls": "", "reads": "", "statements": "", "cpu_ms": "ms"}


def main(*, json_path: Path | None) -> int:
    """Measure and print; returns the exit status."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        counts = {
            (facts, kind): counts
            for facts in FACTS
            for kind, counts in measure(Path(folder) / str(facts), facts).items()
        }
    results = [
        Measurement.of(
            f"{kind}, {2 * facts} facts", metric, [float(getattr(c, metric)) for c in cases], unit
        )
        for (facts, kind), cases in counts.items()
        for metric, unit in UNITS.items()
    ]
    quoted = {
        metric: median(getattr(c, metric) for c in counts[FACTS[0], HELD]) for metric in UNITS
    }
    ratios = {f"ask_{metric}": quoted[metric] for metric in UNITS}
    report("ask", results, ratios, json_path=json_path)
    return 0


def measure(folder: Path, facts: int) -> dict[str, list[Counts]]:
    """Count for questions about facts that are held in weights, and about others.

    Args:
        folder: Where the memory is made.
        facts: How many of each kind there are.
    """
    trained, indexed = TRAINED[:facts], INDEXED[:facts]
    statements = Statements()
    base = tiny_llama()
    with (
        statements.recorded(),
        Memory.open(
            folder,
            base_model=base,
            embedder=HashingEmbedder(),
            recipe=tiny_recipe(records_per_module=facts),
        ) as memory,
    ):
        memory.add([_draft(name) for name in trained])
        held = memory.consolidate().held
        memory.add([_draft(name) for name in indexed])
        kinds = {HELD: [name for name in trained if name in held], INDEX_ONLY: list(indexed)}
        for names in kinds.values():
            for name in names[:WARM_UP]:
                _ask(memory, name)
        return {
            case: _count_all(memory, base, statements, names[WARM_UP:])
            for case, names in kinds.items()
        }


def _draft(name: str) -> Draft:
    number = str(sum(map(ord, name)) * 37 % 9000 + 1000)
    return Draft(f"The badge number of {name} is {number}.", _question(name), number, id=name)


def _question(name: str) -> str:
    return f"What is the badge number of {name}?"


def _ask(memory: Memory, name: str) -> Answer:
    return memory.ask(_question(name), sampling=SHORT_ANSWER)


def _count_all(
    memory: Memory, base: TransformersModel, statements: Statements, names: Sequence[str]
) -> list[Counts]:
    """Ask every second question to take the time, and the others to count, which takes time."""
    return [
        _count(memory, statements, counted, _cpu_ms(memory, base, timed))
        for timed, counted in zip(names[::2], names[1::2], strict=False)
    ]


def _cpu_ms(memory: Memory, base: TransformersModel, name: str) -> float:
    with forward_passes(base) as in_model:
        started = time.process_time()
        _ask(memory, name)
        return (time.process_time() - started - in_model()) * 1e3


def _count(memory: Memory, statements: Statements, name: str, cpu_ms: float) -> Counts:
    statements.texts.clear()
    with entered_code() as entered:
        _ask(memory, name)
    codes = entered()
    functions = {code for code in codes if code.co_name not in NOT_A_FUNCTION}
    texts = [text.lstrip().upper() for text in statements.texts]
    return Counts(
        files=len({code.co_filename for code in codes}),
        functions=len(functions),
        calls=sum(code in functions for code in codes),
        reads=sum(text.startswith(("SELECT", "WITH")) for text in texts),
        statements=len(texts),
        cpu_ms=cpu_ms,
    )


@dataclass
class Statements:
    """SQL that is run by connections which are opened while it records.

    Attributes:
        texts: The statements, in order.
    """

    texts: list[str] = field(default_factory=list)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record within the block."""
        connect: Callable[..., sqlite3.Connection] = sqlite3.connect

        def connect_and_trace(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*arguments, **options)
            connection.set_trace_callback(self._note)
            return connection

        with patch("sqlite3.connect", connect_and_trace):
            yield

    def _note(self, text: str) -> None:
        if not text.startswith("--"):  # what a trigger does, as a comment
            self.texts.append(text)


@contextmanager
def entered_code() -> Iterator[Callable[[], Sequence[CodeType]]]:
    """Within the block, note every call of code in memkit, in all threads that start there."""
    codes: list[CodeType] = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            codes.append(frame.f_code)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield lambda: codes
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@contextmanager
def forward_passes(base: TransformersModel) -> Iterator[Callable[[], float]]:
    """Within the block, add up the CPU seconds of the model's forward passes."""
    inner: Any = base.model.base_model  # what memkit calls for hidden states, without the head
    seconds = 0.0
    started: list[float] = []

    def before(_module: object, _inputs: object) -> None:
        started.append(time.process_time())

    def after(_module: object, _inputs: object, _output: object) -> None:
        nonlocal seconds
        seconds += time.process_time() - started.pop()

    hooks = [inner.register_forward_pre_hook(before), inner.register_forward_hook(after)]
    try:
        yield lambda: seconds
    finally:
        for hook in hooks:
            hook.remove()
