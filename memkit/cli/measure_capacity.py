"""How much an adapter on a base model holds: invented facts, at several ranks and loads.

Every point is one adapter, trained with the defaults on a number of facts and then asked without
routing: the trained questions, held-out wordings, and paraphrases. Each point is saved as soon
as it is measured, so that an interrupted run continues where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tqdm import tqdm

from memkit.evals.configuration import CapacityRun
from memkit.evals.measurement import Measurement, write_report
from memkit.evals.run_capacity import capacity_point, run_capacity
from memkit.lora.consolidation.capacity import Point, add_points, fit, load_points, points_file
from memkit.lora.serving.hooks import AdapterLayers
from memkit.models.language_model import TransformersModel

RANKS = (1, 2, 4)
LOADS = (48, 96, 192)


def main(
    *,
    ranks: Sequence[int] = RANKS,
    loads: Sequence[int] = LOADS,
    base: str | None = None,
    placed: Mapping[str, Any] = MappingProxyType({}),
    json_path: Path | None,
) -> int:
    """Measure the missing points of a grid, print all of them and the fitted law.

    Args:
        ranks: Of the adapters.
        loads: Numbers of facts.
        base: Folder or hub id of the base model; None for the default.
        placed: Where it computes, and how; options of `TransformersModel.load`.
        json_path: Where to write the figures as JSON.

    Returns:
        The exit status.
    """
    model = TransformersModel.load(base, **placed)
    file = points_file(model.fingerprint)
    points = measure(model, ranks, loads, file)
    law = fit(points)
    for p in points:
        tqdm.write(
            f"rank {p.rank:<3} {p.facts:>4} facts {p.tokens:>6} tokens   exact {p.exact:.2f}  "
            f"reworded {p.recalled / p.asked:.2f}  paraphrased {p.paraphrased:.2f}  "
            f"{p.cpu_seconds:>6.0f} CPU s"
        )
    tqdm.write(
        f"law of {model.name}: rank r holds {law.scale:.0f} * r ** {law.exponent:.2f} answer "
        f"tokens, {law.most} were tried; saved in {file}"
    )
    if json_path is not None:
        ratios = {"scale": law.scale, "exponent": law.exponent, "most": float(law.most)}
        write_report(json_path, "capacity", _measurements(points), ratios)
    return 0


def measure(
    base: TransformersModel, ranks: Sequence[int], loads: Sequence[int], file: Path
) -> list[Point]:
    """All points of a file, by load and rank, once those of a grid are among them."""
    layers = AdapterLayers.of(base)
    known = {point.case for point in load_points(file)}
    grid = [CapacityRun(rank, facts) for facts in sorted(loads) for rank in sorted(ranks)]
    missing = [run for run in grid if (run.facts, run.rank, run.seed) not in known]
    try:
        for run in tqdm(missing, desc="adapters", disable=None):
            add_points(file, [capacity_point(run_capacity(run, base, layers))])
    finally:
        layers.detach()
    return load_points(file)


def _measurements(points: Sequence[Point]) -> list[Measurement]:
    def figures(p: Point) -> list[tuple[str, float, str]]:
        return [
            ("answer tokens", float(p.tokens), "tokens"),
            ("exact", p.exact, "share"),
            ("reworded", p.recalled / p.asked, "share"),
            ("paraphrased", p.paraphrased, "share"),
            ("training", p.cpu_seconds, "CPU s"),
        ]

    return [
        Measurement.of(f"rank {p.rank}, {p.facts} facts, seed {p.seed}", metric, [value], unit)
        for p in points
        for metric, value, unit in figures(p)
    ]
