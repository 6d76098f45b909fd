"""Measuring one point: from a configuration to a record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from memkit.answering.prompt import Assembled, PromptFormat
from memkit.evals.asking import Chosen, ask
from memkit.evals.configuration import (
    CapacityRun,
    Configuration,
    EditRun,
    LifeRun,
    MemoryRun,
    Point,
)
from memkit.evals.data.dataset import Asked, DataSet, every
from memkit.evals.general_ability import perplexity, unrelated_answers
from memkit.evals.knowledge import evidence_text
from memkit.evals.lab import Lab
from memkit.evals.metrics.answer_scores import recall_at
from memkit.evals.mixtures_of_modules import ModuleMixer
from memkit.evals.run_capacity import run_capacity
from memkit.evals.run_edits import run_edits
from memkit.evals.run_life import run_life
from memkit.evals.run_memory import run_memory
from memkit.evals.run_records import RunRecord, recorded
from memkit.evals.scored_answers import Figures, asking_figures, scores_of
from memkit.evals.trained_modules import TrainedModule

BESIDE = 224  # tokens that are kept for the question, its answer and the chat format

Place = Callable[[Sequence[Sequence[str]]], AbstractContextManager[object]]


def run(point: Point, lab: Lab) -> RunRecord:
    """Measure one point.

    Raises:
        MemkitError: If data is missing or leaks, or evidence is not where it has to be.
    """
    match point:
        case Configuration():
            return run_answers(point, lab)
        case EditRun():
            return run_edits(point, lab)
        case LifeRun():
            return run_life(point, lab)
        case MemoryRun():
            return run_memory(point, lab)
        case CapacityRun():
            return run_capacity(point, lab.base, lab.layers)


def run_answers(configuration: Configuration, lab: Lab) -> RunRecord:
    """Learn what a configuration says, and ask the questions of its data set."""
    data = lab.data_set(configuration.data, configuration.size)
    modules: dict[str, TrainedModule] = {}
    placed: dict[str, str] = {}
    if configuration.learning is not None:
        modules, placed = lab.modules(configuration, data)
    asked = _asked(configuration, data, placed)
    routes = _routes(configuration, lab, data, asked, placed)
    place = _placing(configuration, lab, modules)
    answers = ask(
        lab.base,
        asked,
        [_evidence(configuration, lab, data, question) for question in asked],
        routes,
        place,
        rows=configuration.way == "rows" and configuration.top > 1,
    )
    scores = scores_of(asked, answers, lab.judge)
    if modules:
        scores["routed"] = [
            float(_is_routed(names, placed.get(question.document)))
            for names, question in zip(routes, asked, strict=True)
        ]
    figures = asking_figures(asked, answers) | _of_modules(modules, data)
    figures["budget"] = float(_budget(configuration, lab))
    if len(modules) == 1:
        figures |= _side_effects(lab, place, next(iter(modules)))
    return recorded(configuration, scores, figures, data=data.digest, base=lab.base.name)


def _asked(configuration: Configuration, data: DataSet, placed: dict[str, str]) -> list[Asked]:
    asked = list(data.asked)
    if configuration.routing == "fixed":
        first = _first(configuration)
        asked = [question for question in asked if placed.get(question.document) in first]
    return every(asked, configuration.asked)


def _first(configuration: Configuration) -> list[str]:
    return [f"m{number}" for number in range(configuration.top)]


def _routes(
    configuration: Configuration,
    lab: Lab,
    data: DataSet,
    asked: Sequence[Asked],
    placed: dict[str, str],
) -> Chosen:
    questions = [question.question for question in asked]
    if not placed:
        return [[] for _ in asked]
    match configuration.routing:
        case "fixed":
            return [_first(configuration) for _ in asked]
        case "oracle":
            return [_holders(placed, question.document) for question in asked]
        case "nearest":
            return lab.knowledge(data).nearest(questions, placed, configuration.top)
        case "centroid":
            return lab.knowledge(data).centroid(questions, placed, configuration.top)


def _holders(placed: dict[str, str], document: str) -> list[str]:
    """The module that learned a document; the only one there is for what no document answers."""
    names = set(placed.values())
    return sorted(names) if len(names) == 1 else [placed[document]] if document in placed else []


def _is_routed(names: Sequence[str], right: str | None) -> bool:
    """Whether the right module is asked, or none where no module is right."""
    return recall_at(names, right) if right is not None else not names


def _placing(configuration: Configuration, lab: Lab, modules: dict[str, TrainedModule]) -> Place:
    if not modules:
        return lambda _: nullcontext()
    adapters = {name: module.adapter for name, module in modules.items()}
    mixer = ModuleMixer(lab.base, lab.layers, adapters, configuration.way, configuration.seed)
    return mixer.place


def _evidence(configuration: Configuration, lab: Lab, data: DataSet, question: Asked) -> Assembled:
    if configuration.context == "none":
        return Assembled()
    knowledge = lab.knowledge(data)
    found = (
        knowledge.retrieved(question.question)
        if configuration.context == "rag"
        else knowledge.everything()
    )
    return evidence_text(lab.base, found, _budget(configuration, lab), PromptFormat())


def _budget(configuration: Configuration, lab: Lab) -> int:
    """The tokens of evidence: no more than the base model can read beside question and answer."""
    context = lab.base.context
    if context is None:
        return configuration.budget
    return max(0, min(configuration.budget, context - BESIDE))


def _of_modules(modules: dict[str, TrainedModule], data: DataSet) -> Figures:
    trainings = [module.training for module in modules.values()]
    if not trainings:
        return {"documents": float(len(data.documents)), "train_cpu_seconds": 0.0}
    return {
        "documents": float(len(data.documents)),
        "parameters": float(sum(t.parameters for t in trainings)),
        "bytes": float(sum(module.bytes for module in modules.values())),
        "lessons": float(sum(t.lessons for t in trainings)),
        "trained_tokens": float(sum(t.tokens for t in trainings)),
        "steps": float(sum(t.steps for t in trainings)),
        "mastered": sum(t.mastered for t in trainings) / len(trainings),
        "loss": sum(t.loss for t in trainings) / len(trainings),
        "train_cpu_seconds": sum(t.cpu_seconds for t in trainings),
        "train_wall_seconds": sum(t.wall_seconds for t in trainings),
    }


def _side_effects(lab: Lab, place: Place, name: str) -> Figures:
    def adapters(rows: int, names: Sequence[str]) -> AbstractContextManager[object]:
        return place([names] * rows)

    on, off = partial(adapters, names=[name]), partial(adapters, names=[])
    before, after = unrelated_answers(lab.base, off), unrelated_answers(lab.base, on)
    same = [a == b for a, b in zip(before, after, strict=True)]
    return {
        "perplexity": perplexity(lab.base, on),
        "perplexity_base": perplexity(lab.base, off),
        "unrelated_same": sum(same) / len(same),
    }
