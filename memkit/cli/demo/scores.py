"""What the demo measured: exact match, prompt tokens and seconds per configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table

from memkit.evals.measurement import Measurement
from memkit.lora.verify import same_answer
from memkit.types import Answer


@dataclass(frozen=True)
class Score:
    """How one configuration answered.

    Attributes:
        name: The configuration.
        asked: Number of questions.
        exact: Answers that are the expected one, up to case and final punctuation.
        contained: Answers that contain the expected one.
        prompt_tokens: Mean length of the prompt, evidence included.
        seconds: Wall-clock time per question.
    """

    name: str
    asked: int
    exact: int
    contained: int
    prompt_tokens: float
    seconds: float


def score(name: str, answers: Sequence[Answer], expected: Sequence[str]) -> Score:
    """Compare answers with what was expected, in order."""
    pairs = list(zip(answers, expected, strict=True))
    asked = max(1, len(pairs))
    return Score(
        name=name,
        asked=len(pairs),
        exact=sum(same_answer(right, answer.text) for answer, right in pairs),
        contained=sum(right.casefold() in answer.text.casefold() for answer, right in pairs),
        prompt_tokens=sum(answer.prompt_tokens for answer in answers) / asked,
        seconds=sum(answer.seconds for answer in answers) / asked,
    )


def table(scores: Sequence[Score]) -> Table:
    """One row per configuration."""
    rows = Table(box=SIMPLE_HEAD, pad_edge=False)
    rows.add_column("")
    for heading in ("exact", "contained", "of", "prompt tokens", "s/question"):
        rows.add_column(heading, justify="right")
    for s in scores:
        shares = (f"{hits / max(1, s.asked):.2f}" for hits in (s.exact, s.contained))
        rows.add_row(s.name, *shares, str(s.asked), f"{s.prompt_tokens:.0f}", f"{s.seconds:.2f}")
    return rows


def measurements(scores: Sequence[Score]) -> list[Measurement]:
    """The same, in the shape that all of memkit's measurements have."""
    return [
        Measurement.of(s.name, metric, [value], unit)
        for s in scores
        for metric, value, unit in (
            ("exact_match", s.exact / max(1, s.asked), "share"),
            ("contained", s.contained / max(1, s.asked), "share"),
            ("prompt_tokens", s.prompt_tokens, "tokens"),
            ("seconds", s.seconds, "s/question"),
        )
    ]
