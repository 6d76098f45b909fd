"""How fast records are found among many, beside other stores, and whether the right ones are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.store.corpus import Corpus, KnownVectors
from benchmarks.store.peers import Peer, PeerStore
from memkit.evals.measurement import Measurement
from memkit.memory.memory import Memory

K = 10
QUERIES = 50  # for a value of the 95th percentile
REPEATS = 3
WARM = 10
RECALL = 0.98  # that a peer is brought to
KINDS = {False: "search", True: "filtered search"}

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
    memory.vectors.wait()
    settled = time.perf_counter() - started - added
    case = f"memkit, {len(corpus)} records"
    return memory, [
        Measurement.of(case, "bulk add without embedding", [added / len(corpus) * 1e6], "us"),
        Measurement.of(case, "clusters ready after the last add", [settled], "s"),
    ]


def memkit_searches(memory: Memory, corpus: Corpus) -> Mapping[str, Search]:
    """The ways to search a memory: by vector, as the peers do, and by vector and words."""

    def by_vector(number: int, filtered: bool) -> Sequence[int]:
        where = {"kept": True} if filtered else None
        hits = memory.vectors.search(corpus.queries[number], K, where=where)
        return [int(hit.id[1:]) for hit in hits]

    def fused(number: int, filtered: bool) -> Sequence[int]:
        hits = memory.search(corpus.query(number), K, where={"kept": True} if filtered else None)
        return [int(hit.id[1:]) for hit in hits]

    return {"memkit": by_vector, "memkit, words too": fused}


def measure(
    case: str, corpus: Corpus, search: Search, kinds: Mapping[bool, str] = KINDS
) -> Iterator[Measurement]:
    """Time searches one by one, with and without a filter, and compare them with exact ones."""
    for filtered, name in kinds.items():
        for number in range(WARM):
            search(number, filtered)
        p50, p95, hits_of_nearest = [], [], 0
        for _ in range(REPEATS):
            seconds, hits_of_nearest = [], 0
            for number in range(QUERIES):
                started = time.perf_counter()
                hits = search(number, filtered)
                seconds.append(time.perf_counter() - started)
                hits_of_nearest += len(
                    corpus.nearest(number, K, filtered=filtered).intersection(hits)
                )
            p50.append(float(np.percentile(seconds, 50)) * 1e3)
            p95.append(float(np.percentile(seconds, 95)) * 1e3)
        yield Measurement.of(case, f"{name} p50", p50, "ms")
        yield Measurement.of(case, f"{name} p95", p95, "ms")
        yield Measurement.of(case, f"{name} recall@10", [hits_of_nearest / (K * QUERIES)], "")


def after_a_write(memory: Memory, corpus: Corpus) -> Measurement:
    """Time searches with a filter that has to be looked up anew, as something was written."""
    search, some = memkit_searches(memory, corpus)["memkit"], "n0"
    milliseconds = []
    for number in range(WARM):
        (memory.retention.unpin if number % 2 else memory.retention.pin)(some)
        started = time.perf_counter()
        search(number, True)
        milliseconds.append((time.perf_counter() - started) * 1e3)
    case = f"memkit, {len(corpus)} records"
    return Measurement.of(case, "filtered search, first after a write", milliseconds, "ms")


def measure_peer(
    peer: PeerStore, corpus: Corpus, folder: Path, own: Search
) -> tuple[list[Measurement], dict[str, float]]:
    """Fill a peer with the corpus and search it; then memkit again, while the machine is as busy.

    One whose filter loses what was asked for is measured again, with as many candidates as it
    takes.

    Returns:
        The figures, and how many times faster memkit is at the 95th percentile.
    """
    case, beside = (f"{name}, {len(corpus)} records" for name in (peer.name, f"beside {peer.name}"))
    started = time.perf_counter()
    with peer.make(corpus, folder) as store:
        store.fill()
        added = (time.perf_counter() - started) / len(corpus) * 1e6
        results = [Measurement.of(case, "bulk add without embedding", [added], "us")]
        results += measure(case, corpus, _searching(store, None))
        candidates = _needed(store, corpus)
        if candidates is not None:
            results.append(Measurement.of(case, "candidates it takes", [float(candidates)], ""))
            more = _searching(store, candidates)
            results += measure(case, corpus, more, {True: "filtered search, more candidates"})
        results += measure(f"memkit {beside}", corpus, own)
    p95 = {
        (result.case, result.metric): result.value
        for result in results
        if result.metric.endswith("p95")
    }
    plain, filtered = "search p95", "filtered search p95"
    theirs = p95.get((case, "filtered search, more candidates p95"), p95[case, filtered])
    return results, {
        f"search_vs_{peer.name}": p95[case, plain] / p95[f"memkit {beside}", plain],
        f"search_filtered_vs_{peer.name}": theirs / p95[f"memkit {beside}", filtered],
    }


def _searching(store: Peer, candidates: int | None) -> Search:
    return lambda number, filtered: store.search(
        number, K, filtered=filtered, candidates=candidates
    )


def _needed(store: Peer, corpus: Corpus) -> int | None:
    """How many candidates a peer has to look at to find enough behind the filter; or None."""
    candidates: int | None = None
    while (candidates or 0) < len(corpus):
        search = _searching(store, candidates)
        hits_of_nearest = sum(
            len(corpus.nearest(number, K, filtered=True).intersection(search(number, True)))
            for number in range(WARM)
        )
        if hits_of_nearest >= RECALL * K * WARM:
            return candidates
        candidates = 2 * (candidates or 10 * K)
    return candidates


def recall(results: Sequence[Measurement], records: int) -> dict[str, float]:
    """How many of the nearest ten memkit finds."""
    value = {(result.case, result.metric): result.value for result in results}
    return {"recall_at_10_of_exact": value[f"memkit, {records} records", "search recall@10"]}
