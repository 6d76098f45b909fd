"""The one index over facts: the rag backend searches it, and the adapter router votes with it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

from memkit.errors import BusyError, StorageError
from memkit.ledger import Ledger, NewPassage
from memkit.protocols import Embedder, Reranker, VectorIndexFactory
from memkit.rag.chunks import slots
from memkit.rag.current_space import CurrentSpace
from memkit.rag.fusion import Ranking
from memkit.rag.reembed import BATCH, reembed
from memkit.rag.search import Search
from memkit.rag.vectors.flat import check_vectors
from memkit.types import CacheUse, Draft, Hit, Query, Record
from memkit.types.queries import Bounds, bounds_of
from memkit.types.timings import step
from memkit.types.validate import check_limit, check_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from memkit.protocols import Floats2d
    from memkit.rag.embedding_space import EmbeddingSpace

ATTEMPTS = 5  # searches before a reader gives up on records that others keep changing

_log = logging.getLogger(__name__)
R = TypeVar("R")


@dataclass(frozen=True)
class Nearest:
    """A record near a query, with the cosine similarity of its best passage."""

    record_id: str
    similarity: float


class FactIndex:
    """Dense and lexical search over the ledger's passages.

    The ledger holds the passages, their words and their vectors; this class computes vectors,
    keeps the dense index in step, and ranks. Safe across threads and processes. Searches take
    a lock that writers in a transaction must not wait for, so only `write` may be called
    inside ``ledger.transaction()``.

    Args:
        ledger: Where the passages are.
        embedder: Must be the one that the memory was made with.
        rebuild: If it is another one, embed everything anew instead of raising.
        ranking: The weights of a score's parts.
        reranker: Puts the best hits in their final order; None for none.
        vector_index: Makes an empty vector index of a dimension; None for memkit's own.

    Raises:
        IncompatibleModelError: If the memory was made with another embedder, and ``rebuild``
            is False.
    """

    def __init__(
        self,
        ledger: Ledger,
        embedder: Embedder,
        *,
        rebuild: bool = False,
        ranking: Ranking | None = None,
        reranker: Reranker | None = None,
        vector_index: VectorIndexFactory | None = None,
    ) -> None:
        self._ledger = ledger
        self._ranking = ranking or Ranking()
        self._reranker = reranker
        self._current = CurrentSpace(ledger, embedder, vector_index)
        if rebuild and not self._current.is_ours(self._current.space):
            reembed(ledger, embedder)
        self._current.check()
        _ = self._current.space.vectors  # loaded now: whoever opens a memory expects to wait

    @property
    def embedder(self) -> Embedder:
        """What texts are embedded with."""
        return self._current.space.embedder

    @property
    def cached(self) -> CacheUse:
        """What the vectors of recent queries take, and may take."""
        return self._current.space.cached

    # -- writing

    def prepare(self, drafts: Sequence[Draft | Record]) -> list[list[NewPassage]]:
        """Cut and embed, so that nothing slow or fallible is left to do while writing.

        Returns:
            For each, the passages of its text, then its question if it has one.

        Raises:
            InvalidInputError: If the embedder returns something else than unit rows;
                `NonFiniteError` and `DimensionMismatchError` are its special cases.
        """
        return self._prepare(drafts, show=True)

    def write(
        self, records: Sequence[Record], prepared: Sequence[Sequence[NewPassage]] | None = None
    ) -> None:
        """Make records searchable; their earlier passages are replaced.

        Args:
            records: In the ledger already.
            prepared: What `prepare` made of them, in order; None prepares them here.

        Raises:
            IncompatibleModelError: If another process has changed the memory's embedder.
        """
        if prepared is None:
            prepared = self.prepare(records)
        with self._ledger.transaction():
            self._current.check()
            self._current.pin()
            usable = {None, self.embedder.name}
            fresh = {
                record.id: passages
                if all(passage.embedder in usable for passage in passages)
                else self._prepare([record], show=False)[0]
                for record, passages in zip(records, prepared, strict=True)
            }
            self._ledger.passages.insert(fresh)

    def index_missing(self) -> int:
        """Embed the records that have no passage yet; returns how many there were."""
        done = 0
        with tqdm(desc="indexing", unit="record", disable=None, delay=1) as bar:
            while records := self._ledger.records.unindexed(BATCH):
                prepared = self._prepare(records, show=False)
                with self._ledger.transaction():
                    # Another process may have indexed, changed or deleted some meanwhile.
                    open_ = {r.id: r.version for r in self._ledger.records.unindexed(BATCH)}
                    pairs = [
                        (record, passages)
                        for record, passages in zip(records, prepared, strict=True)
                        if open_.get(record.id) == record.version
                    ]
                    self.write([pair[0] for pair in pairs], [pair[1] for pair in pairs])
                if self.is_behind():
                    self.sync()
                done += len(pairs)
                bar.update(len(pairs))
        return done

    def _prepare(self, drafts: Sequence[Draft | Record], *, show: bool) -> list[list[NewPassage]]:
        cut = [slots(draft) for draft in drafts]
        texts = list(dict.fromkeys(slot[-1] for row in cut for slot in row))
        while True:
            space = self._current.space
            vectors = self._ledger.passages.embedded(texts) if self._current.is_ours(space) else {}
            unknown = [text for text in texts if text not in vectors]
            vectors |= zip(unknown, space.embed_passages(unknown, show=show), strict=True)
            if space is self._current.space:  # not changed by another thread meanwhile
                break
        name = space.embedder.name
        return [
            [NewPassage(*slot, vector=vectors[slot[-1]], embedder=name) for slot in row]
            for row in cut
        ]

    # -- searching

    def search(self, query: Query, vector: Floats2d | None = None) -> list[Hit]:
        """Find records by meaning and by words.

        The nearest passages by vector and the best by BM25 are candidates; a score is the sum
        of the parts that `memkit.rag.fusion.Ranking` weighs. Turns of a conversation are judged
        with the turns around them, and by who says them.

        Args:
            query: Not blank; ``k`` of at least 1.
            vector: Find the records nearest to this instead, whatever the words; shape
                ``(1, dim)``, of length 1.

        Returns:
            ``query.k`` hits, or as many as scope and filter let pass; best first, ties by
            similarity and id; one per record. Ids that memkit makes sort by age.

        Raises:
            InvalidInputError: If the query is blank, or ``k``, scope or filter are invalid.
            IncompatibleModelError: If another process has changed the memory's embedder.
        """
        if vector is None:
            _check_query(query)
        else:
            vector = check_vectors(vector, rows=1, dim=self.embedder.dim)
            check_limit("k", query.k)
        for _ in range(ATTEMPTS):
            hits = self._search(lambda search: search.hits(query, vector))
            if hits is not None:
                return hits
        raise BusyError(f"the records found kept changing during {ATTEMPTS} searches")

    def nearest(self, queries: Sequence[Query]) -> list[list[Nearest]]:
        """Find the records nearest to each query by vector alone; all are embedded as one batch.

        Returns:
            For each query ``query.k`` records, or as many as it may see; nearest first.

        Raises:
            InvalidInputError: As for `search`.
        """
        for query in queries:
            _check_query(query)
        return self._search(lambda search: _nearest(search, queries))

    def query_vector(self, text: str) -> NDArray[np.float32]:
        """Embed a query: shape ``(dim,)``, of unit length."""
        vector: NDArray[np.float32] = self._current.run(lambda space: space.embed_queries([text]))[
            0
        ]
        return vector

    def similarities(self, question: str, texts: Sequence[str]) -> list[float]:
        """Cosine similarity of a question with each of some texts that need not be stored."""
        if not texts:
            return []

        def compare(space: EmbeddingSpace) -> list[float]:
            (query,) = space.embed_queries([question])
            with step("embed"):
                vectors = space.embed_passages(texts, show=False)
            products: list[float] = (vectors @ query).tolist()
            return products

        return self._current.run(compare)

    # -- following the ledger

    def sync(self) -> None:
        """Take in what other threads and processes have committed."""
        self._current.run(lambda space: space.vectors.sync())

    def is_behind(self) -> bool:
        """Whether so much was committed that it should be taken in before the next search."""
        return self._current.space.vectors.is_behind()

    def wait(self) -> None:
        """Wait until the index is built, with all that was added; searches need not."""
        self._current.space.vectors.wait()

    def scrub(self) -> tuple[str, ...]:
        """Let nothing deleted remain in index files or in memory; see `LedgerVectors.scrub`."""
        return self._current.space.scrub()

    def save(self) -> None:
        """Write the index file if it is out of date."""
        self._current.space.vectors.save()

    def close(self) -> None:
        """Write the index file if that is possible; the next opening rebuilds it otherwise."""
        try:
            if self._current.is_ours(self._current.space):  # no other process has changed it
                self.save()
                if self._ledger.shared:  # another machine may have forgotten what the file has
                    self.scrub()
        except StorageError as exc:
            _log.warning("the index file was not written, and is rebuilt next time: %s", exc)
        self._current.space.close()

    def reembed(self, embedder: Embedder) -> int:
        """Change to another embedder while searches go on; see `CurrentSpace.change`."""
        count = self._current.change(embedder)
        self.sync()
        return count

    def _search(self, work: Callable[[Search], R]) -> R:
        """Do some work in one embedding space; see `CurrentSpace.run`."""
        return self._current.run(
            lambda space: work(Search(self._ledger, space, self._ranking, self._reranker))
        )


def _nearest(search: Search, queries: Sequence[Query]) -> list[list[Nearest]]:
    """The records nearest to each query; queries of one scope and filter are searched at once."""
    vectors = search.space.embed_queries([query.text for query in queries])
    groups: dict[Bounds, list[int]] = {}
    for row, query in enumerate(queries):
        bounds = bounds_of(query.scope, query.where, query.period)
        groups.setdefault(bounds, []).append(row)
    results: dict[int, list[Nearest]] = {}
    for rows in groups.values():
        group = [queries[row] for row in rows]
        neighbours = search.nearest(vectors[rows], group)
        for row, query, near in zip(rows, group, neighbours, strict=True):
            best: dict[str, float] = {}
            for passage, similarity in near:
                best.setdefault(passage.record_id, similarity)
            results[row] = [Nearest(*pair) for pair in list(best.items())[: query.k]]
    return [results[row] for row in range(len(queries))]


def _check_query(query: Query) -> None:
    check_text("query", query.text)
    check_limit("k", query.k)
