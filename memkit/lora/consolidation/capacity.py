"""Which law of capacity holds for a base model: a measured one, or a cautious guess.

`memkit capacity` measures a model and keeps the points in memkit's cache folder; what it
has measured is used from then on.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from memkit.errors import CorruptFileError, InvalidInputError
from memkit.files import file_draft
from memkit.models.gguf import cache_dir

if TYPE_CHECKING:
    from memkit.models.language_model import TransformersModel

logger = logging.getLogger(__name__)

DEFAULT_NAME = "SmolLM2-135M-Instruct"
RECALL = 0.9  # of held-out wordings: what a full adapter is to recall
SAFETY = 0.5  # of what fills an adapter: facts differ, and so do seeds

_RIDGE = 1e-2  # keeps the fit finite where recall falls from all to nothing between two loads
_TIE = 1.0  # of w and v, where the answers leave either open
_STEPS = 100  # Newton's, far more than it takes

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """One adapter that was trained and asked.

    Attributes:
        tokens: Answer tokens of its facts together, each answer once, stop token included.
        asked: How many held-out wordings were asked.
        recalled: How many of them were answered exactly.
        exact: Share of the trained questions answered exactly.
        paraphrased: Share of paraphrases in other words answered exactly.
    """

    rank: int
    facts: int
    tokens: int
    asked: int
    recalled: int
    exact: float
    paraphrased: float
    cpu_seconds: float
    seed: int = 0

    @property
    def case(self) -> tuple[int, int, int]:
        """What was measured, in the order of the loads: facts, rank and seed."""
        return self.facts, self.rank, self.seed


@dataclass(frozen=True)
class Law:
    """How many answer tokens rank r holds: ``scale * r ** exponent``, and never above ``most``.

    ``most`` is the largest load that was measured; nothing is said of larger ones.
    """

    scale: float
    exponent: float
    most: int

    def tokens(self, rank: int) -> float:
        """Answer tokens that an adapter of this rank holds at a recall of `RECALL`."""
        return min(self._full(rank), float(self.most))

    def room(self, rank: int) -> float:
        """Answer tokens to give to an adapter of this rank: half of what would fill it."""
        return min(SAFETY * self._full(rank), float(self.most))

    def _full(self, rank: int) -> float:
        return self.scale * math.pow(rank, self.exponent)


def fit(points: Sequence[Point]) -> Law:
    """Fit the law to measurements by logistic regression.

    The model is ``logit(recall) = u + v log(rank) - w log(tokens)``; solved for the tokens at
    a given recall it is a power of the rank with exponent ``v / w``. Adapters that recalled
    everything count as well, as a bound. Where more tokens cost no recall, the largest load is
    all that is known, for every rank.

    Source:
        Own design; that capacity is a power of the rank is what the study of adapters as
        memories finds (docs/decisions/0005-capacity.md).

    Raises:
        InvalidInputError: If there are no points.
    """
    if not points:
        raise InvalidInputError("expected measured points, got none")
    most = max(point.tokens for point in points)
    highest = most / SAFETY  # of a scale: rank 1 is given all that was measured
    u, v, w = _logistic(points)
    if w <= _RIDGE:
        return Law(highest, 0.0, most)
    at_recall = u - math.log(RECALL / (1.0 - RECALL))
    return Law(math.exp(min(at_recall / w, math.log(highest))), max(v, 0.0) / w, most)


def _logistic(points: Sequence[Point]) -> tuple[float, float, float]:
    """Maximum of the binomial likelihood, with a ridge on v and w - v, by Newton's method.

    The ridge decides where little is known of one slope, as when only ranks were tried or all
    loads were recalled: capacity then is proportional to the rank.
    """
    x: Floats = np.array([[1.0, math.log(p.rank), -math.log(p.tokens)] for p in points])
    asked: Floats = np.array([p.asked + 1.0 for p in points])  # half a hit and half a miss more
    right: Floats = np.array([p.recalled + 0.5 for p in points])
    # Half the second derivative of _RIDGE v^2 + _TIE (w - v)^2.
    ridge = np.array([[0.0, 0.0, 0.0], [0.0, _RIDGE + _TIE, -_TIE], [0.0, -_TIE, _TIE]])
    beta = np.zeros(3)
    for _ in range(_STEPS):
        chance = 1.0 / (1.0 + np.exp(-(x @ beta)))
        slope = x.T @ (right - asked * chance) - ridge @ beta
        curve = (x.T * (asked * chance * (1.0 - chance))) @ x + ridge
        step = np.linalg.lstsq(curve, slope, rcond=None)[0]
        beta = beta + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if float(np.abs(step).max()) < 1e-9:
            break
    return float(beta[0]), float(beta[1]), float(beta[2])


# `memkit capacity` on `DEFAULT_NAME`: rank 1 with 48 facts, rank 8 with 48 and 96. Rank 8 was not
# filled (docs/decisions/0005-capacity.md).
DEFAULT = Law(scale=164.0, exponent=1.14, most=647)


def law_for(base: TransformersModel) -> Law:
    """The law for a base model; see `known_law`. One that was never measured is logged.

    Raises:
        CorruptFileError: If the file of measurements cannot be read.
    """
    law, measured = known_law(base.name, base.fingerprint)
    if not measured:
        _log_unknown(base.name)
    return law


def known_law(name: str, fingerprint: str) -> tuple[Law, bool]:
    """The law for a base model by its name and fingerprint, and whether it was measured.

    What was measured on this machine comes first, then what ships for the default model. For
    any other model half of the latter is taken, which is cautious for all but tiny ones:
    larger models have more adapter weights at the same rank.

    Raises:
        CorruptFileError: If the file of measurements cannot be read.
    """
    points = load_points(points_file(fingerprint))
    if points:
        return fit(points), True
    return shipped_law(name), name == DEFAULT_NAME


def shipped_law(name: str) -> Law:
    """The law for a base model, by its name, of which nothing was measured on this machine."""
    if name == DEFAULT_NAME:
        return DEFAULT
    return Law(DEFAULT.scale / 2, DEFAULT.exponent, DEFAULT.most // 2)


@lru_cache(maxsize=32)  # once for each name
def _log_unknown(name: str) -> None:
    logger.info(
        "the capacity of adapters on %r was never measured, taking half of that on %s; "
        "`memkit capacity --base-model ...` measures it",
        name,
        DEFAULT_NAME,
    )


def points_file(fingerprint: str) -> Path:
    """Where the measurements on a base model are."""
    return cache_dir() / "capacity" / f"{fingerprint[:32]}.json"


def load_points(path: Path) -> list[Point]:
    """The measurements in a file; none if there is no file.

    Raises:
        CorruptFileError: If it holds something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return [Point(**values) for values in document["points"]]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, LookupError) as error:
        raise CorruptFileError(
            f"expected measured capacities in {str(path)!r}, cannot read them: {error}",
            hint="delete the file; `memkit capacity` makes it again",
        ) from error


def add_points(path: Path, points: Sequence[Point]) -> None:
    """Put measurements into a file, all at once, beside those of other cases that it has.

    Raises:
        CorruptFileError: If the file holds something else.
    """
    known = {point.case: point for point in [*load_points(path), *points]}
    points = [known[case] for case in sorted(known)]
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"points": [asdict(point) for point in points]}
    with file_draft(path) as draft:
        draft.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        draft.replace(path)
