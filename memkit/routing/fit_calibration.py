"""Where "none" begins: between a memory's own questions and all others, measured on both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from memkit.errors import InvalidInputError
from memkit.types.calibration import Bin, Calibration, Features

FALSE_ACTIVATION = 0.01  # share of unrelated prompts that may pass
FALSE_REFUSAL = 0.01  # share of related questions that may be refused
UNSTORED = 0.1  # weight of questions whose fact is missing, beside 0.9 of general prompts
MARGIN = 0.4  # where between unrelated and related the threshold lies
RIDGE = 1.0
STEPS = 30
BINS = 5  # of the reliability curve

Floats = NDArray[np.float64]


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
    _check_both_kinds(related, unrelated)
    rows, labels, weights = _sample(related, unrelated, unstored)
    slopes = _fit(rows, labels, weights)
    fitted = Calibration(slopes[1] / slopes[0], slopes[2] / slopes[0], 0.0, slopes[0])
    threshold = threshold_between(
        [fitted.evidence(features) for features in related],
        [fitted.evidence(features) for features in unrelated],
    )
    limit = limit_between([f.replaced for f in related], [f.replaced for f in unstored])
    chosen = replace(fitted, threshold=threshold, limit=limit)
    unseen = [features for features in unstored if not chosen.means_another(features)]
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
    _check_both_kinds(related, unrelated)
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
    replacing = [weight for weight in unstored if weight > 0.0]
    if not replacing:
        return None
    own = float(np.quantile(np.asarray(related), 1.0 - FALSE_REFUSAL))
    other = float(np.median(np.asarray(replacing)))
    return (own + other) / 2 if other > own else None


def _check_both_kinds(related: Sequence[object], unrelated: Sequence[object]) -> None:
    if not related or not unrelated:
        raise InvalidInputError(
            f"expected questions of both kinds, got {len(related)} related and "
            f"{len(unrelated)} unrelated"
        )


def _share(calibration: Calibration, questions: Sequence[Features]) -> float:
    passing = sum(map(calibration.passes, questions))
    return passing / len(questions) if questions else 0.0


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
        slopes = dict(zip(used, _newton(rows[:, used], labels, weights).tolist(), strict=True))
        positive = [column for column in used if column == 0 or slopes[column] > 0.0]
        if positive == used:
            return max(slopes[0], 1.0), slopes.get(1, 0.0), slopes.get(2, 0.0)
        used = positive


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
    """Predicted against observed, each half judged by the curve fitted to the other half.

    Both sides count alike, however many questions they have; those whose fact was left out
    count as unrelated.
    """
    judged: list[Floats] = []  # rows of probability, truth and weight
    kinds = (related, unrelated, unstored)
    for half in (0, 1):
        rows, labels, weights = _sample(*(kind[1 - half :: 2] for kind in kinds))
        if len(set(labels.tolist())) < 2:
            continue  # too few questions to cut in halves
        slopes = np.array(_fit(rows, labels, weights))
        offset = _offset(rows @ slopes, labels, weights)
        rows, labels, weights = _sample(*(kind[half::2] for kind in kinds))
        judged.append(np.c_[1.0 / (1.0 + np.exp(-(rows @ slopes + offset))), labels, weights])
    if not judged:
        return ()
    table = np.concatenate(judged)
    place = np.minimum((table[:, 0] * BINS).astype(int), BINS - 1)
    bins = []
    for step in (table[place == k] for k in range(BINS)):
        if len(step):
            means = np.average(step[:, :2], axis=0, weights=step[:, 2]).round(4).tolist()
            bins.append(Bin(means[0], means[1], len(step)))
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
