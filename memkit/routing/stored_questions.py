"""Routes of stored questions: computed from stored vectors, without a model.

memkit keeps no log of what users ask. What it has is the question of each record that came with
one, and the vector of that question. The router decides on these as it would on a user's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from memkit.errors import InvalidInputError
from memkit.ledger import Ledger
from memkit.rag.index import FactIndex
from memkit.routing.nearest import NearestRouter
from memkit.types import Query, Record, Route

if TYPE_CHECKING:
    from memkit.protocols import Floats2d

_BATCH = 256  # questions that are routed at once


class StoredVectors:
    """Stands for a memory's embedder where only texts are asked that it has embedded already.

    Implements `memkit.protocols.Embedder`. Where the embedder treats questions and passages alike,
    as the default one does, the vectors are those that it would give; otherwise they are near.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.name = ledger.get_meta("embedder") or ""
        self.dim = int(ledger.get_meta("embedder_dim") or 0)

    def encode_query(self, texts: Sequence[str], /) -> Floats2d:
        """See `memkit.protocols.Embedder.encode_query`."""
        return self.encode_document(texts)

    def encode_document(self, texts: Sequence[str], /) -> Floats2d:
        """Give stored vectors.

        Raises:
            InvalidInputError: If a text was never embedded.
        """
        known = self._ledger.passages.embedded(texts)
        missing = [text for text in texts if text not in known]
        if missing:
            raise InvalidInputError(
                f"expected texts whose vectors are stored, got {missing[0]!r}",
                "Nothing is embedded here; ask a memory that is open.",
            )
        return np.stack([known[text] for text in texts])


def routes_of_stored(ledger: Ledger, records: Sequence[Record]) -> Iterator[tuple[Record, Route]]:
    """Route the questions of records as the memory would.

    Args:
        ledger: Open, and nothing is written to it.
        records: Those with questions. One whose question has no vector yet is left out.
    """
    embedder = StoredVectors(ledger)
    if not records or not embedder.dim:
        return
    with closing(FactIndex(ledger, embedder)) as facts:
        router = NearestRouter(facts, ledger, as_measured=True)
        for start in range(0, len(records), _BATCH):
            batch = _embedded(ledger, records[start : start + _BATCH])
            queries = [Query(record.question or "", scope=record.scope) for record in batch]
            yield from zip(batch, router.route(queries), strict=True)


def _embedded(ledger: Ledger, records: Sequence[Record]) -> list[Record]:
    """Those of the records whose questions have a vector: a new one may wait for it."""
    known = ledger.passages.embedded([record.question or "" for record in records])
    return [record for record in records if record.question in known]
