"""The study's guidance for one's own documents: every configuration on the same questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from memkit.errors import InvalidInputError
from memkit.evals.configuration import Configuration, Learning, MemoryRun
from memkit.evals.data.dataset import Asked, DataSet, every
from memkit.evals.lab import Lab
from memkit.evals.metrics.bootstrap import Interval, interval, paired
from memkit.evals.run_records import RecordFile, RunRecord
from memkit.evals.schedule import measure
from memkit.evals.writers import sentence_records, write
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.protocols import Synthesizer

PER_MODULE = 16  # lessons; as `consolidate` cuts modules
WEIGHTS = Learning(rank=8)
POOR = 0.2  # quality, below which nothing is learned from a comparison
NO_WORSE = 0.05  # of quality: what a cheaper configuration may lose


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        quality: Mean over the questions: whether a short answer is right, and the word overlap
            (F1) of longer ones.
        prompt_tokens: Of one question, in the mean.
        seconds: Of CPU time for one question.
        training: CPU seconds until it can answer.
        bytes: Of adapters on disk.
        break_even: Number of questions after which training has paid off beside putting
            everything into the prompt; None where nothing is trained, or it never does.
        judged: The mean mark of a judge, from 0 to 1; None without one. Nothing is chosen by it.
    """

    name: str
    quality: Interval
    prompt_tokens: float
    seconds: float
    training: float
    bytes: int
    break_even: float | None
    judged: Interval | None = None


@dataclass(frozen=True)
class Advice:
    """What to do with these documents.

    Attributes:
        choice: The name of a row.
        reason: Why, with the figures.
        in_weights: Documents that weights alone answered rightly, to the last question.
    """

    choice: str
    reason: str
    in_weights: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """What was measured on one's own documents.

    Attributes:
        written: Whether memkit wrote the questions.
    """

    name: str
    documents: int
    questions: int
    written: bool
    rows: tuple[Row, ...]
    advice: Advice
    base: str


def evaluate(
    data: DataSet,
    lab: Lab,
    file: RecordFile,
    *,
    tell: Callable[[str], None],
    asked: int = 100,
    seed: int = 0,
    synthesizer: Synthesizer | None = None,
) -> Evaluation:
    """Measure every configuration on documents.

    Args:
        data: Documents; where there are no questions, memkit writes some.
        lab: Where it is measured.
        file: Takes the records; what is there already is not measured again.
        tell: Is told how it goes.
        asked: The most questions that are asked.
        seed: Of training.
        synthesizer: Writes questions; None for memkit's templates.

    Raises:
        LeakError: If a question is among what would be trained.
        InvalidInputError: If nothing can be asked about the documents.
    """
    written = not data.asked
    if written:
        data = with_questions(data, synthesizer or TemplateSynthesizer())
        tell(f"no questions were given: memkit wrote {len(data.asked)}, from templates")
    lab.add(data)
    cases = configurations(data, asked, seed)
    records = measure(cases.values(), lab, file, tell=tell)
    found = {name: records[point.key] for name, point in cases.items()}
    prompt = found["everything in the prompt"]
    rows = tuple(_row(name, record, prompt) for name, record in found.items())
    questions = every(data.asked, asked)
    advice = advise(rows, {name: r.scores["quality"] for name, r in found.items()}, questions)
    return Evaluation(
        data.name, len(data.documents), len(questions), written, rows, advice, lab.base.name
    )


def configurations(data: DataSet, asked: int, seed: int) -> dict[str, Configuration | MemoryRun]:
    """What is compared, by name."""
    lessons = len(write(data, data.documents, WEIGHTS.forms))
    modules = max(1, min(len(data.documents), ceil(lessons / PER_MODULE)))
    base = Configuration(data.name, len(data.documents), asked=asked)
    single = replace(base, learning=WEIGHTS, seed=seed)
    routed = replace(single, modules=modules, routing="nearest")
    memory = MemoryRun(data.name, len(data.documents), asked=asked, seed=seed)
    return {
        "base model": base,
        "everything in the prompt": replace(base, context="icl"),
        "retrieval": replace(base, context="rag"),
        "one adapter": single,
        "routed adapters": routed,
        "one adapter + retrieval": replace(single, context="rag"),
        "routed adapters + retrieval": replace(routed, context="rag"),
        "routed adapters + everything": replace(routed, context="icl"),
        "Memory.ask, index alone": memory,
        "Memory.ask, weights and index": replace(memory, weights=True),
    }


def with_questions(data: DataSet, synthesizer: Synthesizer) -> DataSet:
    """Documents with questions that memkit wrote: wordings that are held out from training.

    They come from the same templates as what is trained, so they measure recall: the guard lets
    them pass.

    Raises:
        InvalidInputError: If nothing in the documents can be asked for.
    """
    records = sentence_records(data.documents)
    asked: dict[tuple[str, str], Asked] = {}
    for example in synthesizer.examples(records):
        key = example.record_id or "", example.answer
        if example.held_out and key not in asked:
            asked[key] = Asked(example.question, (example.answer,), key[0], trained=True)
    if not asked:
        raise InvalidInputError(
            f"expected sentences that can be asked for in {data.name!r}, found none",
            hint="give questions with their answers",
        )
    return replace(data, asked=tuple(asked.values()))


def advise(
    rows: Sequence[Row], quality: Mapping[str, Sequence[float]], asked: Sequence[Asked]
) -> Advice:
    """Choose the cheapest configuration that is not clearly worse than the best, and say why.

    Without training comes first, then fewer prompt tokens. A configuration counts as worse where
    the whole interval of the paired difference is below 0, or the difference is above
    `NO_WORSE`.

    Args:
        rows: The table.
        quality: By row the score of every question.
        asked: The questions, in the same order.
    """
    best = max(rows, key=lambda row: row.quality.mean)
    if best.quality.mean < POOR:
        return Advice(
            "retrieval",
            f"no configuration answers these questions ({best.name} is the best, at "
            f"{best.quality}); retrieval costs no training, and a larger base model may read what "
            "it finds",
            (),
        )
    good = [row for row in rows if _is_close(quality[row.name], quality[best.name])]
    chosen = min(good, key=lambda row: (row.training > 0, row.prompt_tokens))
    held = _held(quality.get("routed adapters", ()), asked)
    others = f", the best ({best.name}) at {best.quality}" if chosen is not best else ", the best"
    tokens = f"{chosen.prompt_tokens:.0f} prompt tokens a question"
    reason = f"it is at {chosen.quality}{others}, with {tokens}"
    if chosen.training:
        pays = "never" if chosen.break_even is None else f"after {chosen.break_even:.0f} questions"
        reason += f"; training took {chosen.training:.0f} CPU seconds and pays off {pays}"
    elif chosen.name != "base model":
        reason += "; nothing that is trained is clearly better"
    return Advice(chosen.name, reason, held)


def advice_text(evaluation: Evaluation) -> str:
    """The recommendation in a few sentences."""
    advice = evaluation.advice
    text = f"Use {advice.choice}: {advice.reason}."
    kept = len(advice.in_weights)
    if kept:
        text += (
            f" Keep these {kept} of {evaluation.documents} documents in weights if they are asked "
            f"often: {', '.join(advice.in_weights[:10])}{' …' if kept > 10 else ''}. Weights alone "
            "answered all questions about them; leave the rest to retrieval."
        )
    else:
        text += (
            " Weights alone answered no document to the last question: leave all to retrieval, or "
            "give pairs of question and answer to be learned."
        )
    if evaluation.written:
        text += (
            " The questions were written by memkit, from your own sentences: real questions are "
            "harder. Give some to be sure."
        )
    return text


def _is_close(scores: Sequence[float], best: Sequence[float]) -> bool:
    difference = paired([scores], [best])
    return not difference.below_zero and difference.mean >= -NO_WORSE


def _held(quality: Sequence[float], asked: Sequence[Asked]) -> tuple[str, ...]:
    by_document: dict[str, list[float]] = {}
    for score, question in zip(quality, asked, strict=False):
        if question.document:
            by_document.setdefault(question.document, []).append(score)
    return tuple(id for id, scores in by_document.items() if min(scores) >= 1.0)


def _row(name: str, record: RunRecord, prompt: RunRecord) -> Row:
    figures = record.figures
    seconds = figures["cpu_seconds_per_question"]
    training = figures.get("train_cpu_seconds", 0.0)
    marks = record.scores.get("judged")
    saved = prompt.figures["cpu_seconds_per_question"] - seconds
    return Row(
        name=name,
        quality=interval([record.scores["quality"]]),
        prompt_tokens=figures["prompt_tokens"],
        seconds=seconds,
        training=training,
        bytes=int(figures.get("bytes", 0)),
        break_even=training / saved if training and saved > 0 else None,
        judged=None if marks is None else interval([marks]),
    )
