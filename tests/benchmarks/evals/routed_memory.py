"""A memory whose modules exist in name only, to measure where its routers send questions."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.evals.unrelated_prompts import UNRELATED
from memkit.ledger import Ledger
from memkit.lora.consolidation.examples import make_missing
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.protocols import Embedder
from memkit.rag.index import FactIndex
from memkit.routing.centroid import CentroidRouter
from memkit.routing.fit_calibration import BINS
from memkit.routing.nearest import NearestRouter
from memkit.routing.negative_prompts import UNRELATED_PROMPTS
from memkit.types import Draft, Query, Route, Scope
from memkit.types.calibration import Calibration

if TYPE_CHECKING:
    from memkit.protocols import Floats2d

GENERAL = tuple(prompt for kind in UNRELATED.values() for prompt in kind)


@dataclass(frozen=True)
class Asked:
    """A question with the place of its fact among the drafts, and the scope it is asked in."""

    question: str
    place: int
    scope: Scope = field(default_factory=dict)


class CachedEmbedder:
    """An embedder that embeds each text once, however many memories share it.

    Args:
        embedder: Embeds; must treat queries and passages alike, as the default one does.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.name, self.dim = embedder.name, embedder.dim
        self._embedder = embedder
        self._known: dict[str, Floats2d] = {}

    def encode_query(self, texts: Sequence[str], /) -> Floats2d:
        """Embed texts: shape ``(n, dim)``, float32, unit rows."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known |= zip(new, self._embedder.encode_query(new), strict=True)
        rows = [self._known[text] for text in texts]
        return np.array(rows, np.float32).reshape(len(texts), self.dim)

    encode_document = encode_query


@dataclass(frozen=True)
class RoutedMemory:
    """Routers over records, each assigned to a module.

    Attributes:
        nearest: The default router.
        centroid: The study's.
        placed: Which module holds which record.
        ids: Of the drafts, in order.
    """

    nearest: NearestRouter
    centroid: CentroidRouter
    placed: Mapping[str, str]
    ids: Sequence[str]

    def routes(self, asked: Sequence[Asked]) -> list[Route]:
        """Where questions go."""
        return self.nearest.route([_query(question) for question in asked], pending=self.placed)

    def general(self, prompts: Sequence[str] = GENERAL) -> list[Route]:
        """Where prompts go that have nothing to do with the records."""
        return self.nearest.route([Query(prompt) for prompt in prompts], pending=self.placed)

    def right(self, asked: Sequence[Asked], routes: Sequence[Route]) -> float:
        """Share of questions that go to the module of their fact, and to no other."""
        modules = [self.placed[self.ids[question.place]] for question in asked]
        hits = [route.modules == (module,) for route, module in zip(routes, modules, strict=True)]
        return sum(hits) / len(hits)

    def compared(self, asked: Sequence[Asked], reworded: Sequence[Asked] = ()) -> dict[str, float]:
        """Shares of right, refused and false routes, for stored facts and for general prompts."""
        routes, general = self.routes(asked), self.general()
        centroids = self.centroid.route(
            [_query(question) for question in asked], pending=self.placed
        )
        form = self.general(UNRELATED["same form"])
        figures = {
            "top-1": self.right(asked, routes),
            "top-1 of centroids": self.right(asked, centroids),
            "refused": 1.0 - active(routes),
            "active for unrelated prompts": active(general),
            "active for those of the same form": active(form),
        }
        if reworded:
            others = self.routes(reworded)
            figures["top-1, reworded"] = self.right(reworded, others)
            figures["refused, reworded"] = 1.0 - active(others)
            routes += others
        return figures | reliability(self.nearest.calibration(), routes, general)


def active(routes: Sequence[Route]) -> float:
    """Share of questions for which some module is asked."""
    return sum(map(bool, routes)) / len(routes)


def reliability(
    calibration: Calibration | None, related: Sequence[Route], unrelated: Sequence[Route]
) -> dict[str, float]:
    """Compare predicted probabilities with frequencies, as a reliability diagram does.

    Related and unrelated questions have the same weight, however many there are of either.

    Args:
        calibration: Turns evidence into the probability that a question is related.
        related: Of questions about records.
        unrelated: Of general prompts.

    Returns:
        The share of related questions in each bin of predicted probability that has any.
    """
    if calibration is None:
        return {}
    mass = np.zeros((2, BINS))
    for label, routes in enumerate((unrelated, related)):
        for route in routes:
            probability = calibration.probability(route.evidence)
            mass[label, min(int(probability * BINS), BINS - 1)] += 1.0 / len(routes)
    return {
        f"true where {step / BINS:.0%} to {(step + 1) / BINS:.0%} is said": share
        for step in range(BINS)
        if (total := mass[:, step].sum()) and (share := float(mass[1, step] / total)) >= 0.0
    }


@contextmanager
def routed_memory(
    embedder: Embedder, drafts: Sequence[Draft], modules: Sequence[int]
) -> Iterator[RoutedMemory]:
    """A memory of drafts; each draft is assigned to the module of that number."""
    embedder.encode_query([*GENERAL, *UNRELATED_PROMPTS])  # as one batch
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.open(Path(folder) / "memory")
        try:
            index = FactIndex(ledger, embedder)
            # Named, so that the same ones are chosen for the calibration in every run.
            named = [replace(draft, id=f"f{number}") for number, draft in enumerate(drafts)]
            records = ledger.records.add(named)
            index.write(records)
            make_missing(ledger, TemplateSynthesizer(), records)
            nearest = NearestRouter(index, ledger)
            nearest.calibrate(records)
            ids = [record.id for record in records]
            placed = {id: f"m{number}" for id, number in zip(ids, modules, strict=True)}
            yield RoutedMemory(nearest, CentroidRouter(index, ledger), placed, ids)
        finally:
            ledger.close()


def _query(asked: Asked) -> Query:
    return Query(asked.question, scope=asked.scope)
