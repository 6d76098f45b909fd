"""Measures points one after the other, resumes where it was stopped, and says what is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from memkit.evals.configuration import (
    CapacityRun,
    Configuration,
    EditRun,
    Learning,
    LifeRun,
    MemoryRun,
    Point,
)
from memkit.evals.lab import Lab
from memkit.evals.run import run
from memkit.evals.run_capacity import SAMPLE
from memkit.evals.run_records import RecordFile, RunRecord

Report = Callable[[str], None]

_EDITS = {"1K": 106, "2K": 215, "4K": 434}
_LESSONS = {"invented reports": 8, "papers": 40}  # of a document, roughly
_ASKING = 3.0  # visits in training cost what one question does


def measure(
    points: Iterable[Point],
    lab: Lab,
    file: RecordFile,
    *,
    tell: Report,
    seconds: float | None = None,
) -> dict[str, RunRecord]:
    """Measure the points that the file lacks, and return the records of all.

    Args:
        points: Each is measured once, in order.
        lab: Where they are measured.
        file: Takes every record as soon as it is there.
        tell: Is told in a line what was measured, and how long the rest will take.
        seconds: Start no point when so many have passed; None for no limit.
    """
    records = file.read()
    wanted = {point.key: point for point in points}
    missing = [point for key, point in wanted.items() if not _is_there(records.get(key), lab)]
    if len(missing) < len(wanted):
        tell(f"{len(wanted) - len(missing)} of {len(wanted)} points are there already")
    started, done = time.perf_counter(), 0.0
    efforts = _efforts(missing)
    for number, point in enumerate(missing, 1):
        if seconds is not None and time.perf_counter() - started > seconds:
            tell(f"time is up: {len(missing) - number + 1} points are left for the next run")
            break
        records[point.key] = run(point, lab)
        file.append(records[point.key])
        done += efforts[point.key]
        spent = time.perf_counter() - started
        left = _span(spent * (sum(efforts.values()) - done) / done)
        place = f"[{number}/{len(missing)}]"
        tell(f"{place} {described(point)}: {headline(records[point.key])}; {left}")
    return {key: record for key, record in records.items() if key in wanted}


def _is_there(record: RunRecord | None, lab: Lab) -> bool:
    """Whether a point was measured, on the data that is there now."""
    if record is None or record.kind != Configuration.kind:
        return record is not None
    name, size = record.point["data"], record.point["size"]
    return record.data == lab.data_set(name, size).digest


def _efforts(points: Sequence[Point]) -> dict[str, float]:
    """How long each point takes, in no unit; what several are trained on counts once."""
    trained: set[object] = set()
    efforts = {}
    for point in points:
        visits = visited(point)
        if isinstance(point, Configuration):
            same = (
                point.data,
                point.size,
                point.learning,
                point.modules,
                point.partition,
                point.seed,
            )
            visits = 0.0 if same in trained else visits
            trained.add(same)
        efforts[point.key] = visits + _ASKING * _questions(point)
    return efforts


def visited(point: Point) -> float:
    """How many examples training visits, those of all layers counted as one."""
    match point:
        case Configuration():
            lessons = _LESSONS.get(point.data, 1) * point.size
            learning = point.learning
        case EditRun():
            lessons, learning = min(point.edits, _EDITS.get(point.size, 1000)), point.learning
        case LifeRun():
            lessons, learning = 4 * point.facts, point.learning
        case MemoryRun():
            lessons = 2 * point.size
            learning = Learning() if point.weights else None
        case CapacityRun():
            lessons, learning = 2 * point.facts, Learning()
    if learning is None:
        return 0.0
    first, last = learning.layers
    return lessons * learning.epochs * (last - first + 0.05)


def _questions(point: Point) -> float:
    match point:
        case Configuration():
            return point.asked * (point.top if point.way == "rows" else 1)
        case EditRun():
            return min(point.edits, _EDITS.get(point.size, 1000)) / 2
        case LifeRun():
            return 3.0 * point.facts
        case MemoryRun():
            return 4.0 * point.asked
        case CapacityRun():
            return 7.0 * min(point.facts, SAMPLE)


def described(point: Point) -> str:
    """A point in a few words."""
    match point:
        case Configuration():
            learning = point.learning
            how = "base" if learning is None else f"rank {learning.rank}"
            parts = [f"{point.data} x {point.size}", how]
            if point.modules > 1:
                parts.append(f"{point.modules} modules by {point.partition}, {point.routing}")
                parts.append(f"top-{point.top} {point.way}" if point.top > 1 else "top-1")
            if learning is not None and learning.forms != ("qa",):
                parts.append("+".join(learning.forms))
            if point.context != "none":
                parts.append(point.context)
        case EditRun():
            rank = "base" if point.learning is None else f"rank {point.learning.rank}"
            parts = [f"CounterFact {point.size}", rank]
        case LifeRun():
            parts = [f"life of {point.facts} facts"]
        case MemoryRun():
            parts = [f"{point.data} x {point.size}", "a memory"]
            parts.append("weights and index" if point.weights else "index alone")
        case CapacityRun():
            parts = [f"a company's facts x {point.facts}", f"rank {point.rank}, as by default"]
    return ", ".join([*parts, f"seed {point.seed}"])


def headline(record: RunRecord) -> str:
    """The most telling scores of a record."""
    told = ("efficacy", "right", "kept", "forgotten", "reworded")
    names = [name for name in told if name in record.scores]
    return ", ".join(f"{name} {record.mean(name):.2f}" for name in names)


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"about {seconds:.0f} s left"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min left"
    return f"about {seconds / 3600:.1f} h left"
