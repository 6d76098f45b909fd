"""`memkit bench store`: what the store costs, keeps and finds, beside other stores."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.store import adding, durability, peers, residence, searching
from benchmarks.store.corpus import Corpus
from tqdm import tqdm

from memkit.cli.demo.measurement import Measurement, show, write_report

RECORDS = (100_000, 1_000_000)
TEXTS = 2000


def main(
    *,
    json_path: Path | None,
    records: Sequence[int] = RECORDS,
    texts: int = TEXTS,
    operations: int = residence.OPERATIONS,
    kills: int = durability.KILLS,
) -> int:
    """Measure and print; returns the exit status: 1 if anything acknowledged was lost.

    Args:
        json_path: Where to write the figures as JSON, as soon as there are any.
        records: Among how many records to search.
        texts: How many texts are embedded to measure what adding costs.
        operations: Of one process whose memory is watched; a tenth of them by each of four.
        kills: How many writers are killed.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        results, overhead = adding.measure(folder, texts)
        kept, held = durability.measure(folder, kills=kills, operations=operations // 10)
        results += kept + residence.mixed(folder / "residence", operations)
        ratios = {"add_overhead": overhead}
        for size in records:
            for found, compared in _search(folder / str(size), size):
                results += found
                # The keys are those of the first size; of others they name it.
                ratios |= {
                    key if size == records[0] else f"{key}_{size}": value
                    for key, value in compared.items()
                }
                if json_path is not None:
                    write_report(json_path, "store", results, ratios)
    show(results, ratios)
    return 0 if held else 1


def _search(folder: Path, records: int) -> Iterator[tuple[list[Measurement], dict[str, float]]]:
    """Search memkit, then each peer."""
    folder.mkdir()
    corpus = Corpus(records, searching.QUERIES)
    memory, own = searching.fill(corpus, folder / "memkit")
    with memory:
        searches = searching.memkit_searches(memory, corpus)
        for name, search in searches.items():
            own += searching.measure(f"{name}, {records} records", corpus, search)
        own.append(searching.after_a_write(memory, corpus))
        own += residence.opening(folder / "memkit", records)
        yield own, searching.recall(own, records)
        for peer in _peers(records):
            yield searching.measure_peer(peer, corpus, folder, searches["memkit"])
    shutil.rmtree(folder)


def _peers(records: int) -> Sequence[peers.Found]:
    found, missing = peers.installed()
    for line in missing:
        tqdm.write(line)
    slow = [peer.name for peer in found if peer.up_to < records]
    if slow:
        tqdm.write(f"{', '.join(slow)}: too slow to be measured with {records} records")
    return [peer for peer in found if records <= peer.up_to]
