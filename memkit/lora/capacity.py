"""How many records go into one adapter, and which ones together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise

from memkit.errors import InvalidInputError
from memkit.scope import canonical
from memkit.types import Record

# 16 facts at rank 8 are learned to the last one in about a minute on two cores, and are what
# has to be retrained when one of them is forgotten (docs/decisions/0001-training-defaults.md).
RECORDS_PER_MODULE = 16


def partition(records: Sequence[Record], size: int = RECORDS_PER_MODULE) -> list[list[Record]]:
    """Cut records into parts, one per module: scopes apart, then in the order given.

    Within a scope the parts are as even as they can be. Deterministic.

    Args:
        records: In insertion order.
        size: At most this many records per part, >= 1.
    """
    if size < 1:
        raise InvalidInputError(f"`size` must be at least 1, got {size!r}")
    keyed = sorted(records, key=lambda record: canonical(record.scope))  # stable
    return [
        part
        for _, group in groupby(keyed, key=lambda record: canonical(record.scope))
        for part in _even_parts(list(group), size)
    ]


def _even_parts(records: list[Record], size: int) -> list[list[Record]]:
    parts = math.ceil(len(records) / size)
    bounds = [round(i * len(records) / parts) for i in range(parts + 1)]
    return [records[a:b] for a, b in pairwise(bounds)]
