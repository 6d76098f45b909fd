"""The documents of a data set in an index: what is retrieved for a question, and who is asked."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from memkit.answering.prompt import Assembled, PromptFormat, assemble
from memkit.evals.data.dataset import DataSet
from memkit.ledger import Ledger
from memkit.lora.consolidation.examples import make_missing
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.models.language_model import TransformersModel
from memkit.protocols import Embedder
from memkit.rag.index import FactIndex
from memkit.routing.nearest import NearestRouter
from memkit.types import PASSAGES, Draft, Evidence, Hit, Query, Record

Placed = Mapping[str, str]  # document -> the module that learned it


class Knowledge:
    """An index over one data set, in a folder of its own; close it.

    Args:
        data: Its documents are indexed as they stand, pairs beside those that have one.
        embedder: Embeds documents and questions.
    """

    def __init__(self, data: DataSet, embedder: Embedder) -> None:
        self._data = data
        self._embedder = embedder
        self._folder = tempfile.mkdtemp(prefix="memkit-evals-")
        self._ledger = Ledger.open(Path(self._folder) / "memory")
        self.index = FactIndex(self._ledger, embedder)
        pairs = {pair.document: pair for pair in data.pairs}
        drafts = [
            Draft(
                document.text,
                pairs[document.id].question if document.id in pairs else None,
                pairs[document.id].answer if document.id in pairs else None,
                id=document.id,
            )
            for document in data.documents
        ]
        self._records: list[Record] = self._ledger.records.add(drafts)
        self.index.write(self._records)
        self._router: NearestRouter | None = None

    def close(self) -> None:
        """Let go of the index and its folder."""
        self.index.close()
        self._ledger.close()
        shutil.rmtree(self._folder)

    # -- who is asked --------------------------------------------------------------------------

    def nearest(self, questions: Sequence[str], placed: Placed, top: int) -> list[list[str]]:
        """The modules that hold the nearest facts, by memkit's router; none if it refuses."""
        if self._router is None:
            make_missing(self._ledger, TemplateSynthesizer(), self._records)
            self._router = NearestRouter(self.index, self._ledger)
            self._router.calibrate(self._records)
        routes = self._router.route([Query(question) for question in questions], pending=placed)
        return [
            list(
                dict.fromkeys([*r.modules, *(s.module for s in r.support if s.module)]) if r else ()
            )[:top]
            for r in routes
        ]

    def centroid(self, questions: Sequence[str], placed: Placed, top: int) -> list[list[str]]:
        """The modules whose mean vector is nearest, as in the study."""
        names = sorted(set(placed.values()))
        vectors = self._embedder.encode_document([d.text for d in self._data.documents])
        holders = [placed.get(document.id) for document in self._data.documents]
        means = np.stack(
            [vectors[[holder == name for holder in holders]].mean(axis=0) for name in names]
        )
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        scores = self._embedder.encode_query(list(questions)) @ means.T
        return [[names[place] for place in row[:top]] for row in np.argsort(-scores, kind="stable")]

    # -- what is put into the prompt -------------------------------------------------------------

    def retrieved(self, question: str) -> list[Hit]:
        """The passages that a search finds, best first."""
        return self.index.search(Query(question, k=PASSAGES))

    def everything(self) -> list[Hit]:
        """All documents, in order."""
        return [Hit(r, r.text, 0, len(r.text), 0.0, None) for r in self._records]


def evidence_text(
    base: TransformersModel, hits: Sequence[Hit], budget: int, prompt_format: PromptFormat
) -> Assembled:
    """Passages as they stand in a prompt, within a budget of tokens."""
    return assemble(
        [Evidence(hits=tuple(hits))],
        budget=budget,
        count=base.count,
        prompt_format=prompt_format,
        special_tokens=base.special_tokens,
    )
