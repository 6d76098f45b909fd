"""Nearest facts against centroids: which one finds the module that holds the answer.

The facts of the invented company are cut into modules in file order, so that modules share no
topic. Asked are the questions themselves and paraphrases in other words; nothing is trained.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memkit.demo.company import Company
from memkit.lora.capacity import RECORDS_PER_MODULE
from memkit.models.embedder import SentenceEmbedder
from memkit.protocols import Embedder
from memkit.report import Measurement, write_report

FACTS = 320


def main(*, seeds: int, json_path: Path | None) -> int:
    """Measure both routers on one company per seed; returns the exit status."""
    embedder = SentenceEmbedder.load()
    runs = [route_company(embedder, Company.generate(seed, FACTS)) for seed in range(seeds)]
    measurements = [
        Measurement.of(router, metric, [run[router, metric] for run in runs], "share")
        for router, metric in runs[0]
    ]
    for m in measurements:
        sys.stdout.write(f"{m.case:<10}{m.metric:<12}{m.value:.3f} ({m.low:.3f} to {m.high:.3f})\n")
    if json_path is not None:
        write_report(json_path, "routing", measurements)
    return 0


def route_company(embedder: Embedder, company: Company) -> dict[tuple[str, str], float]:
    """Top-1 accuracy by router and kind of question."""
    module = np.arange(len(company.facts)) // RECORDS_PER_MODULE
    texts = embedder.encode_document([fact.text for fact in company.facts])  # (n, dim)
    asked = embedder.encode_document([fact.question for fact in company.facts])
    centroids = np.stack([(texts + asked)[module == m].mean(axis=0) for m in np.unique(module)])
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    questions = {
        "questions": [(fact.question, i) for i, fact in enumerate(company.facts)],
        "paraphrases": [(p, i) for i, fact in enumerate(company.facts) for p in fact.paraphrases],
    }
    accuracy = {}
    for kind, pairs in questions.items():
        queries = embedder.encode_query([text for text, _ in pairs])
        truth = module[[i for _, i in pairs]]
        nearest = np.maximum(queries @ texts.T, queries @ asked.T).argmax(axis=1)
        accuracy["nearest", kind] = _share(module[nearest], truth)
        accuracy["centroid", kind] = _share((queries @ centroids.T).argmax(axis=1), truth)
        accuracy["chance", kind] = 1.0 / len(centroids)
    return accuracy


def _share(found: NDArray[np.intp], truth: NDArray[np.intp]) -> float:
    return float(np.mean(found == truth))
