"""The verbs that look things up by id or by vector; a `memkit.Memory` has them all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from memkit.errors import InvalidInputError
from memkit.memory.engine import Engine
from memkit.protocols import Embedder, Query
from memkit.types import Hit, Metadata, Period, Record, Scope

if TYPE_CHECKING:
    from memkit.protocols import Floats2d
    from memkit.rag.index import FactIndex

NOWHERE: Scope = {}


class LookupVerbs:
    """The part of `memkit.Memory` that gives records by id, and works on bare vectors."""

    _engine: Engine

    @property
    def embedder(self) -> Embedder:
        """What texts are embedded with.

        Raises:
            UnsupportedOperationError: Without the "rag" backend.
        """
        return self._index("embedder").embedder

    def get_many(self, ids: Sequence[str], *, scope: Scope | None = None) -> list[Record]:
        """Give several records in the order asked; what is missing is left out.

        Args:
            ids: May repeat.
            scope: Leave out what this scope may not see, too.
        """
        return self._engine.ledger.records.find(ids, scope=scope)

    def search_by_vector(
        self,
        vector: Sequence[float],
        k: int = 5,
        *,
        scope: Scope = NOWHERE,
        where: Metadata | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
    ) -> list[Hit]:
        """Find the records nearest to a vector, by the cosine alone; it is the hits' score.

        Args:
            vector: As `embedder` makes them, shape ``(dim,)``; its length makes no difference.
            k: How many; fewer come only if scope and filter let fewer pass.
            scope: Only what this scope may see.
            where: Only records that pass this metadata filter.
            since: As for `Memory.search`, as are the other times.
            until: Only what was said before this moment.
            as_of: Records as they were at this moment.

        Raises:
            InvalidInputError: If the vector is zero, or ``k``, the filter or a time is malformed;
                `DimensionMismatchError` and `NonFiniteError` are special cases.
            UnsupportedOperationError: Without the "rag" backend.
        """
        rag = self._engine.need_rag("search_by_vector()")
        query = Query("", k, scope, where, period=Period(since, until, as_of))
        return rag.search(query, _unit_row(vector))

    def vectors(self, ids: Sequence[str], *, scope: Scope | None = None) -> dict[str, Floats2d]:
        """Give the vectors of records' passages: by id, shape ``(passages, dim)``, unit rows.

        Args:
            ids: What has no passages is left out, as is what is missing.
            scope: Leave out what this scope may not see, too.
        """
        seen = [record.id for record in self.get_many(ids, scope=scope)]
        return self._engine.ledger.passages.vectors_of(seen)

    def settle(self) -> None:
        """Wait until the index is built, with all that was added; nothing else has to wait.

        Raises:
            UnsupportedOperationError: Without the "rag" backend.
        """
        self._index("settle()").settle()

    def _index(self, verb: str) -> FactIndex:
        return self._engine.need_rag(verb).facts


def _unit_row(vector: Sequence[float]) -> Floats2d:
    """A vector as a row of length 1; what is not finite stays so, for the index to refuse."""
    import numpy as np

    row = np.asarray(vector, np.float64).reshape(1, -1)
    length = np.linalg.norm(row)
    if length == 0:
        raise InvalidInputError(
            "expected a `vector` of a positive length, got zeros",
            hint="a vector of zeros has no direction, so nothing is similar to it",
        )
    unit: Floats2d = (row / length).astype(np.float32)
    return unit
