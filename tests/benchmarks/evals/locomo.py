"""LoCoMo: does a search find the turns that a question about a long conversation rests on?

Maharana et al., "Evaluating Very Long-Term Conversational Memory of LLM Agents", ACL 2024. Each
conversation becomes one memory, turn by turn, and each question one search; no language model
takes part. Recall is the share of a question's evidence turns among the first k hits. Questions
of category 5 have no answer in the conversation and are left out.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

from benchmarks.report import write
from memkit.evals.data.locomo_talks import Conversation, TurnQuestion, read_locomo
from memkit.evals.measurement import Measurement
from memkit.evals.metrics.bootstrap import interval
from memkit.memory.memory import Memory
from memkit.models.embedder import SentenceEmbedder
from memkit.protocols import Embedder
from memkit.types import Role

KS = (10, 20)


@dataclass(frozen=True)
class Result:
    """How much of a question's evidence was found, by k."""

    conversation: str
    category: int
    recall: Mapping[int, float]


def main(*, data: Path | None, json_path: Path | None) -> int:
    """Measure on every conversation below ``data``; returns the exit status.

    Raises:
        NotFoundError: If there is no data.
        CorruptFileError: If it is something else.
    """
    embedder = SentenceEmbedder.load()
    results = [result for talk in read_locomo(data) for result in evaluate(talk, embedder)]
    measurements = summarise(results)
    for m in measurements:
        sys.stdout.write(
            f"{m.case:<14}{m.metric:<14}{m.value:.3f} ({m.low:.3f} to {m.high:.3f}), n={m.n}\n"
        )
    ratios = {f"recall_at_{k}": fmean(result.recall[k] for result in results) for k in KS}
    write("locomo", measurements, ratios, json_path=json_path)
    return 0


def evaluate(talk: Conversation, embedder: Embedder) -> list[Result]:
    """Remember a conversation, ask all questions about it, and compare with the evidence."""
    with (
        TemporaryDirectory() as folder,
        Memory.open(Path(folder, "memory"), backends=["rag"], embedder=embedder) as memory,
    ):
        scope = {"conversation": talk.name}
        turn_ids: dict[str | None, set[str]] = {}
        for line in talk.lines:
            role: Role = "user" if line.speaker == talk.speakers[0] else "assistant"
            turn = memory.add_turn(role, line.text, scope=scope, name=line.speaker, at=line.at)
            turn_ids.setdefault(turn.record_id, set()).add(line.id)
        return [_search(memory, scope, talk.name, asked, turn_ids) for asked in talk.asked]


def summarise(results: Sequence[Result]) -> list[Measurement]:
    """Mean recall of all questions, of each conversation's and of each category's."""
    cases = {"all": list(results)}
    for result in results:
        cases.setdefault(result.conversation, []).append(result)
    for category in sorted({result.category for result in results}):
        cases[f"category {category}"] = [
            result for result in results if result.category == category
        ]
    return [
        _mean(case, f"recall@{k}", [result.recall[k] for result in of_case])
        for case, of_case in cases.items()
        for k in KS
    ]


def _search(
    memory: Memory,
    scope: Mapping[str, str],
    name: str,
    asked: TurnQuestion,
    turn_ids: Mapping[str | None, set[str]],
) -> Result:
    recall = {}
    for k in KS:  # each for itself: what is first among 10 need not be so among 20
        hits = memory.search(asked.question, k=k, scope=scope)
        turns = set().union(*(turn_ids[hit.id] for hit in hits))
        recall[k] = len(turns & asked.evidence) / len(asked.evidence)
    return Result(name, asked.category, recall)


def _mean(case: str, metric: str, values: Sequence[float]) -> Measurement:
    """A mean with its 95 % bootstrap interval over questions."""
    found = interval([values])
    return Measurement(case, metric, fmean(values), "share", found.low, found.high, found.n)
