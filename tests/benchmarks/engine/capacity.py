"""How much an adapter holds: facts of an invented company, learned at several ranks and loads.

Every point is one adapter, trained with the defaults on so many facts and then asked without
routing: the trained questions, held-out wordings, and paraphrases in other words. Points are
kept as they come, so that a run that is interrupted goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.evals.asking import bank_of, right
from benchmarks.evals.unstored import drafts_of, unstored
from tqdm import tqdm

from memkit.cli.demo.company import Company
from memkit.cli.demo.measurement import Measurement, write_report
from memkit.lora.consolidation.capacity import Point, fit, load_points, points_file, save_points
from memkit.lora.consolidation.fit_context import answer_tokens
from memkit.lora.serving.hooks import AdapterLayers
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.lora.training.trainer import Trainers
from memkit.models.language_model import TransformersModel

RANKS = (1, 2, 4)
LOADS = (48, 96, 192)
ASKED = 24  # facts that are asked, evenly from all of them


def main(
    *,
    ranks: Sequence[int] = RANKS,
    loads: Sequence[int] = LOADS,
    base: str | None = None,
    json_path: Path | None,
) -> int:
    """Measure what is missing of a grid, print all of it and the law; returns the exit status.

    Args:
        ranks: Ranks of the adapters.
        loads: Numbers of facts.
        base: Folder or hub id of the base model; None for the default.
        json_path: Where to write the figures as JSON.
    """
    model = TransformersModel.load(base)
    kept = points_file(model.fingerprint)
    points = measure(model, ranks, loads, kept)
    law = fit(points)
    for p in points:
        tqdm.write(
            f"rank {p.rank:<3} {p.facts:>4} facts {p.tokens:>6} tokens   exact {p.exact:.2f}  "
            f"reworded {p.recalled / p.asked:.2f}  paraphrased {p.paraphrased:.2f}  "
            f"{p.cpu_seconds:>6.0f} CPU s"
        )
    tqdm.write(
        f"law of {model.name}: rank r holds {law.scale:.0f} * r ** {law.exponent:.2f} answer "
        f"tokens, {law.most} were tried; kept in {kept}"
    )
    if json_path is not None:
        found = {"scale": law.scale, "exponent": law.exponent, "most": float(law.most)}
        write_report(json_path, "capacity", _measurements(points), found)
    return 0


def measure(
    base: TransformersModel, ranks: Sequence[int], loads: Sequence[int], kept: Path
) -> list[Point]:
    """All points of a grid, by load and rank; those in the file are not measured again."""
    layers = AdapterLayers(base.model)
    points = {(p.facts, p.rank): p for p in load_points(kept)}
    missing = [(n, r) for n in sorted(loads) for r in sorted(ranks) if (n, r) not in points]
    try:
        for facts, rank in tqdm(missing, desc="adapters", disable=None):
            points[facts, rank] = _point(base, layers, rank, facts)
            save_points(kept, [points[key] for key in sorted(points)])
    finally:
        layers.detach()
    return [points[key] for key in sorted(points)]


def _point(base: TransformersModel, layers: AdapterLayers, rank: int, facts: int) -> Point:
    company = Company.generate(seed=0, facts=facts)
    examples = TemplateSynthesizer().examples(unstored(drafts_of(company.facts)))
    spec = LoraSpec(rank=rank)
    trainer = Trainers().get(base, layers, spec, TrainSpec())
    started = time.process_time()
    trained = trainer.fit(examples)
    seconds = time.process_time() - started
    bank = bank_of(base, layers, trained.adapter, spec)
    chosen = {str(number): company.facts[number] for number in _spread(facts)}
    reworded = [(e.question, e.answer) for e in examples if e.held_out and e.record_id in chosen]
    paraphrases = [(p, fact.answer) for fact in chosen.values() for p in fact.paraphrases]
    questions = [(fact.question, fact.answer) for fact in chosen.values()]
    return Point(
        rank=rank,
        facts=facts,
        tokens=answer_tokens(base, examples).total(),
        asked=len(reworded),
        recalled=right(base, reworded, bank),
        exact=right(base, questions, bank) / len(questions),
        paraphrased=right(base, paraphrases, bank) / len(paraphrases),
        cpu_seconds=seconds,
    )


def _spread(facts: int) -> list[int]:
    """Numbers of the facts that are asked: of many a sample, evenly from all of them."""
    some = min(facts, ASKED)
    return [i * facts // some for i in range(some)]


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
        Measurement.of(f"rank {p.rank}, {p.facts} facts", metric, [value], unit)
        for p in points
        for metric, value, unit in figures(p)
    ]
