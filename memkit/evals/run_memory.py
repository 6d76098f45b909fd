"""What users of a memory get: `Memory.ask` with its defaults, on the documents of a data set."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from memkit.evals.asking import Answers, Told
from memkit.evals.configuration import MemoryRun
from memkit.evals.data.dataset import Asked, DataSet, every
from memkit.evals.lab import Lab
from memkit.evals.leakage import held_back
from memkit.evals.lessons import Lesson
from memkit.evals.run_records import RunRecord, recorded
from memkit.evals.scored_answers import asking_figures, scores_of
from memkit.files import files_below, size_of
from memkit.lora.recipe import Recipe
from memkit.lora.spec import TrainSpec
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.memory.memory import Memory
from memkit.types import Answer, Draft, Example, Record

ROWS = 8  # questions that are asked at once


class HeldBack:
    """memkit's templates without the questions that are asked in the end; a `Synthesizer`.

    Args:
        asked: The evaluation questions.
    """

    def __init__(self, asked: Sequence[Asked]) -> None:
        self._asked = asked
        self._writer = TemplateSynthesizer()
        questions = "\n".join(question.question for question in asked)
        digest = hashlib.sha256(questions.encode()).hexdigest()[:12]
        self.key = f"{self._writer.key} without {digest}"

    def examples(self, records: Sequence[Record]) -> list[Example]:
        """See `memkit.protocols.Synthesizer.examples`."""
        return [e for e in self._writer.examples(records) if not self._gives_away(e)]

    def _gives_away(self, example: Example) -> bool:
        lesson = Lesson(example.record_id or "", example.answer, (example.question,))
        return not held_back([lesson], self._asked)


def run_memory(point: MemoryRun, lab: Lab) -> RunRecord:
    """Put the documents of a data set into a memory, train it if that is wanted, and ask."""
    data = lab.data_set(point.data, point.size)
    asked = every(data.asked, point.asked)
    recipe = Recipe(
        train=TrainSpec(seed=point.seed), synthesizer=HeldBack(data.asked), progress=False
    )
    with (
        tempfile.TemporaryDirectory(prefix="memkit-evals-") as folder,
        Memory.open(
            Path(folder, "memory"), base_model=lab.base, embedder=lab.embedder, recipe=recipe
        ) as memory,
    ):
        drafts = list(_drafts(data))
        added = memory.add([draft for _, draft in drafts])
        documents = {record.id: id for (id, _), record in zip(drafts, added, strict=True)}
        started, held = time.process_time(), 0
        if point.weights:
            held = len(memory.consolidate().held)
        training = time.process_time() - started
        answers = _ask(memory, asked, documents)
        figures = asking_figures(asked, answers) | {
            "documents": float(len(data.documents)),
            "held": float(held),
            "train_cpu_seconds": training if point.weights else 0.0,
            "bytes": float(sum(map(size_of, files_below(Path(folder, "memory", "adapters"))))),
        }
    scores = scores_of(asked, answers, lab.judge)
    return recorded(point, scores, figures, data=data.digest, base=lab.base.name)


def _drafts(data: DataSet) -> Iterator[tuple[str, Draft]]:
    """Documents, then the pairs that are given to be learned, each with its document's id."""
    for document in data.documents:
        yield document.id, Draft(document.text)
    for pair in data.pairs:
        text = f"{pair.question} {pair.answer}"
        yield pair.document, Draft(text, pair.question, pair.answer)


def _ask(memory: Memory, asked: Sequence[Asked], documents: dict[str, str]) -> Answers:
    cpu, wall = time.process_time(), time.perf_counter()
    told = [
        _told(answer, documents)
        for start in range(0, len(asked), ROWS)
        for answer in memory.ask_batch([a.question for a in asked[start : start + ROWS]])
    ]
    return Answers(tuple(told), time.process_time() - cpu, time.perf_counter() - wall)


def _told(answer: Answer, documents: dict[str, str]) -> Told:
    """Of an answer that quotes what was found, the evidence counts as the prompt."""
    tokens = max(answer.prompt_tokens, answer.recall.tokens)
    evidence = dict.fromkeys(documents[hit.id] for hit in answer.recall.hits)
    return Told(answer.text, tokens, tuple(evidence))
