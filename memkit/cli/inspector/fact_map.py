"""A map of facts: the two directions in which stored vectors differ most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memkit.ledger import Ledger

GRID = 65_535  # coordinates are whole numbers from 0 to this
_BATCH = 2_000  # records whose vectors are read at once


@dataclass(frozen=True)
class FactMap:
    """Places of records on the map.

    Attributes:
        x: From 0 to `GRID`, in the order of the records; None for one without a vector.
        y: The same, upwards.
        explained: Share of the vectors' variance that the two directions have, in [0, 1].
        dim: Dimension of the vectors; 0 if there are none.
    """

    x: list[int | None]
    y: list[int | None]
    explained: float
    dim: int


def fact_map(ledger: Ledger, ids: Sequence[str]) -> FactMap:
    """Put records on a map by the mean vector of their passages, as it is stored."""
    placed: list[int] = []
    batches: list[NDArray[np.float32]] = []
    for start in range(0, len(ids), _BATCH):
        batch = ids[start : start + _BATCH]
        vectors = ledger.passages.vectors_of(batch)
        known = [place for place, id in enumerate(batch) if id in vectors]
        placed += [start + place for place in known]
        if known:
            batches.append(np.stack([vectors[batch[place]].mean(axis=0) for place in known]))
    x: list[int | None] = [None] * len(ids)
    y: list[int | None] = [None] * len(ids)
    if not batches:
        return FactMap(x, y, 0.0, 0)
    rows = np.concatenate(batches)
    flat, explained = principal_plane(rows)
    for place, (across, up) in zip(placed, _on_grid(flat).tolist(), strict=True):
        x[place], y[place] = across, up
    return FactMap(x, y, explained, rows.shape[1])


def principal_plane(rows: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """Project rows on their first two principal components.

    Args:
        rows: Shape ``(n, d)``, n of at least 1.

    Returns:
        Shape ``(n, 2)``, of mean 0, each component so directed that its largest weight is
        positive; and the share of the variance that the two have, 0 if there is none.

    Source:
        Pearson 1901, "On lines and planes of closest fit to systems of points in space".
    """
    mean = rows.mean(axis=0, dtype=np.float64)
    blocks = [slice(start, start + _BATCH) for start in range(0, len(rows), _BATCH)]
    scatter = sum(centred.T @ centred for centred in (rows[block] - mean for block in blocks))
    variances, directions = np.linalg.eigh(scatter)
    plane = directions[:, ::-1][:, :2]
    if plane.shape[1] < 2:  # vectors of a single number
        plane = np.column_stack([plane, np.zeros(len(plane))])
    largest = np.abs(plane).argmax(axis=0)
    signs = np.where(plane[largest, [0, 1]] < 0, -1.0, 1.0)
    total = float(variances.sum())
    explained = float(variances[::-1][:2].sum()) / total if total > 0 else 0.0
    flat = np.concatenate([(rows[block] - mean) @ (plane * signs) for block in blocks])
    return flat, min(1.0, max(0.0, explained))


def _on_grid(flat: NDArray[np.float64]) -> NDArray[np.int64]:
    """Coordinates as whole numbers, both in one scale, centred."""
    low, high = flat.min(axis=0), flat.max(axis=0)
    span = float((high - low).max()) or 1.0
    scaled: NDArray[np.float64] = (flat - (low + high) / 2) / span + 0.5
    return np.rint(scaled * GRID).astype(np.int64)
