"""How much an adapter on a base model holds: invented facts, at several ranks and loads.

Every point is one adapter, trained with the defaults on a number of facts and then asked without
routing: the trained questions, held-out wordings, and paraphrases. Each point is saved as soon
as it is measured, so that an interrupted run continues where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from memkit.answering.prompt import PromptFormat
from memkit.evals.adapter_recall import count_correct, single_adapter_bank
from memkit.evals.company.company import Company
from memkit.evals.measurement import Measurement, write_report
from memkit.evals.unstored_records import drafts_of, unstored_records
from memkit.lora.consolidation.capacity import Point, fit, load_points, points_file, save_points
from memkit.lora.consolidation.fit_context import answer_tokens
from memkit.lora.serving.hooks import AdapterLayers
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.lora.training.trainer import Trainers
from memkit.models.language_model import TransformersModel

RANKS = (1, 2, 4)
LOADS = (48, 96, 192)
SAMPLE = 24  # facts that are asked for, at equal distances from the first on


def main(
    *,
    ranks: Sequence[int] = RANKS,
    loads: Sequence[int] = LOADS,
    base: str | None = None,
    json_path: Path | None,
) -> int:
    """Measure the missing points of a grid, print all of them and the fitted law.

    Args:
        ranks: Of the adapters.
        loads: Numbers of facts.
        base: Folder or hub id of the base model; None for the default.
        json_path: Where to write the figures as JSON.

    Returns:
        The exit status.
    """
    model = TransformersModel.load(base)
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
    """All points of a grid, by load and rank; the file's points are not measured again."""
    layers = AdapterLayers.of(base)
    points = {(p.facts, p.rank): p for p in load_points(file)}
    missing = [(n, r) for n in sorted(loads) for r in sorted(ranks) if (n, r) not in points]
    try:
        for facts, rank in tqdm(missing, desc="adapters", disable=None):
            points[facts, rank] = _point(base, layers, rank, facts)
            save_points(file, [points[key] for key in sorted(points)])
    finally:
        layers.detach()
    return [points[key] for key in sorted(points)]


def _point(base: TransformersModel, layers: AdapterLayers, rank: int, facts: int) -> Point:
    company = Company.generate(seed=0, facts=facts)
    examples = TemplateSynthesizer().examples(unstored_records(drafts_of(company.facts)))
    spec = LoraSpec(rank=rank)
    trainer = Trainers().get(base, layers, spec, TrainSpec(), PromptFormat())
    started = time.process_time()
    trained = trainer.fit(examples)
    seconds = time.process_time() - started
    bank = single_adapter_bank(base, layers, trained.adapter, spec)
    asked = {str(number): company.facts[number] for number in _sample(facts)}
    reworded = [(e.question, e.answer) for e in examples if e.held_out and e.record_id in asked]
    paraphrases = [(p, fact.answer) for fact in asked.values() for p in fact.paraphrases]
    questions = [(fact.question, fact.answer) for fact in asked.values()]
    return Point(
        rank=rank,
        facts=facts,
        tokens=answer_tokens(base, examples).total(),
        asked=len(reworded),
        recalled=count_correct(base, reworded, bank),
        exact=count_correct(base, questions, bank) / len(questions),
        paraphrased=count_correct(base, paraphrases, bank) / len(paraphrases),
        cpu_seconds=seconds,
    )


def _sample(facts: int) -> list[int]:
    """Numbers of the facts that are asked for."""
    size = min(facts, SAMPLE)
    return [i * facts // size for i in range(size)]


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
