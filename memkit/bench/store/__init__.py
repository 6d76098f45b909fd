"""`memkit bench store`: what the store costs, keeps and finds, beside other stores."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from memkit.bench.store import adding, durability, peers, residence, searching
from memkit.bench.store.corpus import Corpus
from memkit.report import Measurement, show, write_report

RECORDS = 100_000
PEERS_UP_TO = 100_000  # records; filling the peers with more takes hours
TEXTS = 2000


def main(
    *,
    json_path: Path | None,
    records: int = RECORDS,
    texts: int = TEXTS,
    operations: int = residence.OPERATIONS,
    kills: int = durability.KILLS,
) -> int:
    """Measure and print; returns the exit status: 1 if anything acknowledged was lost.

    Args:
        json_path: Where to write the figures as JSON.
        records: How many records are searched.
        texts: How many texts are embedded to measure what adding costs.
        operations: Of one process whose memory is watched; a tenth of them by each of four.
        kills: How many writers are killed.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        results, overhead = adding.measure(folder, texts)
        kept, held = durability.measure(folder, kills=kills, operations=operations // 10)
        results += kept + residence.mixed(folder / "residence", operations)
        found, ratios = _search(folder, records)
    results += found
    ratios = {"add_overhead": overhead, **ratios}
    show(results, ratios)
    if json_path is not None:
        write_report(json_path, "store", results, ratios)
    return 0 if held else 1


def _search(folder: Path, records: int) -> tuple[list[Measurement], dict[str, float]]:
    corpus = Corpus(records, searching.QUERIES)
    memory, results = searching.fill(corpus, folder / "memkit")
    with memory:
        for name, search in searching.memkit_searches(memory, corpus).items():
            results += searching.measure(f"{name}, {records} records", corpus, search)
    results += residence.opening(folder / "memkit", records)
    names = []
    for peer in _peers(records):
        results += searching.measure_peer(peer, corpus, folder)
        names.append(peer.name)
    return results, searching.ratios(results, records, names)


def _peers(records: int) -> Sequence[peers.Found]:
    found, missing = peers.installed()
    for line in missing:
        tqdm.write(line)
    if records <= PEERS_UP_TO:
        return found
    tqdm.write(f"the peers are measured up to --records {PEERS_UP_TO}")
    return []
