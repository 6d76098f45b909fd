"""How many threads a command computes with, and how these wait for each other.

Threads that share the work of one matrix wait for the slowest of them. Where other programs want
the cores as well, that is always one that was not let run, and threads that wait actively take
away the core that it is waiting for. So threads sleep while they wait, and no more of them are
started than there are free cores.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

_SAMPLE = 0.1  # seconds during which other programs are watched
_STATISTICS, _QUOTA = Path("/proc/stat"), Path("/sys/fs/cgroup/cpu.max")


def settle_threads() -> None:
    """Choose for this process, unless its environment says; before torch or FAISS is loaded."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(max(1, round(cores() - others())))


def cores() -> float:
    """How many cores this process may use: those it is bound to, and of these its share."""
    try:
        bound = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        bound = os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no control groups, or no limit
        quota, period = map(int, _QUOTA.read_text(encoding="ascii").split())
        return min(float(bound), quota / period)
    return float(bound)


def others() -> float:
    """How many cores other programs keep busy, on the average of a moment."""
    before = _ticks()
    if before is None:
        return 0.0
    time.sleep(_SAMPLE)
    after = _ticks()
    if after is None or after[1] <= before[1]:
        return 0.0
    return (after[0] - before[0]) / (after[1] - before[1]) * (os.cpu_count() or 1)


def _ticks() -> tuple[int, int] | None:
    """What all cores have worked and what they could have, since the system began."""
    try:
        first = _STATISTICS.read_text(encoding="ascii").partition("\n")[0]
        times = [int(part) for part in first.split()[1:9]]
    except (OSError, ValueError):  # not on this system
        return None
    return sum(times) - times[3] - times[4], sum(times)
