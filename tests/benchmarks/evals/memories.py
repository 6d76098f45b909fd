"""What people ask about what people said: are everyday memories answered in other words?

Each memory comes with questions in clearly other words and the answers that count as right, and
with one question that it does not answer. All memories go into one `Memory`; an answer is right
if an accepted string stands in it on word boundaries. Every stage is asked the same questions,
so that what one stage answers and another does not can be counted in pairs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from benchmarks.evals.data_files import json_files
from benchmarks.evals.unrelated_prompts import UNRELATED
from benchmarks.report import report
from memkit.errors import InvalidInputError
from memkit.evals.company.company import Company
from memkit.evals.measurement import Measurement
from memkit.evals.metrics.answer_scores import contains
from memkit.lora.consolidation.consolidate import Recipe
from memkit.lora.spec import TrainSpec
from memkit.memory.memory import Memory
from memkit.models.embedder import SentenceEmbedder
from memkit.models.language_model import TransformersModel
from memkit.protocols import Embedder
from memkit.types import Answer, ConsolidationReport, Draft

KINDS = ("statement", "qa", "turn", "note")
BATCH = 16  # questions that are answered at once
OFF_TOPIC = tuple(prompt for prompts in UNRELATED.values() for prompt in prompts[:2])


@dataclass(frozen=True)
class Asked:
    """A question in other words, and what counts as its answer."""

    question: str
    accepted: tuple[str, ...]
    place: int  # of its memory

    def is_right(self, answer: str) -> bool:
        """Whether an accepted string stands in an answer on word boundaries."""
        return contains(answer, self.accepted)


@dataclass(frozen=True)
class Remembered:
    """One memory, and what is asked about it."""

    kind: str
    draft: Draft
    asked: tuple[Asked, ...]
    absent: str  # a question that it does not answer


@dataclass(frozen=True)
class Outcome:
    """What the stages of one seed came to; each list is in the order of the questions.

    Attributes:
        found: Place of the right record among the hits, from 1; 0 if it is not among five.
        first: Whether the right record stood first in the evidence of an answer by rag alone.
        same_beside_rag: As `same`, by rag alone.
        right: By stage, which questions were answered rightly.
        strict: Which were shown by a strict answer, and whether that was right.
        withheld: Which absent facts a strict answer withheld.
        same: Which off-topic prompts were answered as the base model answers them.
        held: By memory, whether modules hold it.
        as_stored: Of memories with a question, whether it is answered rightly as it is stored.
        recited: Of the questions and cues that modules were trained on, the share that came back
            when they were verified.
        seconds: Of CPU time that training took.
        company: Which paraphrased questions about an invented company came back, closed book.
    """

    found: list[int]
    first: list[bool]
    same_beside_rag: list[bool]
    right: Mapping[str, list[bool]]
    strict: list[tuple[bool, bool]] = field(default_factory=list)
    withheld: list[bool] = field(default_factory=list)
    same: list[bool] = field(default_factory=list)
    held: list[bool] = field(default_factory=list)
    as_stored: list[bool] = field(default_factory=list)
    recited: float = 0.0
    seconds: float = 0.0
    company: list[bool] = field(default_factory=list)


def main(*, data: Path | None, seeds: int, json_path: Path | None) -> int:
    """Measure every stage on ``data/memories/*.json``; returns the exit status.

    With 0 seeds nothing is trained: search and rag alone are measured.

    Raises:
        InvalidInputError: If there is no data, or it is something else.
    """
    memories = read(data)
    models = TransformersModel.load(), SentenceEmbedder.load()
    alone = without_training(memories, models)
    recipes = [Recipe(train=TrainSpec(seed=seed)) for seed in range(seeds)]
    outcomes = [
        replace(trained(memories, models, recipe, alone), company=company(models, recipe))
        for recipe in recipes
    ] or [alone]
    results, ratios = summarise(memories, outcomes)
    report("memories", results, ratios, json_path=json_path)
    return 0


def read(data: Path | None) -> list[Remembered]:
    """Read the memories of ``data/memories/*.json``, each file a list of them.

    Raises:
        InvalidInputError: If there is none, or a file holds something else.
    """
    memories: list[Remembered] = []
    for file in json_files(data, "memories", "memories"):
        try:
            for entry in json.loads(file.read_text(encoding="utf-8")):
                memories.append(_memory(entry, len(memories)))
        except (ValueError, KeyError, TypeError) as exc:
            raise InvalidInputError(f"{file} does not hold memories: {exc!r}") from exc
    return memories


def without_training(
    memories: Sequence[Remembered], models: tuple[TransformersModel, Embedder]
) -> Outcome:
    """Search for what all questions ask, and answer them by rag alone."""
    base, embedder = models
    asked = [question for memory in memories for question in memory.asked]
    texts = [question.question for question in asked]
    with (
        TemporaryDirectory() as folder,
        Memory.open(folder, backends=["rag"], base_model=base, embedder=embedder) as memory,
    ):
        ids = [record.id for record in memory.add([m.draft for m in memories])]
        hits = [[hit.id for hit in memory.search(text, k=5)] for text in texts]
        rag = _answers(memory, texts)
        alone = _answers(memory, OFF_TOPIC, budget=0)
        beside = _answers(memory, OFF_TOPIC)
    return Outcome(
        found=[_place(ids[q.place], found) for q, found in zip(asked, hits, strict=True)],
        first=[
            [hit.id for hit in answer.recall.hits[:1]] == [ids[q.place]]
            for q, answer in zip(asked, rag, strict=True)
        ],
        same_beside_rag=[a.text == b.text for a, b in zip(alone, beside, strict=True)],
        right={"rag": _right(asked, rag)},
    )


def trained(
    memories: Sequence[Remembered],
    models: tuple[TransformersModel, Embedder],
    recipe: Recipe,
    alone: Outcome,
) -> Outcome:
    """Train all memories, and ask all questions; ``alone`` is the outcome without training."""
    base, embedder = models
    asked = [question for memory in memories for question in memory.asked]
    texts = [question.question for question in asked]
    with (
        TemporaryDirectory() as folder,
        Memory.open(folder, base_model=base, embedder=embedder, recipe=recipe) as memory,
    ):
        ids = [record.id for record in memory.add([m.draft for m in memories])]
        started = time.process_time()
        report = memory.consolidate()
        seconds = time.process_time() - started
        strict = _answers(memory, texts, strict=True)
        closed = _answers(memory, texts, budget=0)
        stored = [m for m in memories if m.draft.question]
        again = _answers(memory, [m.draft.question or "" for m in stored], budget=0)
        absent = _answers(memory, [m.absent for m in memories], strict=True)
        untouched = _answers(memory, OFF_TOPIC, budget=0, modules=[])
        beside = _answers(memory, OFF_TOPIC)
    both = [
        question.is_right(_told(answer)) for question, answer in zip(asked, strict, strict=True)
    ]
    stages = {"closed_book": _right(asked, closed), "both": both}
    return replace(
        alone,
        right={**alone.right, **stages},
        strict=[
            (answer.withheld is None, question.is_right(answer.text))
            for question, answer in zip(asked, strict, strict=True)
        ],
        withheld=[answer.withheld is not None for answer in absent],
        same=[a.text == b.text for a, b in zip(untouched, beside, strict=True)],
        held=[id in report.held for id in ids],
        recited=_recited(report),
        as_stored=[
            contains(answer.text, [m.draft.answer or ""])
            for m, answer in zip(stored, again, strict=True)
        ],
        seconds=seconds,
    )


def company(models: tuple[TransformersModel, Embedder], recipe: Recipe) -> list[bool]:
    """Train the demo's company, and ask its directory's paraphrases; whether each came back."""
    base, embedder = models
    invented = Company.generate(0, 36)
    asked = [(p, fact.answer) for fact in invented.facts for p in fact.paraphrases]
    with (
        TemporaryDirectory() as folder,
        Memory.open(folder, base_model=base, embedder=embedder, recipe=recipe) as memory,
    ):
        memory.add([Draft(fact.text, fact.question, fact.answer) for fact in invented.facts])
        memory.consolidate()
        answers = _answers(memory, [question for question, _ in asked], budget=0)
    return [contains(a.text, [answer]) for a, (_, answer) in zip(answers, asked, strict=True)]


def summarise(
    memories: Sequence[Remembered], outcomes: Sequence[Outcome]
) -> tuple[list[Measurement], dict[str, float]]:
    """Shares with their intervals, of all seeds together, and the figures that are quoted."""
    kinds = [memory.kind for memory in memories for _ in memory.asked]
    results: list[Measurement] = []
    ratios: dict[str, float] = {}

    def share(name: str, hits: Sequence[bool]) -> None:
        if not hits:  # nothing was trained
            return
        results.append(Measurement.of_share("memories", name, sum(hits), len(hits)))
        ratios[name] = results[-1].value

    def pooled(stage: str, kind: str = "", among: Sequence[Outcome] = outcomes) -> list[bool]:
        return [
            right
            for outcome in among
            if stage in outcome.right
            for right, its_kind in zip(outcome.right[stage], kinds, strict=True)
            if kind in {"", its_kind}
        ]

    alone = outcomes[0]  # without training, every seed has the same outcome
    for k in (1, 5):
        share(f"search_at_{k}", [1 <= place <= k for place in alone.found])
    share("evidence_at_1", alone.first)
    for stage in ("closed_book", "rag", "both"):
        among = outcomes[:1] if stage == "rag" else outcomes
        for kind in ("", *KINDS):
            share(f"{stage}_{kind}".rstrip("_"), pooled(stage, kind, among))
    before, after = (pooled("rag"), pooled("both")) if alone.held else ([], [])
    share("both_lost", [now is False for was, now in zip(before, after, strict=True) if was])
    share("held", [held for o in outcomes for held in o.held])
    share("company_paraphrases", [right for o in outcomes for right in o.company])
    share("closed_book_as_stored", [right for o in outcomes for right in o.as_stored])
    share("absent_withheld_strict", [withheld for o in outcomes for withheld in o.withheld])
    strict = [pair for o in outcomes for pair in o.strict]
    shown = [shown for (shown, _), right in zip(strict, pooled("both"), strict=True) if right]
    share("strict_shown_right", shown)
    share("strict_shown_wrong", [not right for shown, right in strict if shown])
    share("off_topic_same_as_base", [same for o in outcomes for same in o.same])
    share("off_topic_same_as_base_rag", alone.same_beside_rag)
    recited = [outcome.recited for outcome in outcomes if outcome.held]
    if recited:
        results.append(Measurement.of("memories", "recited", recited, "share"))
        ratios["recited"] = fmean(recited)
    per_fact = [outcome.seconds / len(memories) for outcome in outcomes if outcome.held]
    if not per_fact:
        return results, ratios
    results.append(Measurement.of("memories", "train_seconds_per_fact", per_fact, "s"))
    ratios["train_seconds_per_fact"] = fmean(per_fact)
    return results, ratios


def _memory(entry: Mapping[str, Any], place: int) -> Remembered:
    if entry["kind"] not in KINDS:
        raise ValueError(f"expected one of {KINDS}, got {entry['kind']!r}")
    asked = tuple(Asked(q["q"], tuple(q["accept"]), place) for q in entry["asked"])
    draft = Draft(entry["text"], entry["question"], entry["answer"])
    return Remembered(entry["kind"], draft, asked, entry["absent"])


def _answers(memory: Memory, questions: Sequence[str], **options: Any) -> list[Answer]:
    batches = tqdm(list(_batches(questions)), desc=f"asking {options}", unit="batch")
    return [answer for batch in batches for answer in memory.ask_batch(batch, **options)]


def _told(answer: Answer) -> str:
    """What an answer says, or would say if it were not strict."""
    return answer.text or "\n".join(claim.text for claim in answer.claims)


def _batches(questions: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(questions), BATCH):
        yield questions[start : start + BATCH]


def _recited(report: ConsolidationReport) -> float:
    """The mean recall of modules by the records that they were trained on."""
    sizes = [len(module.held) + len(module.missed) for module in report.modules]
    recalled = [size * m.recall for size, m in zip(sizes, report.modules, strict=True)]
    return sum(recalled) / sum(sizes)


def _place(id: str, found: Sequence[str]) -> int:
    return found.index(id) + 1 if id in found else 0


def _right(asked: Sequence[Asked], answers: Sequence[Answer]) -> list[bool]:
    return [q.is_right(answer.text) for q, answer in zip(asked, answers, strict=True)]
