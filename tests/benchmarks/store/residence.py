"""How much memory a process takes: over many operations, and to open a large memory."""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.processes import output_of
from benchmarks.store.corpus import DIM, HashedVectors, KnownVectors
from benchmarks.store.durability import open_memory
from memkit.evals.measurement import Measurement
from memkit.memory.memory import Memory

OPERATIONS = 10_000
WARM = 0.2  # share of the operations before memory is expected to be flat
LIVE = 300  # records that are there at any time
MIB = 2**20


def resident() -> float:
    """Resident memory of this process in MiB; Linux only."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / MIB


def mixed(folder: Path, operations: int) -> list[Measurement]:
    """Add, search, change and forget in a process of its own, and watch its memory."""
    resident_mib = _run(work, folder, operations)
    warm = resident_mib[int(WARM * len(resident_mib)) :]
    quarter = max(1, len(warm) // 4)
    growth = median(warm[-quarter:]) - median(warm[:quarter])
    case = f"{operations} mixed operations"
    return [
        Measurement.of(case, "resident after warm-up", warm, "MiB"),
        Measurement.of(case, "growth from first to last quarter", [growth], "MiB"),
    ]


def opening(place: str | Path, case: str) -> list[Measurement]:
    """Open a memory in a process of its own, and search once."""
    runs = [_run(look, place) for _ in range(3)]
    names = (("open", "s"), ("first search", "s"), ("resident by opening and one search", "MiB"))
    return [
        Measurement.of(case, name, list(values), unit)
        for (name, unit), values in zip(names, zip(*runs, strict=True), strict=True)
    ]


def _run(function: Callable[..., None], *arguments: object) -> list[float]:
    values: list[float] = json.loads(output_of(function, *arguments))
    return values


def work(folder: str, operations: str) -> None:
    """Mix operations; tell the resident memory now and then."""
    draw = random.Random(0)
    values: list[float] = []
    ids: list[str] = []
    with open_memory(Path(folder)) as memory:
        for number in range(int(operations)):
            dice = draw.random()
            if dice < 0.3 or len(ids) < LIVE // 2:
                ids.append(memory.add(f"fact {number} of {draw.randint(0, 10**9)}").id)
            elif dice < 0.4:
                memory.update(draw.choice(ids), f"new fact {number}")
            elif len(ids) > LIVE:
                memory.forget([ids.pop(draw.randrange(len(ids))) for _ in range(LIVE // 4)])
            else:
                memory.search(f"fact {draw.randint(0, number)}")
            if number % (int(operations) // 100) == 0:
                values.append(resident())
    sys.stdout.write(json.dumps(values))


def look(place: str) -> None:
    """Open, search, and tell how long it took and how much memory."""
    import faiss  # noqa: F401 - what the libraries take is not what opening takes

    before, started = resident(), time.perf_counter()
    embedder = HashedVectors(DIM, KnownVectors.name)
    with Memory.open(
        place, backends=("rag",), embedder=embedder, count_tokens=len, create=False
    ) as memory:
        opened = time.perf_counter() - started
        memory.vectors.search(embedder.encode_query(["a question"])[0].tolist())
        searched = time.perf_counter() - started - opened
        values = [opened, searched, resident() - before]
    sys.stdout.write(json.dumps(values))
