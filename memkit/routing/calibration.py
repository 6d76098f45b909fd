"""Where "none" begins: between a memory's own questions and all others, measured on both."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkit.errors import InvalidInputError

VERSION = 2  # of what is kept: what another version has measured is measured anew
FALSE_ACTIVATION = 0.01  # share of unrelated prompts that may pass
FALSE_REFUSAL = 0.01  # share of related questions that may be refused
UNSTORED = 0.1  # weight of questions whose fact is missing, beside 0.9 of general prompts
MARGIN = 0.4  # where between unrelated and related the threshold lies
RIDGE = 1.0
STEPS = 30
BINS = 5  # of the reliability curve

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """What speaks for the best fact of a query.

    Attributes:
        similarity: Cosine similarity of the query with it.
        mass: ``log(1 + summed weight)`` of the query's words that it has.
        named: The share of the fact's own question that the query has, in [0, 1].
        replaced: What the query says in place of words of it (`memkit.routing.mismatch`).
    """

    similarity: float
    mass: float
    named: float
    replaced: float = 0.0


@dataclass(frozen=True)
class Bin:
    """One step of a reliability curve: what was said, and how often it was so."""

    said: float
    true: float
    n: int


@dataclass(frozen=True)
class Calibration:
    """How sure a memory's router may be; kept in its ledger.

    The evidence for a fact is ``similarity + mass * m + named * k``, in units of cosine
    similarity; below the threshold no module answers. Nor does one if the query replaces more
    of the fact's question than the limit: then it is about something else of the same form.

    Attributes:
        mass: Weight of `Features.mass`.
        named: Weight of `Features.named`.
        threshold: Least evidence with which a module answers.
        slope: Of the logistic curve that turns evidence into a probability.
        limit: Most that a query may replace; None if that tells nothing in this memory.
        false_activation: The share of unrelated prompts that passed the threshold.
        false_refusal: The share of related questions that did not.
        unstored: The share of questions whose fact was left out that passed both.
        curve: How far the probabilities can be relied on, measured on those halves of the
            questions that the curve was not fitted to.
        changes: The ledger's feed had got so far.
        passages: How many there were.
        version: Of this format.
    """

    mass: float
    named: float
    threshold: float
    slope: float
    limit: float | None = None
    false_activation: float = 0.0
    false_refusal: float = 0.0
    unstored: float = 0.0
    curve: tuple[Bin, ...] = ()
    changes: int = 0
    passages: int = 0
    version: int = VERSION

    def evidence(self, features: Features) -> float:
        """What speaks for a fact, in units of cosine similarity."""
        return features.similarity + self.mass * features.mass + self.named * features.named

    def means_another(self, features: Features) -> bool:
        """Whether a query names something else than the fact that is nearest to it."""
        return self.limit is not None and features.replaced > self.limit

    def passes(self, features: Features) -> bool:
        """Whether a module that holds the fact answers."""
        enough = self.evidence(features) >= self.threshold
        return enough and not self.means_another(features)

    def probability(self, evidence: float) -> float:
        """That a query with this evidence is about what is stored; 1/2 at the threshold."""
        return 1.0 / (1.0 + math.exp(-max(-60.0, self.slope * (evidence - self.threshold))))

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Calibration | None:
        """The inverse of `to_json`; None for what another version has written."""
        values: dict[str, Any] = json.loads(text)
        if values.get("version") != VERSION:
            return None
        return cls(**{**values, "curve": tuple(Bin(**one) for one in values["curve"])})


def calibrated(
    related: Sequence[Features], unrelated: Sequence[Features], unstored: Sequence[Features] = ()
) -> Calibration:
    """Fit how much each feature counts, and choose the threshold.

    The weights are those of a logistic regression between questions about records and both
    general prompts and questions whose own fact was left out. The threshold is then chosen
    between the first two (`threshold_between`).

    Args:
        related: Of questions about records.
        unrelated: Of general prompts.
        unstored: Of questions about records whose own fact did not take part.

    Raises:
        InvalidInputError: If there is nothing related or nothing unrelated.
    """
    if not related or not unrelated:
        raise InvalidInputError(
            f"expected questions of both kinds, got {len(related)} related and "
            f"{len(unrelated)} unrelated"
        )
    rows, labels, weights = _sample(related, unrelated, unstored)
    slopes = _fit(rows, labels, weights)
    fitted = Calibration(slopes[1] / slopes[0], slopes[2] / slopes[0], 0.0, slopes[0])
    threshold = threshold_between(
        [fitted.evidence(one) for one in related], [fitted.evidence(one) for one in unrelated]
    )
    limit = limit_between([f.replaced for f in related], [f.replaced for f in unstored])
    chosen = replace(fitted, threshold=threshold, limit=limit)
    unseen = [one for one in unstored if not chosen.means_another(one)]
    return replace(
        chosen,
        false_activation=_share(chosen, unrelated),
        false_refusal=1.0 - _share(chosen, related),
        unstored=_share(chosen, unstored),
        curve=_reliability(related, unrelated, unseen),
    )


def threshold_between(related: Sequence[float], unrelated: Sequence[float]) -> float:
    """Choose the evidence below which a query is none of the memory's business.

    Between the highest of the unrelated and the lowest of the related values, outliers aside,
    and nearer to the unrelated: users word questions in more ways than a synthesizer. Where the
    two overlap, few false activations come first: a question that is refused is still answered
    by rag, one that is wrongly activated gets an invented answer.

    Args:
        related: Evidence for questions about records.
        unrelated: The same for general prompts.

    Raises:
        InvalidInputError: If either is empty.
    """
    if not related or not unrelated:
        raise InvalidInputError(
            f"expected values of both kinds, got {len(related)} related and "
            f"{len(unrelated)} unrelated"
        )
    low = float(np.quantile(np.asarray(related), FALSE_REFUSAL))
    high = float(np.quantile(np.asarray(unrelated), 1.0 - FALSE_ACTIVATION))
    return high + MARGIN * (low - high) if low > high else high


def limit_between(related: Sequence[float], unstored: Sequence[float]) -> float | None:
    """Choose how much a question may replace before it is about something that is not stored.

    Halfway between the most that related questions replace, outliers aside, and the middle of
    what questions about left-out facts replace, if they replace anything: of a fact that shares
    its subject with others only the form may be missing. None where the two overlap, as in
    prose: what replaces what is not to be seen in the words then.

    Args:
        related: `Features.replaced` of questions about records.
        unstored: The same of questions whose own fact did not take part.
    """
    some = [one for one in unstored if one > 0.0]
    if not some:
        return None
    own = float(np.quantile(np.asarray(related), 1.0 - FALSE_REFUSAL))
    other = float(np.median(np.asarray(some)))
    return (own + other) / 2 if other > own else None


def _share(calibration: Calibration, asked: Sequence[Features]) -> float:
    return sum(map(calibration.passes, asked)) / len(asked) if asked else 0.0


def _sample(
    related: Sequence[Features], unrelated: Sequence[Features], unstored: Sequence[Features]
) -> tuple[Floats, Floats, Floats]:
    """Features, shape ``(n, 3)``; labels and weights, shape ``(n,)``. Both sides weigh 100."""
    general = 1.0 - UNSTORED if unstored else 1.0
    kinds = ((related, 1.0, 1.0), (unrelated, 0.0, general), (unstored, 0.0, UNSTORED))
    rows = [[f.similarity, f.mass, f.named] for kind, _, _ in kinds for f in kind]
    labels = [label for kind, label, _ in kinds for _ in kind]
    weights = [100.0 * share / len(kind) for kind, _, share in kinds for _ in kind]
    return np.array(rows), np.array(labels), np.array(weights)


def _fit(rows: Floats, labels: Floats, weights: Floats) -> tuple[float, float, float]:
    """Slopes of a ridge logistic regression; no feature counts against a fact.

    Newton's method on standardised features. One that comes out negative is left out, and
    similarity always counts.
    """
    used = [0, 1, 2]
    while True:
        slopes = _newton(rows[:, used], labels, weights)
        negative = [column for column, slope in zip(used, slopes, strict=True) if slope <= 0.0]
        dropped = [column for column in negative if column != 0]
        if not dropped:
            break
        used = [column for column in used if column not in dropped]
    found = dict(zip(used, slopes.tolist(), strict=True))
    return max(found[0], 1.0), found.get(1, 0.0), found.get(2, 0.0)


def _newton(rows: Floats, labels: Floats, weights: Floats) -> Floats:
    scale = rows.std(axis=0) + 1e-6
    design = np.c_[(rows - rows.mean(axis=0)) / scale, np.ones(len(rows))]
    ridge = np.full(design.shape[1], RIDGE)
    ridge[-1] = 1e-6  # the intercept is free
    beta = np.zeros(design.shape[1])
    for _ in range(STEPS):
        p = 1.0 / (1.0 + np.exp(-design @ beta))
        gradient = design.T @ (weights * (p - labels)) + ridge * beta
        curvature = (design * (weights * p * (1.0 - p))[:, None]).T @ design + np.diag(ridge)
        beta -= np.linalg.solve(curvature, gradient)
    slopes: Floats = beta[:-1] / scale
    return slopes


def _reliability(
    related: Sequence[Features], unrelated: Sequence[Features], unstored: Sequence[Features]
) -> tuple[Bin, ...]:
    """Said against true, each half judged by the curve that was fitted to the other.

    Both sides count alike, however many questions they have; those whose fact was left out
    count as unrelated.
    """
    said: list[Floats] = []  # rows of probability, truth and weight
    kinds = (related, unrelated, unstored)
    for half in (0, 1):
        rows, labels, weights = _sample(*(kind[1 - half :: 2] for kind in kinds))
        if len(set(labels.tolist())) < 2:
            continue  # too few questions to cut in halves
        slopes = np.array(_fit(rows, labels, weights))
        offset = _offset(rows @ slopes, labels, weights)
        rows, labels, weights = _sample(*(kind[half::2] for kind in kinds))
        said.append(np.c_[1.0 / (1.0 + np.exp(-(rows @ slopes + offset))), labels, weights])
    if not said:
        return ()
    table = np.concatenate(said)
    place = np.minimum((table[:, 0] * BINS).astype(int), BINS - 1)
    bins = []
    for here in (table[place == k] for k in range(BINS)):
        if len(here):
            means = np.average(here[:, :2], axis=0, weights=here[:, 2]).round(4).tolist()
            bins.append(Bin(means[0], means[1], len(here)))
    return tuple(bins)


def _offset(values: Floats, labels: Floats, weights: Floats) -> float:
    """The intercept of a logistic curve whose slope is given."""
    offset = 0.0
    for _ in range(200):
        p = 1.0 / (1.0 + np.exp(-np.clip(values + offset, -60, 60)))
        step = float((weights * (p - labels)).sum() / max(1e-3, (weights * p * (1 - p)).sum()))
        offset -= float(np.clip(step, -2.0, 2.0))
        if abs(step) < 1e-6:
            break
    return offset
