"""Accuracy against prompt tokens, from weights alone to everything in the prompt.

Two memories are asked with growing budgets: a phone book that is held in weights as a whole,
and an invented company of which half is. The prompt may take what the weights are not sure
of ("as needed", the default of `Memory.ask`), all that is found ("everything"), or all that is
found with no adapter in place ("prompt alone").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from tqdm import tqdm

from benchmarks.evals.mixing import PER_MODULE
from benchmarks.evals.trained_memory import parts_of, trained_memory
from benchmarks.report import report
from memkit.answering.grounding import agree
from memkit.evals.company.company import Company
from memkit.evals.data.phone_book import OTHER_WORDINGS, entries_of
from memkit.evals.data.phone_book import drafts_of as lines_of
from memkit.evals.measurement import Measurement
from memkit.evals.unstored_records import drafts_of
from memkit.lora.consolidation.consolidate import Recipe
from memkit.lora.spec import TrainSpec
from memkit.memory.ask import answer as answer_queries
from memkit.memory.memory import Memory
from memkit.memory.options import Request
from memkit.models.embedder import SentenceEmbedder
from memkit.models.language_model import TransformersModel
from memkit.types import PASSAGES, Query, Sampling

COMPANY = 32  # facts, the first half of them held in weights
SAMPLE = 24  # facts that are asked for, at equal distances from the first on
BUDGETS = (0, 40, 80, 160)
BRIEF = Sampling(max_new_tokens=32)
BATCH = 12

Models = tuple[TransformersModel, SentenceEmbedder]


@dataclass(frozen=True)
class Asked:
    """One fact and how it is asked for."""

    answer: str
    question: str
    reworded: str


@dataclass(frozen=True)
class Outcome:
    """How one question was answered."""

    right: bool
    prompt_tokens: int


def main(*, data: Path | None, facts: int, seeds: int, json_path: Path | None) -> int:
    """Ask with every budget and print the curves; returns the exit status.

    Args:
        data: Folder with the study's PhoneBook; None for invented entries.
        facts: How many entries of it.
        seeds: How often; each trains modules of its own.
        json_path: Where to write the figures as JSON.
    """
    models = TransformersModel.load(), SentenceEmbedder.load()
    outcomes: dict[str, list[Outcome]] = {}
    for seed in range(seeds):
        for case, answers in _run(models, data, facts, seed):
            outcomes.setdefault(case, []).extend(answers)
            share = mean(answer.right for answer in answers)
            tqdm.write(f"seed {seed}  {case:<64}{share:.2f}")
    results = []
    for case, answers in outcomes.items():
        tokens = mean(answer.prompt_tokens for answer in answers)
        right = sum(answer.right for answer in answers)
        results.append(Measurement.of_share(case, "right", right, len(answers)))
        results.append(Measurement.of(case, "prompt tokens, mean", [tokens], "tokens"))
    report("dial", results, json_path=json_path)
    return 0


def _run(
    models: Models, data: Path | None, facts: int, seed: int
) -> Iterator[tuple[str, list[Outcome]]]:
    recipe = Recipe(train=TrainSpec(seed=seed))
    entries = entries_of(data, facts)
    parts = parts_of(lines_of(entries), PER_MODULE)
    book = [
        Asked(e.number, e.question, OTHER_WORDINGS[n % len(OTHER_WORDINGS)].format(name=e.name))
        for n, e in enumerate(entries)
    ]
    with trained_memory(models, parts, recipe) as memory:
        yield from _curves(memory, "phone book, all held", _sample(book))
    company = Company.generate(seed, COMPANY)
    drafts = drafts_of(company.facts)
    asked = [Asked(f.answer, f.question, f.paraphrases[0]) for f in company.facts]
    with trained_memory(models, [drafts[: COMPANY // 2]], recipe) as memory:
        memory.add(drafts[COMPANY // 2 :])
        yield from _curves(memory, "company, half held", _sample(asked))


def _curves(
    memory: Memory, name: str, asked: Sequence[Asked]
) -> Iterator[tuple[str, list[Outcome]]]:
    for wording in ("as stored", "in other words"):
        for budget in BUDGETS:
            for how, modules, repeat in (
                ("as needed", None, False),
                ("everything", None, True),
                ("prompt alone", [], True),
            ):
                if not budget and how == "everything":
                    continue  # nothing goes into the prompt
                asking = Request(budget, modules, sampling=BRIEF, repeat_held=repeat)
                case = f"{name}, {wording}, budget {budget}, {how}"
                yield case, _ask(memory, asked, asking, reworded=wording != "as stored")


def _ask(
    memory: Memory, asked: Sequence[Asked], asking: Request, *, reworded: bool
) -> list[Outcome]:
    outcomes = []
    for start in range(0, len(asked), BATCH):
        batch = asked[start : start + BATCH]
        queries = [Query(fact.reworded if reworded else fact.question, PASSAGES) for fact in batch]
        engine = memory._engine
        for fact, answer in zip(batch, answer_queries(engine, queries, asking), strict=True):
            outcomes.append(Outcome(agree(answer.text, fact.answer), answer.prompt_tokens))
    return outcomes


def _sample(asked: Sequence[Asked]) -> Sequence[Asked]:
    step = max(1, len(asked) // SAMPLE)
    return asked[::step][:SAMPLE]
