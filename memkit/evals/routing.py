"""Which module is asked, and whether one is asked at all; nothing is trained for it.

Facts are cut into modules in file order, so that modules share no topic: the phone book into
eight, the invented company into modules of a usual size. Papers are a module each. Asked are
stored questions, other wordings, questions whose fact is not stored, and prompts that have
nothing to do with any of it. "None" counts as a miss for a question, and so does a question
that is taken for one that needs several facts.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from memkit.demo.company import Company
from memkit.errors import NotFoundError
from memkit.evals.phonebook import OTHER_WORDINGS, drafts_of, invented, read
from memkit.evals.unrelated import UNRELATED
from memkit.evals.unstored import drafts_of as drafts_of_facts
from memkit.ledger import Ledger
from memkit.lora.capacity import RECORDS_PER_MODULE
from memkit.lora.sentences import sentences
from memkit.lora.supervision import TemplateSynthesizer
from memkit.models.embedder import SentenceEmbedder
from memkit.protocols import Embedder, Query, Router
from memkit.rag.index import FactIndex
from memkit.report import Measurement, show, write_report
from memkit.routing.centroid import CentroidRouter
from memkit.routing.nearest import NearestRouter
from memkit.types import Draft, Route

ENTRIES, MODULES = 387, 8
FACTS = 320
LEFT_OUT = 10  # one in so many entries is not stored, and asked for all the same
WORDINGS = (*OTHER_WORDINGS, "{name}'s telephone number, please", "phone {name}")

Figures = dict[tuple[str, str], list[float]]  # by case and metric


@dataclass(frozen=True)
class Routed:
    """A memory whose records are to be held, with its routers."""

    routers: Mapping[str, Router]
    placed: Mapping[str, str]
    ids: Sequence[str]

    def routes(self, questions: Sequence[str], router: str = "nearest") -> list[Route]:
        """Where questions go."""
        queries = [Query(question) for question in questions]
        return self.routers[router].route(queries, pending=self.placed)

    def right(self, asked: Sequence[tuple[str, int]], router: str = "nearest") -> float:
        """Share of questions that go to the module of their fact, and to no other.

        Args:
            asked: Questions with the place of their fact.
            router: Which one.
        """
        routes = self.routes([question for question, _ in asked], router)
        modules = [self.placed[self.ids[place]] for _, place in asked]
        found = [route.modules == (module,) for route, module in zip(routes, modules, strict=True)]
        return sum(found) / len(found)

    def active(self, questions: Sequence[str]) -> float:
        """Share of questions for which some module is asked."""
        return sum(map(bool, self.routes(questions))) / len(questions)


@contextmanager
def memory(embedder: Embedder, drafts: Sequence[Draft], modules: Sequence[int]) -> Iterator[Routed]:
    """A memory of drafts, each to be held by the module of that number."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.open(Path(folder) / "memory")
        try:
            index = FactIndex(ledger, embedder)
            records = ledger.records.add(drafts)
            index.write(records)
            nearest = NearestRouter(index, ledger, synthesizer=TemplateSynthesizer())
            nearest.calibrate(records)
            routers: dict[str, Router] = {
                "nearest": nearest,
                "centroid": CentroidRouter(index, ledger),
            }
            ids = [record.id for record in records]
            placed = {id: f"m{number}" for id, number in zip(ids, modules, strict=True)}
            yield Routed(routers, placed, ids)
        finally:
            ledger.close()


def main(*, data: Path | None, seeds: int, json_path: Path | None) -> int:
    """Measure the routers; returns the exit status.

    Args:
        data: Folder with the study's data; None for what is invented.
        seeds: How many companies, and how often another tenth of the phone book is left out.
        json_path: Where the report goes, or None.
    """
    embedder = SentenceEmbedder.load()
    figures: Figures = {}
    _phonebook(embedder, data, seeds, figures)
    for seed in range(seeds):
        _company(embedder, Company.generate(seed, FACTS), figures)
    if data is not None:
        _papers(embedder, data, figures)
    measurements = [
        Measurement.of(case, metric, values, "share") for (case, metric), values in figures.items()
    ]
    show(measurements, _ratios(figures))
    if json_path is not None:
        write_report(json_path, "routing", measurements, _ratios(figures))
    return 0


def _note(figures: Figures, case: str, values: Mapping[str, float]) -> None:
    for metric, value in values.items():
        figures.setdefault((case, metric), []).append(value)


def _phonebook(embedder: Embedder, data: Path | None, seeds: int, figures: Figures) -> None:
    entries = read(data, ENTRIES) if data is not None else invented(ENTRIES)
    drafts = drafts_of(entries)
    modules = [place * MODULES // len(entries) for place in range(len(entries))]
    asked = [(entry.question, place) for place, entry in enumerate(entries)]
    reworded = [
        (wording.format(name=entry.name), place)
        for place, entry in enumerate(entries)
        for wording in WORDINGS
    ]
    with memory(embedder, drafts, modules) as routed:
        _note(figures, "phone book", _compared(routed, asked, reworded))
    for seed in range(seeds):
        chosen = random.Random(seed)  # noqa: S311 - no secret
        gone = set(chosen.sample(range(len(entries)), len(entries) // LEFT_OUT))
        kept = [place for place in range(len(entries)) if place not in gone]
        with memory(embedder, [drafts[k] for k in kept], [modules[k] for k in kept]) as routed:
            missing = [entries[place].question for place in sorted(gone)]
            _note(figures, "phone book", {"asked for what is not stored": routed.active(missing)})


def _company(embedder: Embedder, company: Company, figures: Figures) -> None:
    modules = [place // RECORDS_PER_MODULE for place in range(len(company.facts))]
    asked = [(fact.question, place) for place, fact in enumerate(company.facts)]
    reworded = [(p, place) for place, fact in enumerate(company.facts) for p in fact.paraphrases]
    with memory(embedder, drafts_of_facts(company.facts), modules) as routed:
        _note(figures, "company", _compared(routed, asked, reworded))


def _papers(embedder: Embedder, data: Path, figures: Figures) -> None:
    """A module per paper: sentences of its introduction, and half of its questions or none."""
    path = data / "paperqa" / "paperqa_dev.json"
    if not path.is_file():
        raise NotFoundError(f"expected the study's papers in {path}, there is no such file")
    papers = json.loads(path.read_text(encoding="utf-8"))
    for case, stored in (("papers", 0), ("papers, half of the questions stored", 2)):
        drafts: list[Draft] = []
        modules: list[int] = []
        asked: list[tuple[str, int]] = []
        for number, paper in enumerate(papers):
            first = len(drafts)
            drafts += [Draft(t) for t in (paper["title"], *sentences(paper["introduction"]))]
            pairs = paper["QA"]
            if stored:
                drafts += [Draft(p["answer"], p["question"], p["answer"]) for p in pairs[::stored]]
            asked += [(pair["question"], first) for pair in pairs[1::2]]
            modules += [number] * (len(drafts) - first)
        with memory(embedder, drafts, modules) as routed:
            _note(figures, case, _compared(routed, asked, []))


def _compared(
    routed: Routed, asked: Sequence[tuple[str, int]], reworded: Sequence[tuple[str, int]]
) -> dict[str, float]:
    """What one memory's routers make of questions about it, and of general prompts."""
    found = {
        "top-1": routed.right(asked),
        "top-1 of centroids": routed.right(asked, "centroid"),
        "refused": 1.0 - routed.active([question for question, _ in asked]),
    }
    if reworded:
        questions = [question for question, _ in reworded]
        found |= {
            "top-1, reworded": routed.right(reworded),
            "refused, reworded": 1.0 - routed.active(questions),
        }
    general = [prompt for kind in UNRELATED.values() for prompt in kind]
    found["active for unrelated prompts"] = routed.active(general)
    found["active for those of the same form"] = routed.active(UNRELATED["same form"])
    return found


def _ratios(figures: Figures) -> dict[str, float]:
    """The figures that are quoted; refusals and activations are the worst of all memories."""
    middle = {key: median(values) for key, values in figures.items()}
    book = {metric: value for (case, metric), value in middle.items() if case == "phone book"}
    facts = {key: value for key, value in middle.items() if not key[0].startswith("papers")}
    ratios = {
        "routing_top1": book["top-1"],
        "routing_top1_reworded": book["top-1, reworded"],
        "routing_top1_centroid": book["top-1 of centroids"],
        "false_activation": max(v for k, v in middle.items() if "unrelated" in k[1]),
        "false_refusal": max(v for k, v in facts.items() if k[1].startswith("refused")),
    }
    papers = middle.get(("papers, half of the questions stored", "top-1"))
    return ratios | ({"routing_top1_paperqa": papers} if papers is not None else {})
