"""Questions 6 and 7: what another base model or a stronger writer would change; claimed nothing."""

from __future__ import annotations

from memkit.evals.configuration import Point
from memkit.evals.study.design import Conclusion, Finding, Question, Results, Scale

_SIZE = "Larger base models hold more, but not in proportion."
_WRITER = "Training data of a stronger writer makes better modules."


def _nothing(_scale: Scale, _seed: int) -> list[Point]:
    return []


def _untold(claim: str, needs: str) -> Conclusion:
    return Conclusion((Finding(claim, "cannot be told here", needs),))


def _conclude_size(_results: Results, _scale: Scale) -> Conclusion:
    return _untold(
        _SIZE,
        "one base model was measured; `memkit study --full --base-model MODEL` measures another "
        "one, to be compared by hand",
    )


def _conclude_writer(_results: Results, _scale: Scale) -> Conclusion:
    return _untold(
        _WRITER,
        "no large model wrote training data; question 5 compares memkit's templates with a "
        "scripted stand-in, which is no measurement of a model",
    )


SIZES = Question(
    ("6",),
    "Do larger base models hold more?",
    _nothing,
    _conclude_size,
    needs="needs other bases: claimed nothing",
)
WRITERS = Question(
    ("7",),
    "Does a stronger writer of training data pay?",
    _nothing,
    _conclude_writer,
    needs="needs a stronger writer: claimed nothing",
)
