"""Does forgetting, correcting and rolling back hold? Asked of the memory itself, by size."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from memkit.evals.configuration import LifeRun
from memkit.evals.data.phone_book import Entry, drafts_of, invented, phone_book
from memkit.evals.lab import Lab
from memkit.evals.metrics.answer_scores import contains
from memkit.evals.run_records import RunRecord, recorded
from memkit.lora.recipe import Recipe
from memkit.memory.memory import Memory
from memkit.types import Sampling

FORGOTTEN, CORRECTED = 2, 2  # facts
ROWS = 16
BRIEF = Sampling(max_new_tokens=24)


def run_life(point: LifeRun, lab: Lab) -> RunRecord:
    """Teach a memory a phone book, forget some, correct some, and roll a module back.

    - *kept*: entries that are still answered rightly from the weights after all of it.
    - *forgotten*: forgotten numbers that do not come back, from weights or index.
    - *corrected*: corrected entries that are answered with the new number.
    - *rolled_back*: answers from the version before the last that hold no forgotten number; a
      version that held one must not come back.
    """
    entries = invented(point.facts, point.seed)
    started = time.process_time()
    with (
        tempfile.TemporaryDirectory(prefix="memkit-evals-") as folder,
        Memory.open(
            Path(folder) / "memory",
            base_model=lab.base,
            embedder=lab.embedder,
            recipe=_recipe(point),
        ) as memory,
    ):
        scores = _live(memory, entries)
    figures = {"facts": float(point.facts), "cpu_seconds": time.process_time() - started}
    return recorded(point, scores, figures, data=phone_book(entries).digest, base=lab.base.name)


def _live(memory: Memory, entries: Sequence[Entry]) -> dict[str, list[float]]:
    ids = [record.id for record in memory.add(drafts_of(entries))]
    report = memory.consolidate()
    held = set(report.held)
    scores = {"held": [float(id in held) for id in ids], "learned": _right(memory, entries)}
    gone = list(range(FORGOTTEN))
    memory.forget(ids[:FORGOTTEN])
    told = _answers(memory, [entries[place].question for place in gone], budget=256)
    scores["forgotten"] = [
        float(not contains(text, [entries[place].number]))
        for place, text in zip(gone, told, strict=True)
    ]
    changed = list(range(FORGOTTEN, FORGOTTEN + CORRECTED))
    corrected = [
        replace(entries[place], number=f"{place:03d}-555-{place:04d}") for place in changed
    ]
    for place, entry in zip(changed, corrected, strict=True):
        memory.update(ids[place], entry.text, answer=entry.number)
    memory.consolidate()
    scores["corrected"] = _right(memory, corrected)
    rest = entries[FORGOTTEN + CORRECTED :]
    scores["kept"] = _right(memory, rest)
    scores["rolled_back"] = _rolled_back(memory, [entries[place] for place in gone])
    return scores


def _rolled_back(memory: Memory, gone: Sequence[Entry]) -> list[float]:
    """Whether forgotten numbers stay away when modules go back to their earlier versions."""
    for module in memory.modules.list():
        earlier = [version for version in module.versions if version != module.version]
        if earlier:
            memory.modules.rollback(module.name, max(earlier))
    told = _answers(memory, [entry.question for entry in gone], budget=0)
    return [
        float(not contains(text, [entry.number])) for entry, text in zip(gone, told, strict=True)
    ]


def _right(memory: Memory, entries: Sequence[Entry]) -> list[float]:
    told = _answers(memory, [entry.question for entry in entries], budget=0)
    return [float(contains(t, [e.number])) for e, t in zip(entries, told, strict=True)]


def _answers(memory: Memory, questions: Sequence[str], *, budget: int) -> list[str]:
    return [
        answer.text
        for start in range(0, len(questions), ROWS)
        for answer in memory.ask_batch(questions[start : start + ROWS], budget, sampling=BRIEF)
    ]


def _recipe(point: LifeRun) -> Recipe:
    train = replace(point.learning.train(point.seed), guards=1)
    return Recipe(lora=point.learning.lora, train=train, progress=False)
