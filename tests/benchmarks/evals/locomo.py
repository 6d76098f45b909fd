"""LoCoMo: does a search find the turns that a question about a long conversation rests on?

Maharana et al., "Evaluating Very Long-Term Conversational Memory of LLM Agents", ACL 2024. Each
conversation becomes one memory, turn by turn, and each question one search; no language model
takes part. Recall is the share of a question's evidence turns among the first k hits. Questions
of category 5 have no answer in the conversation and are left out.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.evals.data_files import json_files
from benchmarks.report import write
from memkit.errors import InvalidInputError
from memkit.evals.measurement import Measurement
from memkit.memory.memory import Memory
from memkit.models.embedder import SentenceEmbedder
from memkit.protocols import Embedder
from memkit.types import Role

KS = (10, 20)
UNANSWERABLE = 5
RESAMPLES = 2000  # of the bootstrap behind the intervals
_TIME = "%I:%M %p on %d %B, %Y"  # "1:56 pm on 8 May, 2023"
_TURN = re.compile(r"D:?(\d+):0*(\d+)")


@dataclass(frozen=True)
class Line:
    """One turn of a conversation, as it is remembered."""

    id: str
    speaker: str
    text: str
    at: datetime


@dataclass(frozen=True)
class Asked:
    """One question, and the ids of the turns that its answer rests on."""

    question: str
    category: int
    evidence: frozenset[str]


@dataclass(frozen=True)
class Conversation:
    """One file's or one sample's conversation and the questions about it."""

    name: str
    speakers: tuple[str, str]
    lines: tuple[Line, ...]
    asked: tuple[Asked, ...]


@dataclass(frozen=True)
class Result:
    """How much of a question's evidence was found, by k."""

    conversation: str
    category: int
    recall: Mapping[int, float]


def main(*, data: Path | None, json_path: Path | None) -> int:
    """Measure on every conversation below ``data``; returns the exit status.

    Raises:
        InvalidInputError: If there is no data, or it is something else.
    """
    embedder = SentenceEmbedder.load()
    results = [result for talk in read(data) for result in evaluate(talk, embedder)]
    measurements = summarise(results)
    for m in measurements:
        sys.stdout.write(
            f"{m.case:<14}{m.metric:<14}{m.value:.3f} ({m.low:.3f} to {m.high:.3f}), n={m.n}\n"
        )
    ratios = {f"recall_at_{k}": fmean(result.recall[k] for result in results) for k in KS}
    write("locomo", measurements, ratios, json_path=json_path)
    return 0


def read(data: Path | None) -> list[Conversation]:
    """Read the conversations of ``data/locomo/*.json``, each file a sample or a list of them.

    Raises:
        InvalidInputError: If there is none, or a file holds something else.
    """
    talks = []
    for file in json_files(data, "locomo", "LoCoMo conversations"):
        try:
            samples = json.loads(file.read_text(encoding="utf-8"))
            samples = samples if isinstance(samples, list) else [samples]
            talks += [_conversation(sample) for sample in samples]
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise InvalidInputError(f"{file} is not in LoCoMo's format: {exc!r}") from exc
    return talks


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
    asked: Asked,
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
    rng = np.random.default_rng(0)
    means = rng.choice(np.array(values), (RESAMPLES, len(values))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Measurement(case, metric, fmean(values), "share", float(low), float(high), len(values))


def _conversation(sample: Mapping[str, Any]) -> Conversation:
    talk = sample["conversation"]
    lines = tuple(_lines(talk))
    known = {line.id for line in lines}
    asked = [
        Asked(qa["question"], qa["category"], frozenset(_turns(qa["evidence"])) & known)
        for qa in sample["qa"]
        if qa["category"] != UNANSWERABLE
    ]
    return Conversation(
        name=str(sample.get("sample_id", f"{talk['speaker_a']} and {talk['speaker_b']}")),
        speakers=(talk["speaker_a"], talk["speaker_b"]),
        lines=lines,
        asked=tuple(question for question in asked if question.evidence),
    )


def _lines(talk: Mapping[str, Any]) -> Iterator[Line]:
    numbers = sorted(int(key[8:]) for key in talk if re.fullmatch(r"session_\d+", key))
    for number in numbers:
        time = datetime.strptime(talk[f"session_{number}_date_time"], _TIME)
        for turn in talk[f"session_{number}"]:
            (id,) = _turns([turn["dia_id"]])
            yield Line(id, turn["speaker"], _text(turn), time.replace(tzinfo=UTC))


def _text(turn: Mapping[str, Any]) -> str:
    """What was said, and what a picture that went with it shows."""
    shown = turn.get("blip_caption"), turn.get("query")
    picture = ", ".join(part for part in shown if part)
    text: str = turn["text"]
    return f"{text} [shared {picture}]" if picture else text


def _turns(evidence: Sequence[str]) -> list[str]:
    """Ids of turns; some are written as "D8:6; D9:17", "D:11:26" or "D4:04"."""
    matches = [match for text in evidence for match in _TURN.findall(text)]
    return [f"D{session}:{turn}" for session, turn in matches]
