"""How fast records are found among many, beside other stores, and whether the right ones are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from memkit.bench.store.corpus import Corpus, KnownVectors
from memkit.bench.store.peers import Found, Peer
from memkit.memory import Memory
from memkit.report import Measurement

K = 10
QUERIES = 50  # for a value of the 95th percentile
REPEATS = 3
WARM = 10

Search = Callable[[int, bool], Sequence[int]]  # number of a query, filtered or not -> notes


def fill(corpus: Corpus, folder: Path) -> tuple[Memory, list[Measurement]]:
    """Make a memory of the corpus; its clusters are ready."""
    memory = Memory.open(folder, backends=("rag",), embedder=KnownVectors(corpus), count_tokens=len)
    started = time.perf_counter()
    with tqdm(desc="memkit", unit="record", total=len(corpus), disable=None) as bar:
        for start, end in corpus.blocks():
            memory.add(corpus.drafts(start, end))
            bar.update(end - start)
    added = time.perf_counter() - started
    memory.settle()
    settled = time.perf_counter() - started - added
    case = f"memkit, {len(corpus)} records"
    return memory, [
        Measurement.of(case, "bulk add without embedding", [added / len(corpus) * 1e6], "us"),
        Measurement.of(case, "clusters ready after the last add", [settled], "s"),
    ]


def memkit_searches(memory: Memory, corpus: Corpus) -> Mapping[str, Search]:
    """The ways to search a memory: by vector, as the peers do, and by vector and words."""

    def by_vector(number: int, kept: bool) -> Sequence[int]:
        where = {"kept": True} if kept else None
        hits = memory.search_by_vector(corpus.queries[number], K, where=where)
        return [int(hit.id[1:]) for hit in hits]

    def fused(number: int, kept: bool) -> Sequence[int]:
        hits = memory.search(corpus.query(number), K, where={"kept": True} if kept else None)
        return [int(hit.id[1:]) for hit in hits]

    return {"memkit": by_vector, "memkit, words too": fused}


def measure(case: str, corpus: Corpus, search: Search) -> Iterator[Measurement]:
    """Time searches one by one, with and without a filter, and compare them with exact ones."""
    for kept, name in ((False, "search"), (True, "filtered search")):
        for number in range(WARM):
            search(number, kept)
        p50, p95, found = [], [], 0
        for _ in range(REPEATS):
            seconds, found = [], 0
            for number in range(QUERIES):
                started = time.perf_counter()
                hits = search(number, kept)
                seconds.append(time.perf_counter() - started)
                found += len(corpus.nearest(number, K, kept=kept).intersection(hits))
            p50.append(float(np.percentile(seconds, 50)) * 1e3)
            p95.append(float(np.percentile(seconds, 95)) * 1e3)
        yield Measurement.of(case, f"{name} p50", p50, "ms")
        yield Measurement.of(case, f"{name} p95", p95, "ms")
        yield Measurement.of(case, f"{name} recall@10", [found / (K * QUERIES)], "")


def measure_peer(peer: Found, corpus: Corpus, folder: Path) -> list[Measurement]:
    """Fill a peer with the corpus and search it."""
    case = f"{peer.name}, {len(corpus)} records"
    started = time.perf_counter()
    with peer.make(corpus, folder) as store:
        store.fill()
        added = (time.perf_counter() - started) / len(corpus) * 1e6
        results = [Measurement.of(case, "bulk add without embedding", [added], "us")]
        return results + list(measure(case, corpus, _searching(store)))


def _searching(store: Peer) -> Search:
    return lambda number, kept: store.search(number, K, kept=kept)


def ratios(results: Sequence[Measurement], records: int, peers: Sequence[str]) -> dict[str, float]:
    """How many times faster memkit is at the 95th percentile."""
    value = {(one.case, one.metric): one.value for one in results}
    own = f"memkit, {records} records"
    found = {"recall_at_10_of_exact": value[own, "search recall@10"]}
    for peer in peers:
        for key, metric in (("search", "search p95"), ("search_filtered", "filtered search p95")):
            theirs = value[f"{peer}, {records} records", metric]
            found[f"{key}_vs_{peer}"] = theirs / value[own, metric]
    return found
