"""Costs, durability and recall of the store, beside other stores."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks.report import show, write
from benchmarks.store import adding, durability, residence, searching
from benchmarks.store.corpus import Corpus
from benchmarks.store.peers import PeerStore, peers_by_name
from memkit.evals.measurement import Measurement

RECORDS = (100_000, 1_000_000)
TEXTS = 2000


def main(
    *,
    json_path: Path | None,
    records: Sequence[int] = RECORDS,
    peers: Sequence[str] = (),
    texts: int = TEXTS,
    operations: int = residence.OPERATIONS,
    kills: int = durability.KILLS,
) -> int:
    """Measure and print; returns the exit status: 1 if anything acknowledged was lost.

    Args:
        json_path: Where to write the figures as JSON, as soon as there are any.
        records: Among how many records to search.
        peers: Names of the stores to compare with.
        texts: How many texts are embedded to measure what adding costs.
        operations: Of one process whose memory is watched; a tenth of them by each of four.
        kills: How many writers are killed.
    """
    compared = peers_by_name(peers)  # first: a missing one is known before an hour has passed
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        results, overhead = adding.measure(folder, texts)
        durable, held = durability.measure(folder, kills=kills, operations=operations // 10)
        results += durable + residence.mixed(folder / "residence", operations)
        ratios = {"add_overhead": overhead}
        for size in records:
            for figures, more_ratios in _search(folder / str(size), size, compared):
                results += figures
                # The keys are those of the first size; of others they name it.
                ratios |= {
                    key if size == records[0] else f"{key}_{size}": value
                    for key, value in more_ratios.items()
                }
                write("store", results, ratios, json_path=json_path)
    show(results, ratios)
    return 0 if held else 1


def _search(
    folder: Path, records: int, peers: Sequence[PeerStore]
) -> Iterator[tuple[list[Measurement], dict[str, float]]]:
    """Search memkit, then each peer."""
    folder.mkdir()
    corpus = Corpus(records, searching.QUERIES)
    memory, own = searching.fill(corpus, folder / "memkit")
    with memory:
        searches = searching.memkit_searches(memory, corpus)
        for name, search in searches.items():
            own += searching.measure(f"{name}, {records} records", corpus, search)
        own.append(searching.after_a_write(memory, corpus))
        own += residence.opening(folder / "memkit", f"memkit, {records} records")
        yield own, searching.recall(own, records)
        for peer in _fast_enough(peers, records):
            yield searching.measure_peer(peer, corpus, folder, searches["memkit"])
    shutil.rmtree(folder)


def _fast_enough(peers: Sequence[PeerStore], records: int) -> Sequence[PeerStore]:
    slow = [peer.name for peer in peers if peer.up_to < records]
    if slow:
        tqdm.write(f"{', '.join(slow)}: too slow to be measured with {records} records")
    return [peer for peer in peers if records <= peer.up_to]
