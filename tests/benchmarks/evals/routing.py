"""Which module is asked, and whether one is asked at all; nothing is trained for it.

Facts are cut into modules in file order, so that modules share no topic: the phone book into
eight, the invented company into modules of a usual size. Papers are a module each. Asked are
stored questions, other wordings, questions whose fact is not stored, and prompts that have
nothing to do with any of it. "None" counts as a miss for a question, and so does a question
that is taken for one that needs several facts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from tqdm import tqdm

from benchmarks.evals import papers, routing_cost
from benchmarks.evals.routed_memory import Asked, CachedEmbedder, active, routed_memory
from benchmarks.report import report
from memkit.evals.company.company import Company, Fact
from memkit.evals.data.phone_book import OTHER_WORDINGS, Entry, drafts_of, entries_of
from memkit.evals.measurement import Measurement
from memkit.evals.unstored_records import drafts_of as drafts_of_facts
from memkit.lora.recipe import RECORDS_PER_MODULE
from memkit.models.embedder import SentenceEmbedder
from memkit.protocols import Embedder

ENTRIES, MODULES = 387, 8
FACTS = 320
LEFT_OUT = 10  # one in so many entries is not stored, and asked for all the same
WORDINGS = (*OTHER_WORDINGS, "{name}'s telephone number, please", "phone {name}")
BOOK = "phone book"
UNRELATED, REFUSED = "active for unrelated prompts", "refused"
UNSTORED = "active for what is not stored"
UNKNOWN_FACT = "active for what is not stored of a subject that is"

Values = Mapping[str, float]
Figures = dict[tuple[str, str], list[float]]  # by case and metric


def main(*, data: Path | None, seeds: int, json_path: Path | None) -> int:
    """Measure the routers; returns the exit status.

    Args:
        data: Folder with the study's data; None for what is invented.
        seeds: How many companies, and how often another tenth of the phone book is left out.
        json_path: Where the report goes, or None.
    """
    entries = entries_of(data, ENTRIES)
    about = papers.read(data) if data is not None else []
    figures: Figures = {}
    embedder = CachedEmbedder(SentenceEmbedder.load())
    for case, values in tqdm(measure(embedder, entries, about, seeds), "routing", disable=None):
        for metric, value in values.items():
            figures.setdefault((case, metric), []).append(value)
    measurements = [
        Measurement.of(case, metric, values, "share") for (case, metric), values in figures.items()
    ]
    measurements += routing_cost.measure(routing_cost.FACTS)
    quoted = ratios({key: median(values) for key, values in figures.items()})
    report("routing", measurements, quoted, json_path=json_path)
    return 0


def measure(
    embedder: Embedder, entries: Sequence[Entry], about: Sequence[papers.Paper], seeds: int
) -> Iterator[tuple[str, Values]]:
    """Give each case with figures for it, some of them once for each seed.

    Args:
        embedder: Embeds; the same texts again and again.
        entries: A phone book.
        about: Papers; may be none.
        seeds: How often what is drawn is drawn.
    """
    yield BOOK, _phonebook(embedder, entries)
    for seed in range(seeds):
        yield BOOK, _missing(embedder, entries, seed)
        company = Company.generate(seed, FACTS)
        yield "company", _company(embedder, company)
        yield "company", _missing_facts(embedder, company, seed)
    if about:
        yield from papers.measure(embedder, about)


def _phonebook(embedder: Embedder, entries: Sequence[Entry]) -> Values:
    asked = [Asked(entry.question, place) for place, entry in enumerate(entries)]
    reworded = [
        Asked(wording.format(name=entry.name), place)
        for place, entry in enumerate(entries)
        for wording in WORDINGS
    ]
    with routed_memory(embedder, drafts_of(entries), _modules(entries)) as routed:
        return routed.compared(asked, reworded)


def _modules(entries: Sequence[Entry]) -> list[int]:
    return [place * MODULES // len(entries) for place in range(len(entries))]


def _missing(embedder: Embedder, entries: Sequence[Entry], seed: int) -> Values:
    """How often a module is asked for an entry that is not stored, among others that are."""
    chosen = random.Random(seed)
    left_out = set(chosen.sample(range(len(entries)), len(entries) // LEFT_OUT))
    stored = [place for place in range(len(entries)) if place not in left_out]
    drafts, modules = drafts_of(entries), _modules(entries)
    with routed_memory(
        embedder, [drafts[place] for place in stored], [modules[place] for place in stored]
    ) as routed:
        routes = routed.general([entries[place].question for place in sorted(left_out)])
    return {UNSTORED: active(routes)}


def _missing_facts(embedder: Embedder, company: Company, seed: int) -> Values:
    """The same for all facts of a tenth of the subjects, and for one fact of another tenth."""
    chosen = random.Random(seed)
    by_subject: dict[str, list[Fact]] = {}
    for fact in company.facts:
        by_subject.setdefault(fact.metadata["subject"], []).append(fact)
    unknown = chosen.sample(sorted(by_subject), len(by_subject) // LEFT_OUT)
    left_out = [fact for subject in unknown for fact in by_subject.pop(subject)]
    several = sorted(subject for subject, facts in by_subject.items() if len(facts) > 1)
    left_out_alone = [
        by_subject[subject].pop() for subject in chosen.sample(several, len(several) // LEFT_OUT)
    ]
    stored = [fact for facts in by_subject.values() for fact in facts]
    with routed_memory(embedder, drafts_of_facts(stored), _modules_of(len(stored))) as routed:
        reworded = [question for fact in left_out for question in fact.paraphrases]
        return {
            UNSTORED: active(routed.general([fact.question for fact in left_out])),
            f"{UNSTORED}, reworded": active(routed.general(reworded)),
            UNKNOWN_FACT: active(routed.general([fact.question for fact in left_out_alone])),
        }


def _company(embedder: Embedder, company: Company) -> Values:
    modules = _modules_of(len(company.facts))
    asked = [Asked(fact.question, place) for place, fact in enumerate(company.facts)]
    reworded = [Asked(p, k) for k, fact in enumerate(company.facts) for p in fact.paraphrases]
    with routed_memory(embedder, drafts_of_facts(company.facts), modules) as routed:
        return routed.compared(asked, reworded)


def _modules_of(facts: int) -> list[int]:
    return [place // RECORDS_PER_MODULE for place in range(facts)]


def ratios(middle: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """The figures that are quoted, of medians by case and metric.

    ``false_activation`` is the worst of all memories. ``false_refusal`` is the worst of all
    questions that say what they are about: facts, reworded or not, and papers with their title
    or in their scope. That of papers asked as they stand is among the results alone.
    ``unstored_activation`` is the worst of the phone book and the company, for people and things
    of which nothing is stored.
    """
    counted = {k: v for k, v in middle.items() if not k[0].startswith("papers") or k[1] != REFUSED}
    quoted = {
        "routing_top1": middle[BOOK, "top-1"],
        "routing_top1_reworded": middle[BOOK, "top-1, reworded"],
        "routing_top1_centroid": middle[BOOK, "top-1 of centroids"],
        "false_activation": max(v for k, v in middle.items() if k[1] == UNRELATED),
        "unstored_activation": max(v for k, v in middle.items() if k[1] == UNSTORED),
        "false_refusal": max(v for k, v in counted.items() if k[1].startswith(REFUSED)),
    }
    as_asked = middle.get(("papers and half of the questions", "top-1"))
    return quoted | ({"routing_top1_paperqa": as_asked} if as_asked is not None else {})
