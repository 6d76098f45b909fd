"""LongMemEval: questions about many sessions with an assistant (Wu et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memkit.errors import CorruptFileError
from memkit.evals.data.dataset import Asked, DataSet, Document
from memkit.evals.data.missing_data import find, read_json

_ABSTENTION = "_abs"  # ends the ids of questions that no session answers


def read_longmemeval(folder: Path | None, questions: int | None = None) -> list[DataSet]:
    """One data set for each question, as each has sessions of its own.

    A document is a session; the question counts as answered by the first of its answer sessions.

    Args:
        folder: With ``longmemeval/*.json`` in it.
        questions: How many of the first ones; None for all.

    Raises:
        NotFoundError: If there is none.
        CorruptFileError: If a file holds something else.
    """
    sets: list[DataSet] = []
    for path in find(folder, "longmemeval", "*.json"):
        try:
            sets += [_question(case) for case in read_json(path)[:questions]]
        except (LookupError, TypeError, ValueError) as error:
            raise CorruptFileError(
                f"{str(path)!r} is not in LongMemEval's format: {error!r}"
            ) from error
    return sets[:questions]


def _question(case: Mapping[str, Any]) -> DataSet:
    sessions = zip(
        case["haystack_session_ids"],
        case["haystack_dates"],
        case["haystack_sessions"],
        strict=True,
    )
    documents = tuple(
        Document(id, "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns), title=date)
        for id, date, turns in sessions
    )
    unanswered = str(case["question_id"]).endswith(_ABSTENTION)
    asked = Asked(
        case["question"],
        () if unanswered else (str(case["answer"]),),
        "" if unanswered else case["answer_session_ids"][0],
    )
    return DataSet(f"LongMemEval, {case['question_id']}", documents, (asked,))
