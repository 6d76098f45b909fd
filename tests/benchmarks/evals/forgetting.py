"""What weights reveal of forgotten facts: exposure of their answers before and after.

One module is trained on facts of an invented company. Exposure is measured against canaries: of
trained facts, of facts that the module never saw, and of facts that were forgotten after
training, once the module was retrained without them.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import write
from memkit.evals.company.company import Company
from memkit.evals.measurement import Measurement
from memkit.evals.unstored_records import drafts_of
from memkit.lora.consolidation.consolidate import Recipe
from memkit.lora.consolidation.examples import make_missing
from memkit.lora.consolidation.exposure import ALTERNATIVES, ask, probes_of
from memkit.lora.lora_backend import LoraBackend
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
    exposures_by_case: Exposures = {}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory(prefix="memkit-eval-") as folder:
            for case, exposures in expose(Path(folder) / "memory", models, seed).items():
                exposures_by_case.setdefault(case, []).extend(exposures)
    measurements = [
        Measurement.of(case, metric, [value(exposure) for exposure in exposures], unit)
        for case, exposures in exposures_by_case.items()
        for metric, unit, value in (
            ("ahead", "nats", lambda exposure: exposure.ahead),
            ("rank", f"of {ALTERNATIVES + 1}", lambda exposure: float(exposure.rank)),
            ("stands out", "share", lambda exposure: float(exposure.stands_out)),
        )
    ]
    sys.stdout.write(f"an answer stands out {STANDS_OUT:g} nats ahead of the best canary\n")
    for m in measurements:
        sys.stdout.write(
            f"{m.case:<12}{m.metric:<12}{m.value:>7.1f} ({m.low:.1f} to {m.high:.1f}) {m.unit}, "
            f"{m.n} answers\n"
        )
    write("forgetting", measurements, json_path=json_path)
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
        module = memory.modules.list()[0]
        make_missing(lora.ledger, recipe.synthesizer, never)
        before = _ask(lora, learned[::2], module.name)
        unseen = _ask(lora, never, module.name)
        receipt = memory.forget(ids[::2])
    return {"remembered": before, "never seen": unseen, "forgotten": list(receipt.exposure)}


def _ask(lora: LoraBackend, records: Sequence[Record], module: str) -> list[Exposure]:
    """Ask a module for the answers of records, whether it was trained on them or not."""
    ids = [record.id for record in records]
    exposures = [
        ask(lora, probe, module)
        for record in records
        for probe in probes_of(lora, record, [module], ids)
    ]
    return [exposure for exposure in exposures if exposure is not None]
