"""The one index over facts: the rag backend searches it, and the router votes with it."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from memkit.errors import (
    BusyError,
    IncompatibleModelError,
    StorageError,
)
from memkit.ledger import Ledger, NewPassage
from memkit.protocols import Embedder, Query
from memkit.rag.chunks import slots
from memkit.rag.fusion import Ranking
from memkit.rag.reembed import BATCH, Switch, reembed
from memkit.rag.reranker import Reranker, load_reranker
from memkit.rag.rwlock import ReadWriteLock, through_gate
from memkit.rag.search import Search
from memkit.rag.vectors.flat import check_vectors
from memkit.rag.vectors.synced_index import SyncedIndex
from memkit.types import Draft, Hit, Period, Record
from memkit.types.scope import scope_key
from memkit.types.validate import check_limit, check_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from memkit.protocols import Floats2d

QUIET = 200  # up to so many passages are embedded without a progress bar
CACHED = 1024  # query vectors that are kept: search and router ask for the same ones
CACHED_LENGTH = 4096  # ... of queries up to so many characters
ATTEMPTS = 5  # searches before a reader gives up on records that others keep changing

_log = logging.getLogger("memkit")


@dataclass(frozen=True)
class Nearest:
    """A record near a query.

    Attributes:
        record_id: The record.
        similarity: Cosine similarity of the query with the record's best passage.
    """

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
        ranking: What weighs how much in a search.
        reranker: Puts the best hits in their final order; see `memkit.rag.reranker`.

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
        reranker: Reranker | str | None = None,
    ) -> None:
        self._ledger = ledger
        self._embedder = embedder
        self._cache: OrderedDict[str, Floats2d] = OrderedDict()
        self._cache_lock = threading.Lock()
        self._gate = ReadWriteLock()
        self._ranking = ranking or Ranking()
        self._reranker = load_reranker(reranker) if isinstance(reranker, str) else reranker
        if rebuild and not self._is_ours():
            reembed(ledger, embedder)
        self._check_embedder()
        self._start()

    def _start(self) -> None:
        self._mirror = SyncedIndex(self._ledger, self._embedder.dim)
        self._search = Search(
            self._ledger, self._mirror, self._embed_queries, self._ranking, self._reranker
        )

    def prepare(self, drafts: Sequence[Draft | Record]) -> list[list[NewPassage]]:
        """Cut and embed, so that nothing slow or fallible is left to do while writing.

        Args:
            drafts: Records, or what is about to become records.

        Returns:
            For each, the passages of its text, then its question if it has one.

        Raises:
            InvalidInputError: If the embedder returns something else than unit rows;
                `NonFiniteError` and `DimensionMismatchError` are its special cases.
        """
        return self._prepare(drafts, show=True)

    def write(
        self,
        records: Sequence[Record],
        prepared: Sequence[Sequence[NewPassage]] | None = None,
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
            self._check_embedder()
            self._pin()
            ours = {None, self._embedder.name}
            fresh = {
                record.id: passages
                if all(passage.embedder in ours for passage in passages)
                else self._prepare([record], show=False)[0]
                for record, passages in zip(records, prepared, strict=True)
            }
            self._ledger.passages.insert_many(fresh)

    @property
    def embedder(self) -> Embedder:
        """What texts are embedded with."""
        return self._embedder

    @through_gate
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
            similarity and age; one per record.

        Raises:
            InvalidInputError: If the query is blank, or ``k``, scope or filter are invalid.
            IncompatibleModelError: If another process has changed the memory's embedder.
        """
        if vector is None:
            _check_query(query)
        else:
            vector = check_vectors(vector, rows=1, dim=self._embedder.dim)
            check_limit("k", query.k)
        for _ in range(ATTEMPTS):
            hits = self._search.hits(query, vector)
            if hits is not None:
                return hits
        raise BusyError(f"the records found kept changing during {ATTEMPTS} searches")

    @through_gate
    def nearest(self, queries: Sequence[Query]) -> list[list[Nearest]]:
        """Find the records nearest to each query by vector alone.

        Args:
            queries: As for `search`; embedded as one batch.

        Returns:
            For each query ``query.k`` records, or as many as it may see; nearest first.

        Raises:
            InvalidInputError: As for `search`.
        """
        for query in queries:
            _check_query(query)
        vectors = self._embed_queries([query.text for query in queries])
        groups: dict[tuple[str, str, Period], list[int]] = {}
        for row, query in enumerate(queries):
            group = scope_key(query.scope), repr(query.where), query.period
            groups.setdefault(group, []).append(row)
        found: dict[int, list[Nearest]] = {}
        for rows in groups.values():
            alike = [queries[row] for row in rows]
            passages = self._search.nearest(vectors[rows], alike)
            for row, query, near in zip(rows, alike, passages, strict=True):
                best: dict[str, float] = {}
                for passage, similarity in near:
                    best.setdefault(passage.record_id, similarity)
                found[row] = [Nearest(*pair) for pair in list(best.items())[: query.k]]
        return [found[row] for row in range(len(queries))]

    @through_gate
    def query_vector(self, text: str) -> NDArray[np.float32]:
        """Embed a query: shape ``(dim,)``, of unit length."""
        vector: NDArray[np.float32] = self._embed_queries([text])[0]
        return vector

    @through_gate
    def sync(self) -> None:
        """Take in what other threads and processes have committed."""
        self._mirror.sync()

    @through_gate
    def keep_up(self) -> None:
        """Take in what was committed if it is much; otherwise the next search does."""
        self._mirror.keep_up()

    def reembed(self, embedder: Embedder) -> int:
        """Change to another embedder while searches go on; see `memkit.rag.reembed`.

        Returns:
            How many passages were embedded; 0 if the memory has this embedder already.
        """
        made_with = embedder.name, str(embedder.dim)
        if self._made_with() == made_with == (self._embedder.name, str(self._embedder.dim)):
            self._ledger.shadow_vectors.drop()
            return 0
        self._check_embedder()
        return reembed(self._ledger, embedder, lambda switch: self._adopt(embedder, switch))

    def _adopt(self, embedder: Embedder, switch: Switch) -> bool:
        """Change to another embedder at the moment at which the ledger does."""
        with self._gate.closed():
            self._mirror.close()
            before = self._embedder
            try:
                with self._ledger.transaction():  # no other thread looks into the ledger
                    changed = switch()
                    if changed:
                        self._embedder = embedder
            except BaseException:
                self._embedder = before
                raise
            finally:
                with self._cache_lock:
                    self._cache.clear()
                self._start()
        return changed

    def scrub(self) -> tuple[str, ...]:
        """Let nothing that was deleted remain in the index file or in memory.

        Returns:
            Paths of the files that were rewritten or removed, relative to the memory.

        Raises:
            StorageError: If a file cannot be written.
        """
        with self._cache_lock:
            self._cache.clear()
        return self._mirror.scrub()

    def settle(self) -> None:
        """Wait until the index is built, with all that was added; searches need not."""
        self._mirror.settle()

    def save(self) -> None:
        """Write the index file if it is out of date.

        Raises:
            StorageError: If it cannot be written.
        """
        self._mirror.save()

    def close(self) -> None:
        """Write the index file if that is possible; the next opening rebuilds it otherwise."""
        try:
            if self._is_ours():  # otherwise another process has changed the embedder
                self.save()
        except StorageError as exc:
            _log.warning("the index file was not written, and is rebuilt next time: %s", exc)
        self._mirror.close()

    def _made_with(self) -> tuple[str | None, str | None]:
        """Name and dimension of the memory's embedder; None before the first write."""
        return self._ledger.get_meta("embedder"), self._ledger.get_meta("embedder_dim")

    def _is_ours(self) -> bool:
        return self._made_with() in {
            (None, None),
            (self._embedder.name, str(self._embedder.dim)),
        }

    def _check_embedder(self) -> None:
        if self._is_ours():
            return
        name, dim = self._made_with()
        raise IncompatibleModelError(
            f"the memory was made with the embedder {name!r} (dimension {dim}), "
            f"got {self._embedder.name!r} (dimension {self._embedder.dim})",
            hint="Open it with the original embedder, or pass `rebuild=True` to Memory.open "
            "to embed every record again with the new one.",
        )

    def _pin(self) -> None:
        if self._ledger.get_meta("embedder") is None:
            self._ledger.set_meta("embedder", self._embedder.name)
            self._ledger.set_meta("embedder_dim", str(self._embedder.dim))

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
                self._mirror.keep_up()
                done += len(pairs)
                bar.update(len(pairs))
        return done

    def _prepare(self, drafts: Sequence[Draft | Record], *, show: bool) -> list[list[NewPassage]]:
        cut = [slots(draft) for draft in drafts]
        texts = list(dict.fromkeys(slot[-1] for row in cut for slot in row))
        while True:
            embedder = self._embedder
            vectors = self._ledger.passages.embedded(texts) if self._is_ours() else {}
            unknown = [text for text in texts if text not in vectors]
            vectors |= zip(unknown, self._embed(embedder, unknown, show=show), strict=True)
            if embedder is self._embedder:  # not changed by another thread meanwhile
                break
        return [
            [NewPassage(*slot, vector=vectors[slot[-1]], embedder=embedder.name) for slot in row]
            for row in cut
        ]

    def _embed(self, embedder: Embedder, texts: Sequence[str], *, show: bool) -> Floats2d:
        vectors: Floats2d = np.empty((len(texts), embedder.dim), np.float32)
        # Texts of like length go together, as an embedder pads each to the longest of its batch.
        order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        off = None if show and len(texts) > QUIET else True  # None: shown on a terminal only
        with tqdm(desc="embedding", unit="passage", total=len(texts), disable=off) as bar:
            for start in range(0, len(order), BATCH):
                places = order[start : start + BATCH]
                part = [texts[place] for place in places]
                vectors[places] = check_vectors(
                    embedder.encode_document(part), rows=len(part), dim=embedder.dim
                )
                bar.update(len(part))
        return vectors

    def _embed_queries(self, texts: Sequence[str]) -> Floats2d:
        with self._cache_lock:
            known = {text: self._cache[text] for text in texts if text in self._cache}
        unknown = list(dict.fromkeys(text for text in texts if text not in known))
        if unknown:
            vectors = check_vectors(
                self._embedder.encode_query(unknown), rows=len(unknown), dim=self._embedder.dim
            )
            known |= zip(unknown, vectors, strict=True)
        with self._cache_lock:
            for text in filter(lambda text: len(text) <= CACHED_LENGTH, texts):
                self._cache[text] = known[text]
                self._cache.move_to_end(text)
            while len(self._cache) > CACHED:
                self._cache.popitem(last=False)
        rows = [known[text] for text in texts]
        return np.array(rows, np.float32).reshape(len(texts), self._embedder.dim)


def _check_query(query: Query) -> None:
    check_text("query", query.text)
    check_limit("k", query.k)
