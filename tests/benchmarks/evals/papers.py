"""One module per paper: its introduction's sentences, and half of the questions about it.

"What is the core gap that this paper aims to fill?" is a question about one paper only if
something says about which. So each question is asked three times: as it stands, with the
paper's title in front, and as it stands in the scope of its paper. Questions that have a word
that only their paper has are counted apart. Settings were tried out on
the first half of the papers; the figures for the second half stand apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.evals.routed_memory import Asked, active, routed_memory
from memkit.errors import NotFoundError
from memkit.protocols import Embedder
from memkit.text.sentences import sentences
from memkit.text.words import content_stems, stem_counts
from memkit.types import Draft, Scope

Paper = dict[str, Any]  # of the study's file

STORED = {"papers": 0, "papers and half of the questions": 2}  # one question in so many
TITLED = 'In the paper "{title}": {question}'


@dataclass(frozen=True)
class Papers:
    """Records of papers, and questions that are not among them, by how they are asked."""

    drafts: Sequence[Draft]
    modules: Sequence[int]
    plain: Sequence[Asked]
    titled: Sequence[Asked]


def read(folder: Path) -> list[Paper]:
    """The study's papers.

    Raises:
        NotFoundError: If they are not there.
    """
    path = folder / "paperqa" / "paperqa_dev.json"
    if not path.is_file():
        raise NotFoundError(f"expected the study's papers in {path}, there is no such file")
    papers: list[Paper] = json.loads(path.read_text(encoding="utf-8"))
    return papers


def cut(papers: Sequence[Paper], stored: int, *, scoped: bool = False) -> Papers:
    """Make records and questions of papers.

    Args:
        papers: As `read` gives them.
        stored: Store one question in so many; 0 for none. The others are asked.
        scoped: Give each paper a scope, and ask in it.
    """
    drafts: list[Draft] = []
    modules: list[int] = []
    plain: list[Asked] = []
    titled: list[Asked] = []
    for number, paper in enumerate(papers):
        scope: Scope = {"paper": str(paper["id"])} if scoped else {}
        texts = (paper["title"], *sentences(paper["introduction"]))
        stored_pairs = paper["QA"][::stored] if stored else []
        first = len(drafts)
        drafts += [Draft(text, scope=scope) for text in texts]
        drafts += [
            Draft(p["answer"], p["question"], p["answer"], scope=scope) for p in stored_pairs
        ]
        modules += [number] * (len(drafts) - first)
        for question in (pair["question"] for pair in paper["QA"][1::2]):
            plain.append(Asked(question, first, scope))
            named = TITLED.format(title=paper["title"], question=question)
            titled.append(Asked(named, first, scope))
    return Papers(drafts, modules, plain, titled)


def distinctive(papers: Papers) -> list[Asked]:
    """The plain questions that have a word which is stored of their paper and of no other."""
    having: dict[str, set[int]] = {}
    for draft, module in zip(papers.drafts, papers.modules, strict=True):
        for word in stem_counts(f"{draft.text} {draft.question or ''}"):
            having.setdefault(word, set()).add(module)
    return [
        asked
        for asked in papers.plain
        if any(
            having.get(word) == {papers.modules[asked.place]}
            for word in content_stems(asked.question)
        )
    ]


def measure(embedder: Embedder, papers: Sequence[Paper]) -> Iterator[tuple[str, dict[str, float]]]:
    """Give each case with its figures."""
    for case, stored in STORED.items():
        shared = cut(papers, stored)
        later = shared.modules.index(len(papers) // 2)  # the first draft of the second half
        with routed_memory(embedder, shared.drafts, shared.modules) as routed:
            figures = routed.compared(shared.plain)
            if named := distinctive(shared):
                figures["has a word of its paper alone"] = len(named) / len(shared.plain)
                figures["top-1 of those"] = routed.right(named, routed.routes(named))
            routes = routed.routes(shared.titled)
            figures["top-1, title named"] = routed.right(shared.titled, routes)
            figures["refused, title named"] = 1.0 - active(routes)
            for metric, asked in (("", shared.plain), (", title named", shared.titled)):
                half = [question for question in asked if question.place >= later]
                figures[f"top-1{metric}, second half"] = routed.right(half, routed.routes(half))
        own = cut(papers, stored, scoped=True)
        with routed_memory(embedder, own.drafts, own.modules) as routed:
            routes = routed.routes(own.plain)
            figures["top-1, in the paper's scope"] = routed.right(own.plain, routes)
            figures["refused, in the paper's scope"] = 1.0 - active(routes)
        yield case, figures
