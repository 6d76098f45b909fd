"""Many tenants in one memory: what one of them waits for, in a directory and on a server."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from benchmarks.report import show, write
from benchmarks.store import residence
from benchmarks.store.corpus import BLOCK, Corpus
from benchmarks.store.engines import opened, server
from memkit.evals.measurement import Measurement
from memkit.memory.memory import Memory
from memkit.types import Draft, Hit

Argument = TypeVar("Argument")

TENANTS = (1_000,)
RECORDS = 100  # of each tenant
ASKED = 50  # tenants that search, one after the other
REPEATS = 3
SINGLE = 20  # records that are added one by one
K = 10


def main(*, json_path: Path | None, tenants: Sequence[int] = TENANTS) -> int:
    """Measure and print; returns the exit status.

    Args:
        json_path: Where to write the figures as JSON, as soon as there are any.
        tenants: How many.
    """
    results: list[Measurement] = []
    for count in tenants:
        corpus = Corpus(count * RECORDS + SINGLE, ASKED)
        with tempfile.TemporaryDirectory() as directory, server(Path(directory)) as url:
            for engine, place in (("directory", Path(directory) / "m"), ("server", url)):
                case = f"{engine}, {count} tenants"
                with opened(place, corpus) as memory:
                    results += _filled(memory, corpus, count, case)
                    results += _searched(memory, corpus, count, case)
                results += residence.opening(place, case)
                write("tenants", results, {}, json_path=json_path)
    show(results, {})
    return 0


def _scope(tenant: int) -> dict[str, str]:
    return {"user": f"u{tenant}"}


def _drafts(corpus: Corpus, start: int, end: int) -> list[Draft]:
    """Notes of the corpus, which belong to one tenant after the other."""
    drafts = corpus.drafts(start, end)
    return [
        replace(draft, scope=_scope(number // RECORDS))
        for number, draft in enumerate(drafts, start=start)
    ]


def _filled(memory: Memory, corpus: Corpus, tenants: int, case: str) -> Iterator[Measurement]:
    total = tenants * RECORDS
    started = time.perf_counter()
    for low in tqdm(range(0, total, BLOCK), desc=case, disable=None):
        memory.add(_drafts(corpus, low, min(low + BLOCK, total)))
    added = time.perf_counter() - started
    memory.vectors.wait()
    settled = time.perf_counter() - started - added
    yield Measurement.of(case, "bulk add without embedding", [added / total * 1e6], "us")
    yield Measurement.of(case, "clusters ready after the last add", [settled], "s")
    notes = [corpus.drafts(number, number + 1) for number in range(total, total + SINGLE)]
    adds = [[replace(note, scope=_scope(0)) for note in each] for each in notes]
    yield Measurement.of(case, "one add", _milliseconds(memory.add, adds), "ms")


def _searched(memory: Memory, corpus: Corpus, tenants: int, case: str) -> Iterator[Measurement]:
    """Search in the scopes of some tenants, and compare with all of their vectors."""
    others = range(1, tenants)  # than the one that has added more since
    asking = random.Random(0).sample(others, min(ASKED, len(others)))
    asked = list(enumerate(asking))

    def by_vector(query: tuple[int, int]) -> frozenset[int]:
        number, tenant = query
        vector = corpus.queries[number].tolist()
        return _numbers(memory.vectors.search(vector, K, scope=_scope(tenant)))

    def with_words(query: tuple[int, int]) -> frozenset[int]:
        number, tenant = query
        return _numbers(memory.search(corpus.query(number), K, scope=_scope(tenant)))

    for name, search in (("search by vector", by_vector), ("search with words", with_words)):
        search(asked[0])
        rounds = [_milliseconds(search, asked) for _ in range(REPEATS)]
        for share in (50, 95):
            values = [float(np.percentile(each, share)) for each in rounds]
            yield Measurement.of(case, f"{name} p{share}", values, "ms")
    right = sum(len(by_vector(query) & _nearest(corpus, *query)) for query in asked)
    yield Measurement.of(case, "recall@10 by vector", [right / (K * len(asked))], "")


def _numbers(hits: Sequence[Hit]) -> frozenset[int]:
    return frozenset(int(hit.id[1:]) for hit in hits)


def _nearest(corpus: Corpus, number: int, tenant: int) -> frozenset[int]:
    start = tenant * RECORDS
    scores = corpus.vectors[start : start + RECORDS] @ corpus.queries[number]
    return frozenset((start + np.argpartition(-scores, K)[:K]).tolist())


def _milliseconds(call: Callable[[Argument], object], arguments: Sequence[Argument]) -> list[float]:
    """Time calls one by one."""
    taken = []
    for argument in arguments:
        started = time.perf_counter()
        call(argument)
        taken.append((time.perf_counter() - started) * 1e3)
    return taken
