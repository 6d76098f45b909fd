"""What the training defaults rest on: the same facts learned in several ways.

Every case changes one thing about the defaults: how is trained, or what. Asked, without routing,
are the questions themselves, other wordings by templates that were not trained, and paraphrases
in other words.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from tqdm import tqdm

from benchmarks.report import write
from memkit.answering.prompt import PromptFormat
from memkit.evals.adapter_recall import count_correct, generate_answers, single_adapter_bank
from memkit.evals.company.company import Company, Fact
from memkit.evals.company.vocabulary import UNRELATED
from memkit.evals.measurement import Measurement
from memkit.evals.unstored_records import drafts_of, unstored_records
from memkit.lora.serving.hooks import AdapterLayers
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.lora.training.trainer import Trainers
from memkit.lora.verify import canonical
from memkit.models.language_model import TransformersModel
from memkit.types import Example

FACTS = 16
STAFF = 400  # facts of the company whose extensions are taken

Wordings = Callable[[list[Example]], list[Example]]
Facts = Callable[[int], Sequence[Fact]]  # of a seed


def mixed(seed: int) -> Sequence[Fact]:
    """Facts of all kinds."""
    return Company.generate(seed, FACTS).facts


def extensions(count: int) -> Facts:
    """Four digits each, asked for in the same form: the hardest to keep apart."""

    def of(seed: int) -> Sequence[Fact]:
        facts = Company.generate(seed, STAFF).facts
        return [fact for fact in facts if fact.metadata["kind"] == "extension"][:count]

    return of


@dataclass(frozen=True)
class Case:
    """One way to train."""

    name: str
    lora: LoraSpec = field(default_factory=LoraSpec)
    train: TrainSpec = field(default_factory=TrainSpec)
    wordings: Wordings = lambda examples: examples
    facts: Facts = mixed


def question_only(examples: list[Example]) -> list[Example]:
    """Of every fact the first wording alone; the held-out ones stay."""
    return [*canonical(examples), *(example for example in examples if example.held_out)]


SHORTER = TrainSpec(learning_rate=1e-3, epochs=18)

CASES = (
    Case("quality"),
    Case("upper half", lora=LoraSpec(layers=(0.5, 1.0))),
    Case("lower half", lora=LoraSpec(layers=(0.0, 0.5))),
    Case("MLP only", lora=LoraSpec(target_modules="mlp")),
    Case("attention only", lora=LoraSpec(target_modules="attention")),
    Case("rank 2", lora=LoraSpec(rank=2)),
    Case("rank 16", lora=LoraSpec(rank=16)),
    Case("learning rate 1e-3", train=TrainSpec(learning_rate=1e-3)),
    Case("learning rate 2e-3", train=TrainSpec(learning_rate=2e-3)),
    Case("18 visits", train=TrainSpec(epochs=18)),
    Case("float32", train=TrainSpec(precision="float32")),
    Case("one wording", wordings=question_only),
    Case("no guards", train=TrainSpec(guards=0, batch_size=7)),
    *(Case(f"{n} extensions", facts=extensions(n)) for n in (1, 3, 5, 16)),
    *(
        Case(f"{n} extensions, 18 visits at 1e-3", train=SHORTER, facts=extensions(n))
        for n in (3, 5, 16)
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What one run achieved; shares are of exact answers."""

    exact: float
    reworded: float
    paraphrased: float
    unchanged: float
    steps: int
    cpu_seconds: float


def main(*, seeds: int, json_path: Path | None) -> int:
    """Run every case with every seed and print a table; returns the exit status."""
    bench = Bench(TransformersModel.load())
    runs = [(case, seed) for case in CASES for seed in range(seeds)]
    outcomes: dict[str, list[Outcome]] = {}
    for case, seed in tqdm(runs, desc="training", disable=None):
        outcomes.setdefault(case.name, []).append(bench.run(case, seed))
    measurements = [m for name, runs_ in outcomes.items() for m in _measurements(name, runs_)]
    for measurement in measurements:
        tqdm.write(
            f"{measurement.case:<34}{measurement.metric:<13}{measurement.value:>8.2f} "
            f"({measurement.low:.2f} to {measurement.high:.2f}) {measurement.unit}"
        )
    write("training", measurements, json_path=json_path)
    return 0


class Bench:
    """Trains and asks, on one base model."""

    def __init__(self, base: TransformersModel) -> None:
        self._base = base
        self._layers = AdapterLayers(base.model)
        self._trainers = Trainers()

    def run(self, case: Case, seed: int) -> Outcome:
        """Train one adapter on the facts, and ask it."""
        facts = case.facts(seed)
        examples = TemplateSynthesizer().examples(unstored_records(drafts_of(facts)))
        spec = replace(case.train, seed=seed)
        trainer = self._trainers.get(self._base, self._layers, case.lora, spec, PromptFormat())
        started = time.process_time()
        trained = trainer.fit(case.wordings(examples))
        cpu = time.process_time() - started
        bank = single_adapter_bank(self._base, self._layers, trained.adapter, case.lora)

        def share(pairs: Sequence[tuple[str, str]]) -> float:
            return count_correct(self._base, pairs, bank) / len(pairs)

        unchanged = [
            a == b
            for a, b in zip(generate_answers(self._base, UNRELATED, bank), self._bare, strict=True)
        ]
        return Outcome(
            exact=share([(fact.question, fact.answer) for fact in facts]),
            reworded=share([(e.question, e.answer) for e in examples if e.held_out]),
            paraphrased=share([(p, f.answer) for f in facts for p in f.paraphrases]),
            unchanged=sum(unchanged) / len(unchanged),
            steps=trained.steps,
            cpu_seconds=cpu,
        )

    @cached_property
    def _bare(self) -> list[str]:
        """What the base model itself says to the unrelated prompts, the same for every run."""
        return generate_answers(self._base, UNRELATED, None)


def _measurements(name: str, runs: Sequence[Outcome]) -> list[Measurement]:
    return [
        Measurement.of(name, "exact", [run.exact for run in runs], "share"),
        Measurement.of(name, "reworded", [run.reworded for run in runs], "share"),
        Measurement.of(name, "paraphrased", [run.paraphrased for run in runs], "share"),
        Measurement.of(name, "unchanged", [run.unchanged for run in runs], "share"),
        Measurement.of(name, "steps", [run.steps for run in runs], "steps"),
        Measurement.of(name, "cpu", [run.cpu_seconds for run in runs], "CPU s"),
    ]
