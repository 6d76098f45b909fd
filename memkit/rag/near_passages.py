"""The passages nearest to queries, of enough records: a long one does not take all places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from memkit.ledger import Passage

PLACES = 2  # of a record, its text and its question, before its other passages are left out

Row = Sequence[tuple[int, float]]  # keys of passages and their similarity, nearest first
# Finds so many passages for some of the queries, by place; without those of some keys.
Find = Callable[[Sequence[int], NDArray[np.int64] | None, int], Sequence[Row]]
Load = Callable[[Iterable[int]], Mapping[int, Passage]]  # reads more; gives all read so far


def near_passages(
    queries: int,
    find: Find,
    load: Load,
    keys_of: Callable[[Sequence[str]], Mapping[str, Sequence[int]]],
    *,
    k: int,
    fetch: int,
) -> list[list[tuple[int, float]]]:
    """Find the nearest passages, and go on without records that have enough places.

    Each look leaves out at least one record more, so there are few of them however long the
    records are.

    Args:
        queries: How many there are.
        find: Finds passages.
        load: Reads the passages of keys; those that may not be seen are missing.
        keys_of: All passages of some records.
        k: So many records are wanted for each query.
        fetch: How many passages are looked for at once; at least ``PLACES * k``.

    Returns:
        For each query, nearest first, ``fetch`` passages, and more until they are of ``k``
        records or there are no others.
    """
    rows: list[dict[int, float]] = [{} for _ in range(queries)]
    looks: dict[tuple[frozenset[str], frozenset[int]], list[int]]
    looks = {(frozenset(), frozenset()): list(range(queries))}
    while looks:
        open_: list[int] = []
        for (long, unseen), places in looks.items():
            theirs = keys_of(sorted(long)) if long else {}
            keys = [*unseen, *chain.from_iterable(theirs.values())]
            without = np.array(keys, np.int64) if keys else None
            for place, row in zip(places, find(places, without, fetch), strict=True):
                rows[place] |= dict(row)
                if len(row) == fetch:
                    open_.append(place)
        passages = load(chain.from_iterable(rows))
        looks = {}
        for place in open_:
            taken = Counter(passages[key].record_id for key in rows[place] if key in passages)
            if len(taken) < k:
                long = frozenset(id for id, count in taken.items() if count > PLACES)
                unseen = frozenset(rows[place].keys() - passages.keys())
                looks.setdefault((long, unseen), []).append(place)
        if any(unseen for _, unseen in looks):
            fetch *= 2  # what may not be seen is left out one by one
    return [list(row.items()) for row in rows]
