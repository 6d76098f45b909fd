"""What one adapter holds of an invented company, when it is trained as `consolidate` does."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence

from memkit.answering.prompt import PromptFormat
from memkit.evals.adapter_recall import are_correct, single_adapter_bank
from memkit.evals.company.company import Company
from memkit.evals.configuration import CapacityRun
from memkit.evals.run_records import RunRecord, recorded
from memkit.evals.unstored_records import drafts_of, unstored_records
from memkit.lora.consolidation.capacity import Point
from memkit.lora.consolidation.fit_context import answer_tokens
from memkit.lora.serving.hooks import AdapterLayers
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.lora.training.trainer import Trainers
from memkit.models.language_model import TransformersModel

SAMPLE = 24  # facts that are asked for, at equal distances from the first on


def run_capacity(run: CapacityRun, base: TransformersModel, layers: AdapterLayers) -> RunRecord:
    """Train one adapter on facts, and ask it without routing.

    Asked are the trained questions (*exact*), held-out wordings (*reworded*), and paraphrases in
    other words (*paraphrased*), each of a sample of the facts.
    """
    company = Company.generate(seed=run.seed, facts=run.facts)
    examples = TemplateSynthesizer().examples(unstored_records(drafts_of(company.facts)))
    spec = LoraSpec(rank=run.rank)
    trainer = Trainers().get(base, layers, spec, TrainSpec(seed=run.seed), PromptFormat())
    started = time.process_time()
    trained = trainer.fit(examples)
    seconds = time.process_time() - started
    bank = single_adapter_bank(base, layers, trained.adapter, spec)
    asked = {str(number): company.facts[number] for number in sample(run.facts)}
    questions = {
        "exact": [(fact.question, fact.answer) for fact in asked.values()],
        "reworded": [
            (e.question, e.answer) for e in examples if e.held_out and e.record_id in asked
        ],
        "paraphrased": [(p, fact.answer) for fact in asked.values() for p in fact.paraphrases],
    }
    scores = {
        name: [float(right) for right in are_correct(base, pairs, bank)]
        for name, pairs in questions.items()
    }
    digest = hashlib.sha256(json.dumps(list(questions.values())).encode()).hexdigest()
    figures = {
        "answer_tokens": float(answer_tokens(base, examples).total()),
        "train_cpu_seconds": seconds,
    }
    return recorded(run, scores, figures, data=digest, base=base.name)


def capacity_point(record: RunRecord) -> Point:
    """A record of such a run, as the law of capacity is fitted to it."""
    reworded = record.scores["reworded"]
    return Point(
        rank=int(record.point["rank"]),
        facts=int(record.point["facts"]),
        tokens=int(record.figures["answer_tokens"]),
        asked=len(reworded),
        recalled=int(sum(reworded)),
        exact=record.mean("exact"),
        paraphrased=record.mean("paraphrased"),
        cpu_seconds=record.figures["train_cpu_seconds"],
        seed=record.seed,
    )


def sample(facts: int) -> Sequence[int]:
    """Numbers of the facts that are asked for."""
    size = min(facts, SAMPLE)
    return [i * facts // size for i in range(size)]
