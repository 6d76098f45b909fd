"""From weights to prompt: how many answers are right, and what they cost in prompt tokens.

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

from benchmarks.evals.learned import learned, parts_of
from benchmarks.evals.mixing import PER_MODULE
from benchmarks.evals.phonebook import OTHER_WORDINGS, entries_of
from benchmarks.evals.phonebook import drafts_of as lines_of
from benchmarks.evals.unstored import drafts_of
from tqdm import tqdm

from memkit.answering.grounding import agree
from memkit.cli.demo.company import Company
from memkit.cli.demo.measurement import Measurement, show, write_report
from memkit.lora.consolidation.consolidate import Recipe
from memkit.lora.spec import TrainSpec
from memkit.memory import ask as reading
from memkit.memory.memory import Memory
from memkit.models.embedder import SentenceEmbedder
from memkit.models.language_model import TransformersModel
from memkit.protocols import Query, Sampling

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
class Told:
    """What came of one question."""

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
    found: dict[str, list[Told]] = {}
    for seed in range(seeds):
        for case, told in _run(models, data, facts, seed):
            found.setdefault(case, []).extend(told)
            share = mean(one.right for one in told)
            tqdm.write(f"seed {seed}  {case:<64}{share:.2f}")
    results = []
    for case, told in found.items():
        tokens = mean(one.prompt_tokens for one in told)
        right = sum(one.right for one in told)
        results.append(Measurement.of_share(case, "right", right, len(told)))
        results.append(Measurement.of(case, "prompt tokens, mean", [tokens], "tokens"))
    show(results, {})
    if json_path is not None:
        write_report(json_path, "dial", results)
    return 0


def _run(
    models: Models, data: Path | None, facts: int, seed: int
) -> Iterator[tuple[str, list[Told]]]:
    recipe = Recipe(train=TrainSpec(seed=seed))
    entries = entries_of(data, facts)
    parts = parts_of(lines_of(entries), PER_MODULE)
    book = [
        Asked(e.number, e.question, OTHER_WORDINGS[n % len(OTHER_WORDINGS)].format(name=e.name))
        for n, e in enumerate(entries)
    ]
    with learned(models, parts, recipe) as memory:
        yield from _curves(memory, "phone book, all held", _sample(book))
    company = Company.generate(seed, COMPANY)
    drafts = drafts_of(company.facts)
    asked = [Asked(f.answer, f.question, f.paraphrases[0]) for f in company.facts]
    with learned(models, [drafts[: COMPANY // 2]], recipe) as memory:
        memory.add(drafts[COMPANY // 2 :])
        yield from _curves(memory, "company, half held", _sample(asked))


def _curves(memory: Memory, name: str, asked: Sequence[Asked]) -> Iterator[tuple[str, list[Told]]]:
    for wording in ("as stored", "in other words"):
        for budget in BUDGETS:
            for how, modules, repeat in (
                ("as needed", None, False),
                ("everything", None, True),
                ("prompt alone", [], True),
            ):
                if not budget and how == "everything":
                    continue  # nothing goes into the prompt
                asking = reading.Asking(budget, modules, sampling=BRIEF, repeat_held=repeat)
                case = f"{name}, {wording}, budget {budget}, {how}"
                yield case, _ask(memory, asked, asking, reworded=wording != "as stored")


def _ask(
    memory: Memory, asked: Sequence[Asked], asking: reading.Asking, *, reworded: bool
) -> list[Told]:
    told = []
    for start in range(0, len(asked), BATCH):
        some = asked[start : start + BATCH]
        queries = [
            Query(one.reworded if reworded else one.question, reading.PASSAGES) for one in some
        ]
        parts = memory._engine
        for one, answer in zip(some, reading.answer(parts, queries, asking), strict=True):
            told.append(Told(agree(answer.text, one.answer), answer.prompt_tokens))
    return told


def _sample(asked: Sequence[Asked]) -> Sequence[Asked]:
    step = max(1, len(asked) // SAMPLE)
    return asked[::step][:SAMPLE]
