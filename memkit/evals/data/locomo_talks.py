"""LoCoMo: long conversations of two people, and questions about them (Maharana et al. 2024)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from memkit.errors import CorruptFileError
from memkit.evals.data.dataset import Asked, DataSet, Document
from memkit.evals.data.missing_data import find, read_json

UNANSWERABLE = 5  # the category of questions that the conversation does not answer
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
class TurnQuestion:
    """One question, and the ids of the turns that its answer rests on."""

    question: str
    category: int
    evidence: frozenset[str]
    answer: str = ""


@dataclass(frozen=True)
class Conversation:
    """One file's or one sample's conversation and the questions about it."""

    name: str
    speakers: tuple[str, str]
    lines: tuple[Line, ...]
    asked: tuple[TurnQuestion, ...]


def read_locomo(data: Path | None) -> list[Conversation]:
    """Read the conversations of ``data/locomo/*.json``, each file a sample or a list of them.

    Raises:
        NotFoundError: If there is none.
        CorruptFileError: If a file holds something else.
    """
    talks = []
    for file in find(data, "locomo", "*.json"):
        samples = read_json(file)
        try:
            talks += [
                _conversation(s) for s in (samples if isinstance(samples, list) else [samples])
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptFileError(f"{str(file)!r} is not in LoCoMo's format: {error!r}") from error
    return talks


def talk_data(talk: Conversation) -> DataSet:
    """One conversation as a data set: a document for each turn, with its speaker.

    A question counts as answered by its first evidence turn; the others are documents, too.
    """
    documents = tuple(Document(line.id, f"{line.speaker}: {line.text}") for line in talk.lines)
    asked = tuple(Asked(q.question, (q.answer,), min(q.evidence)) for q in talk.asked if q.answer)
    return DataSet(f"LoCoMo, {talk.name}", documents, asked)


def _conversation(sample: Mapping[str, Any]) -> Conversation:
    talk = sample["conversation"]
    lines = tuple(_lines(talk))
    known = {line.id for line in lines}
    asked = [
        TurnQuestion(
            qa["question"],
            qa["category"],
            frozenset(_turns(qa["evidence"])) & known,
            str(qa.get("answer", "")),
        )
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
