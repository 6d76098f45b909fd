"""Many modules against the oracle, and questions that need facts of two or three of them.

A phone book is cut into modules in file order, so that modules share no topic. Asked
with nothing in the prompt are every entry, through the router and of the right module, and
questions for the numbers of two and of three people whose entries different modules hold: both
through the router, and with the parts of the question given.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from benchmarks.evals.trained_memory import parts_of, trained_memory
from benchmarks.report import report
from memkit.answering.grounding import agree
from memkit.evals.data.phone_book import OTHER_WORDINGS, Entry, drafts_of, entries_of
from memkit.evals.measurement import Measurement
from memkit.lora.consolidation.consolidate import Recipe
from memkit.lora.spec import TrainSpec
from memkit.lora.verify import same_answer
from memkit.memory.memory import Memory
from memkit.models.embedder import SentenceEmbedder
from memkit.models.language_model import TransformersModel
from memkit.types import Answer, Part, Recall, Record, Route, Sampling

FACTS = 387
PER_MODULE = 49  # at most
ASKED = {2: 100, 3: 60}  # questions that need so many modules
BRIEF = Sampling(max_new_tokens=24)
BATCH = 24
SEVERAL = {
    2: (
        "What are the phone numbers of {} and {}?",
        "What are the phone numbers of {} and of {}?",
        "Give me the phone numbers of {} and {}.",
        "What is the phone number of {}, and what is that of {}?",
    ),
    3: (
        "What are the phone numbers of {}, {} and {}?",
        "Give me the phone numbers of {}, {} and {}.",
        "I need the phone numbers of {}, of {} and of {}.",
    ),
}

Key = tuple[str, str]  # case and metric
Hits = list[bool]
T = TypeVar("T")


def main(*, data: Path | None, facts: int, seeds: int, json_path: Path | None) -> int:
    """Learn and ask once for each seed; returns the exit status.

    The trained memories stay in memkit's cache folder; an interrupted run continues with them.

    Args:
        data: Folder with the study's PhoneBook; None for invented entries.
        facts: How many entries of it.
        seeds: How often; each trains modules of its own.
        json_path: Where to write the figures as JSON.
    """
    entries = entries_of(data, facts)
    models = TransformersModel.load(), SentenceEmbedder.load()
    hits_by_case: dict[Key, Hits] = {}
    for seed in range(seeds):
        for key, hits in _run(models, entries, seed):
            hits_by_case.setdefault(key, []).extend(hits)
            tqdm.write(f"seed {seed}  {key[0]:<28}{key[1]:<14}{sum(hits)} of {len(hits)}")
    results = [
        Measurement.of_share(*key, sum(hits), len(hits)) for key, hits in hits_by_case.items()
    ]
    figures = {(m.case, m.metric): m.value for m in results}
    exact = figures["routed", "exact"]
    ratios = {
        "em_routed_over_oracle": exact / max(figures["oracle", "exact"], 1e-9),
        "pair_recall": figures["two modules, routed", "all recalled"],
        "triple_recall": figures["three modules, routed", "all recalled"],
    }
    report("mixing", results, ratios, json_path=json_path)
    return 0


def _run(
    models: tuple[TransformersModel, SentenceEmbedder], entries: Sequence[Entry], seed: int
) -> Iterator[tuple[Key, Hits]]:
    parts = parts_of(drafts_of(entries), PER_MODULE)
    with trained_memory(models, parts, Recipe(train=TrainSpec(seed=seed))) as memory:
        exam = Exam(memory, entries)
        yield ("routed", "exact"), exam.routed()
        yield ("oracle", "exact"), exam.oracle()
        reworded = exam.reworded()
        yield ("routed, other words", "right"), [right for right, _ in reworded]
        yield ("routed, other words, right", "flagged"), [flag for right, flag in reworded if right]
        yield (
            ("routed, other words, wrong", "flagged"),
            [flag for right, flag in reworded if not right],
        )
        for n, name in ((2, "two modules"), (3, "three modules")):
            chosen = exam.draw(n, ASKED[n], seed)
            yield (f"{name}, routed", "all recalled"), exam.together(chosen)
            yield (f"{name}, parts given", "all recalled"), exam.in_parts(chosen)


class Exam:
    """Asks a memory for phone numbers, with nothing in the prompt.

    Args:
        memory: It holds the entries in its weights.
        entries: In any order.
    """

    def __init__(self, memory: Memory, entries: Sequence[Entry]) -> None:
        self._memory = memory
        self._entries = entries
        ids = {record.question: record.id for record in _records(memory)}
        self._ids = [ids[entry.question] for entry in entries]
        modules = memory.modules.list()
        trained = {id: m.name for m in modules for id in m.manifest["records"]}
        held = {id: module.name for module in modules for id in module.records}
        self._holders = [{**trained, **held}[id] for id in self._ids]

    def routed(self) -> Hits:
        """Whether each entry comes back through the router."""
        texts = self._ask([entry.question for entry in self._entries], None)
        return [same_answer(e.number, text) for e, text in zip(self._entries, texts, strict=True)]

    def oracle(self) -> Hits:
        """Whether each entry comes back from the module that learned it."""
        hits = []
        for name in sorted(set(self._holders)):
            entries = [
                entry
                for entry, holder in zip(self._entries, self._holders, strict=True)
                if holder == name
            ]
            texts = self._ask([entry.question for entry in entries], [name])
            hits += [same_answer(e.number, text) for e, text in zip(entries, texts, strict=True)]
        return hits

    def reworded(self) -> list[tuple[bool, bool]]:
        """For entries asked in other words: whether it comes back, and whether it is flagged."""
        asked = list(range(0, len(self._entries), 2))
        questions = [
            OTHER_WORDINGS[i // 2 % len(OTHER_WORDINGS)].format(name=self._entries[i].name)
            for i in asked
        ]
        answers = self._answers(questions, None)
        return [
            (agree(answer.text, self._entries[i].number), answer.conflict is not None)
            for i, answer in zip(asked, answers, strict=True)
        ]

    def draw(self, n: int, questions: int, seed: int) -> list[list[int]]:
        """Entries for questions that need ``n`` modules, by number."""
        chosen = random.Random(seed)
        if len(set(self._holders)) < n:
            return []
        drawn: list[list[int]] = []
        while len(drawn) < questions:
            entries = chosen.sample(range(len(self._entries)), n)
            if len({self._holders[i] for i in entries}) == n:
                drawn.append(entries)
        return drawn

    def together(self, chosen: Sequence[Sequence[int]]) -> Hits:
        """Whether all numbers come back when they are asked for in one question."""
        texts = self._ask([self._question(i, number) for number, i in enumerate(chosen)], None)
        return [self._all(i, text) for i, text in zip(chosen, texts, strict=True)]

    def in_parts(self, chosen: Sequence[Sequence[int]]) -> Hits:
        """The same without the router: the parts of each question are given."""
        recalls = [
            _recall(self._question(entries, number), [self._part(i) for i in entries])
            for number, entries in enumerate(chosen)
        ]
        answerer = self._memory._engine.answerer
        texts = [
            answer.text
            for batch in _batches(recalls, BATCH // 2)
            for answer in answerer.answer(batch, BRIEF)
        ]
        return [self._all(i, text) for i, text in zip(chosen, texts, strict=True)]

    def _ask(self, questions: Sequence[str], modules: Sequence[str] | None) -> list[str]:
        return [answer.text for answer in self._answers(questions, modules)]

    def _answers(self, questions: Sequence[str], modules: Sequence[str] | None) -> list[Answer]:
        return [
            answer
            for batch in _batches(questions, BATCH)
            for answer in self._memory.ask_batch(batch, 0, modules=modules, sampling=BRIEF)
        ]

    def _question(self, entries: Sequence[int], number: int) -> str:
        wordings = SEVERAL[len(entries)]
        names = [self._entries[i].name for i in entries]
        return wordings[number % len(wordings)].format(*names)

    def _part(self, i: int) -> Part:
        return Part(self._entries[i].question, self._holders[i], self._ids[i], 1.0)

    def _all(self, entries: Sequence[int], text: str) -> bool:
        return all(self._entries[i].number in text for i in entries)


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    starts = range(0, len(items), size)
    yield from (items[start : start + size] for start in tqdm(starts, disable=None))


def _recall(question: str, parts: Sequence[Part]) -> Recall:
    """A question whose route is given, with no evidence in its prompt."""
    weights = dict.fromkeys([part.module for part in parts], 1.0 / len(parts))
    route = Route(weights, reason="the parts are given", parts=tuple(parts))
    return Recall(question, "", (), (), route, tokens=0, budget=0, omitted=0, counter="none")


def _records(memory: Memory) -> Iterator[Record]:
    page = memory.records(limit=1000)
    while True:
        yield from page.records
        if page.next is None:
            return
        page = memory.records(after=page.next, limit=1000)
