"""Work on bare vectors: `memory.vectors`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from memkit.errors import InvalidInputError
from memkit.memory import transfer
from memkit.memory.engine import Engine
from memkit.memory.options import Selection, query_template
from memkit.memory.reach import seen_by, selected_by
from memkit.memory.telemetry import observation
from memkit.protocols import Embedder
from memkit.types import AnyScope, Hit, Metadata
from memkit.types.validate import refuse_part, unit_vector

if TYPE_CHECKING:
    from memkit.protocols import Floats2d
    from memkit.rag.duplicates import Duplicates
    from memkit.rag.index import FactIndex

NEAR = 0.95  # cosine similarity; reworded sentences are above it, related ones below


class Vectors:
    """The vectors of a memory, and the embedder that makes them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def embedder(self) -> Embedder:
        """What texts are embedded with.

        Raises:
            UnsupportedOperationError: Without the "rag" backend.
        """
        return self._index("vectors.embedder").embedder

    def search(
        self, vector: Sequence[float], k: int = 5, **selection: Unpack[Selection]
    ) -> list[Hit]:
        """Find the records nearest to a vector, by the cosine alone; it is the hits' score.

        Args:
            vector: As `embedder` makes them, shape ``(dim,)``; its length makes no difference.
            k: How many; fewer come only if scope and filter let fewer pass.
            **selection: See `Selection`.

        Raises:
            InvalidInputError: If the vector is zero, or ``k``, the filter or a time is malformed;
                `DimensionMismatchError` and `NonFiniteError` are special cases.
            UnsupportedOperationError: Without the "rag" backend.
        """
        rag = self._engine.need_rag("vectors.search()")
        query = query_template(selection, Selection, k=k)
        name = self._engine.ledger.name
        with observation("search_memory", "vectors.search", name) as seen:
            hits = rag.search(query, _unit_row(vector))
            seen.touched(hits)
        return hits

    def get(self, ids: Sequence[str], *, scope: AnyScope | None = None) -> dict[str, Floats2d]:
        """Give the vectors of records' passages: by id, shape ``(passages, dim)``, unit rows.

        Args:
            ids: What has no passages is left out, as is what is missing.
            scope: Leave out what this scope may not see, too.
        """
        records = self._engine.ledger.records.find(ids, scope=seen_by(scope))
        return self._engine.ledger.passages.vectors_of([record.id for record in records])

    def duplicates(
        self,
        threshold: float = NEAR,
        *,
        scope: AnyScope | None = None,
        where: Metadata | None = None,
    ) -> list[Duplicates]:
        """Find records of one scope that say almost the same.

        Texts are near by their vectors alone: "on the first floor" and "on the second floor"
        may well be. Look at a group before you `Memory.merge` it. The effort grows with the
        square of the number of records in a scope: 10,000 take seconds.

        Args:
            threshold: Lowest cosine similarity of two records that are put together, in (0, 1].
            scope: Only records of this scope and narrower ones, or "all"; None for the shared ones.
            where: Only records that pass this metadata filter.
        """
        self._engine.need_index("vectors.duplicates()")
        from memkit.rag.duplicates import duplicates

        return duplicates(self._engine.ledger, threshold, **selected_by(scope), where=where)

    def wait(self) -> None:
        """Wait until the index is built, with all that was added; nothing else has to wait.

        Raises:
            UnsupportedOperationError: Without the "rag" backend.
        """
        self._index("vectors.wait()").wait()

    def reembed(self, embedder: str | Path | Embedder) -> int:
        """Change the embedder while the memory is in use; what is known stays.

        Searches go on with the old vectors until all new ones are there, those of records that
        are added meanwhile included; then one transaction puts the new ones in their place, and
        this memory goes on with them. If it is interrupted, the next call with the same
        embedder does what is left. Another process learns of the change from its next call,
        which raises `IncompatibleModelError`; it opens the memory anew with the new embedder.

        Args:
            embedder: Folder, hub id or any `memkit.protocols.Embedder`.

        Returns:
            How many passages were embedded by this call.

        Raises:
            InvalidInputError: If the embedder returns something else than unit rows.
            UnsupportedOperationError: Without the "rag" and "lora" backends.
            BusyError: If another process or thread is at it.
        """
        if embedder is None:  # opening takes it for the default, which is not meant here
            refuse_part("embedder", embedder, "a folder, a hub id or an embedder")
        return transfer.reembed(self._engine, embedder)

    def _index(self, name: str) -> FactIndex:
        return self._engine.need_rag(name).facts


def _unit_row(vector: Sequence[float]) -> Floats2d:
    hint = "search() takes a text." if isinstance(vector, str) else ""
    unit = unit_vector("vector", vector, hint=hint)
    if not unit.any():
        raise InvalidInputError(
            "expected a `vector` of a positive length, got zeros",
            hint="a vector of zeros has no direction, so nothing is similar to it",
        )
    row: Floats2d = unit.reshape(1, -1)
    return row
