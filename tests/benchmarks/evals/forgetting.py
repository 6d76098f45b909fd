"""What weights know of what was forgotten: exposure of answers before and after.

One module learns facts of an invented company. Asked for, against canaries, are all of them;
facts that it never saw; and, once half of them were forgotten and the module was trained anew,
those that were forgotten.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.evals.unstored import drafts_of

from memkit.cli.demo.company import Company
from memkit.cli.demo.measurement import Measurement, write_report
from memkit.lora.backend import LoraBackend
from memkit.lora.consolidation import exposure as canaries
from memkit.lora.consolidation.consolidate import Recipe
from memkit.lora.spec import TrainSpec
from memkit.memory.memory import Memory
from memkit.models.embedder import SentenceEmbedder
from memkit.models.language_model import TransformersModel
from memkit.types import STANDS_OUT, Exposure, Record

FACTS = 16  # half of them are forgotten
NEVER = 24

Exposures = dict[str, list[Exposure]]


def main(*, seeds: int, json_path: Path | None) -> int:
    """Measure one company per seed; returns the exit status."""
    models = TransformersModel.load(), SentenceEmbedder.load()
    found: Exposures = {}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory(prefix="memkit-eval-") as folder:
            for case, exposures in expose(Path(folder) / "memory", models, seed).items():
                found.setdefault(case, []).extend(exposures)
    measurements = [
        Measurement.of(case, metric, [value(one) for one in exposures], unit)
        for case, exposures in found.items()
        for metric, unit, value in (
            ("ahead", "nats", lambda one: one.ahead),
            ("rank", f"of {canaries.CANARIES + 1}", lambda one: float(one.rank)),
            ("stands out", "share", lambda one: float(one.stands_out)),
        )
    ]
    sys.stdout.write(f"an answer stands out {STANDS_OUT:g} nats ahead of the best canary\n")
    for m in measurements:
        sys.stdout.write(
            f"{m.case:<12}{m.metric:<12}{m.value:>7.1f} ({m.low:.1f} to {m.high:.1f}) {m.unit}, "
            f"{m.n} answers\n"
        )
    if json_path is not None:
        write_report(json_path, "forgetting", measurements)
    return 0


def expose(path: Path, models: tuple[TransformersModel, SentenceEmbedder], seed: int) -> Exposures:
    """Learn, ask, forget half, ask again."""
    company = Company.generate(seed, FACTS + NEVER)
    recipe = Recipe(train=TrainSpec(seed=seed))
    base, embedder = models
    with Memory.open(path, base_model=base, embedder=embedder, recipe=recipe) as memory:
        learned = memory.add(drafts_of(company.facts[:FACTS]))
        memory.consolidate()
        lora = memory._engine.need_lora("eval")
        never = memory.add(drafts_of(company.facts[FACTS:]))
        ids = [record.id for record in learned]
        module = memory.modules()[0]
        before = _ask(lora, recipe, learned[::2], module.name)
        unseen = _ask(lora, recipe, never, module.name)
        receipt = memory.forget(ids[::2])
    return {"remembered": before, "never seen": unseen, "forgotten": list(receipt.exposure)}


def _ask(
    lora: LoraBackend, recipe: Recipe, records: Sequence[Record], module: str
) -> list[Exposure]:
    """Ask a module for the answers of records, whether it was trained on them or not."""
    gone = [record.id for record in records]
    found = [
        canaries.ask(lora, probe, module)
        for record in records
        for probe in canaries.probes_of(lora, recipe.synthesizer, record, [module], gone)
    ]
    return [one for one in found if one is not None]
