"""How many threads a command computes with, and how these wait for each other.

Threads that share the work on one matrix wait for the last of them. By default they do so
actively, for a millisecond and more. Where other programs want the cores as well, the last one is
a thread that was not let run, and those that wait keep the core from it. Beside ten other jobs on
two cores, 15 passes through 60 linear layers and back took two threads 438 seconds, 75 of them of
processor time; threads that sleep took 19 to 100 seconds, 12 of processor time, and one thread
alone 62 to 180. So threads sleep after a moment, and stay as many as there are cores.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

_SAMPLE = 0.1  # seconds during which other programs are watched
_STATISTICS, _QUOTA = Path("/proc/stat"), Path("/sys/fs/cgroup/cpu.max")
_TURNS = "1000"  # of waiting before a thread sleeps; libgomp's own number for crowded cores


def settle_threads() -> None:
    """Choose for this process, unless its environment says; before torch or FAISS is loaded."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", _TURNS)
    bound, allowed = _bound(), cores()
    if allowed < bound:  # libraries count the cores, and not the share of them
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, round(allowed))))


def cores() -> float:
    """How many cores this process may use: those it is bound to, and of these its share."""
    with suppress(OSError, ValueError):  # no control groups, or no limit
        quota, period = map(int, _QUOTA.read_text(encoding="ascii").split())
        return min(float(_bound()), quota / period)
    return float(_bound())


def others() -> float:
    """How many cores other programs keep busy, on the average of a moment."""
    before = _ticks()
    time.sleep(_SAMPLE)
    after = _ticks()
    if before is None or after is None or after[1] <= before[1]:
        return 0.0
    return (after[0] - before[0]) / (after[1] - before[1]) * (os.cpu_count() or 1)


def _bound() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def _ticks() -> tuple[int, int] | None:
    """What all cores have worked and what they could have, since the system began."""
    try:
        first = _STATISTICS.read_text(encoding="ascii").partition("\n")[0]
        times = [int(part) for part in first.split()[1:9]]
    except (OSError, ValueError):  # not on this system
        return None
    return sum(times) - times[3] - times[4], sum(times)
