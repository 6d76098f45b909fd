"""The stores that memkit is compared with: LangGraph's SqliteStore, mem0 and txtai."""

from __future__ import annotations

import importlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.store.corpus import DIM, Corpus, KnownVectors
from memkit.errors import InvalidInputError, MissingDependencyError

if TYPE_CHECKING:
    from memkit.protocols import Floats2d


class Peer(Protocol):
    """A store with the notes of a corpus."""

    def fill(self) -> None:
        """Take in all notes."""
        ...

    def search(
        self, number: int, k: int, *, filtered: bool, candidates: int | None
    ) -> Sequence[int]:
        """Numbers of the notes that a query finds.

        Args:
            number: Of the query.
            k: How many notes.
            filtered: Only those that the filter lets pass.
            candidates: Look at so many before the filter; None for what the peer does by itself.
        """
        ...


@dataclass(frozen=True)
class PeerStore:
    """A store that can be measured.

    Attributes:
        name: As `peers_by_name` takes it.
        up_to: Number of records beyond which it takes too long: it compares all vectors.
        modules: It needs them.
        make: Opens an empty one in a folder.
    """

    name: str
    up_to: int
    modules: tuple[str, ...]
    make: Callable[[Corpus, Path], AbstractContextManager[Peer]]


def peers_by_name(names: Sequence[str]) -> list[PeerStore]:
    """Look peers up.

    Raises:
        InvalidInputError: If there is no peer of a name.
        MissingDependencyError: If one is not installed.
    """
    peers = {peer.name: peer for peer in PEERS}
    unknown = [name for name in names if name not in peers]
    if unknown:
        raise InvalidInputError(
            f"expected peers among {', '.join(peers)}, got {', '.join(unknown)}"
        )
    # mem0 reports to its makers when it is imported, unless it is told not to.
    os.environ.setdefault("MEM0_TELEMETRY", "False")
    for name in names:
        for module in peers[name].modules:
            try:
                importlib.import_module(module)
            except ImportError as exc:
                raise MissingDependencyError(
                    f"expected {name} to compare with, but importing {module} failed: {exc}",
                    hint="pip install --editable '.[bench]', or leave it out with --peers",
                ) from exc
    return [peers[name] for name in names]


class _SqliteStore:
    def __init__(self, corpus: Corpus, store: Any) -> None:
        self._corpus, self._store = corpus, store

    def fill(self) -> None:
        from langgraph.store.base import PutOp

        for start, end in self._corpus.blocks():
            for low in range(start, end, 1000):  # its own limit is on parameters of a statement
                drafts = self._corpus.drafts(low, min(low + 1000, end))
                self._store.batch(
                    [
                        PutOp(("notes",), str(draft.id), {"text": draft.text, **draft.metadata})
                        for draft in drafts
                    ]
                )

    def search(
        self, number: int, k: int, *, filtered: bool, candidates: int | None
    ) -> Sequence[int]:
        del candidates  # its filter loses nothing
        chosen = {"kept": True} if filtered else None
        items = self._store.search(
            ("notes",), query=self._corpus.query(number), filter=chosen, limit=k
        )
        return [int(item.key[1:]) for item in items]


@contextmanager
def _sqlitestore(corpus: Corpus, folder: Path) -> Iterator[Peer]:
    from langgraph.store.sqlite import SqliteStore

    def embed(texts: Sequence[str]) -> list[list[float]]:
        vectors: list[list[float]] = KnownVectors(corpus).encode_document(texts).tolist()
        return vectors

    # It documents "fields" and reads "text_fields".
    index: Any = {"dims": DIM, "embed": embed, "fields": ["text"], "text_fields": ["text"]}
    # Many builds of Python come without SQLite's extensions, which this store needs.
    sqlite: Any = importlib.import_module(_extensible())
    path = folder / "store.sqlite"
    connection = sqlite.connect(path, check_same_thread=False, isolation_level=None)
    with closing(connection):
        store = SqliteStore(connection, index=index)
        store.setup()
        yield _SqliteStore(corpus, store)


def _extensible() -> str:
    """The SQLite module that can load extensions."""
    return "sqlite3" if hasattr(sqlite3.Connection, "enable_load_extension") else "pysqlite3"


class _Mem0:
    """mem0's FAISS store, without the rest: ``add`` writes all files anew for every memory."""

    def __init__(self, corpus: Corpus, store: Any) -> None:
        self._corpus, self._store = corpus, store

    def fill(self) -> None:
        drafts = self._corpus.drafts(0, len(self._corpus))
        self._store.insert(
            vectors=self._corpus.vectors,
            payloads=[{"data": draft.text, **draft.metadata} for draft in drafts],
            ids=[draft.id for draft in drafts],
        )

    def search(
        self, number: int, k: int, *, filtered: bool, candidates: int | None
    ) -> Sequence[int]:
        hits = self._store.search(
            query=self._corpus.query(number),
            vectors=self._corpus.queries[number],
            top_k=candidates or k,
            filters={"kept": True} if filtered else None,
        )
        return [int(hit.id[1:]) for hit in hits[:k]]


@contextmanager
def _mem0(corpus: Corpus, folder: Path) -> Iterator[Peer]:
    from mem0.vector_stores.faiss import FAISS

    yield _Mem0(
        corpus,
        FAISS(
            collection_name="notes",
            path=str(folder / "mem0"),
            distance_strategy="cosine",
            embedding_model_dims=DIM,
        ),
    )


class _Txtai:
    def __init__(self, corpus: Corpus, embeddings: Any) -> None:
        self._corpus, self._embeddings = corpus, embeddings

    def fill(self) -> None:
        drafts = self._corpus.drafts(0, len(self._corpus))
        rows = ((d.id, {"text": d.text, "kept": int(d.metadata["kept"])}, None) for d in drafts)
        self._embeddings.index(rows)

    def search(
        self, number: int, k: int, *, filtered: bool, candidates: int | None
    ) -> Sequence[int]:
        condition = " and kept = 1" if filtered else ""
        wide = f", {candidates}" if candidates else ""
        rows = self._embeddings.search(
            f"select id, text, score from txtai where similar(:query{wide}){condition}",
            k,
            parameters={"query": self._corpus.query(number)},
        )
        return [int(row["id"][1:]) for row in rows]


@contextmanager
def _txtai(corpus: Corpus, _: Path) -> Iterator[Peer]:
    from txtai import Embeddings

    def embed(texts: Sequence[str]) -> Floats2d:  # it takes a function, not a method
        return KnownVectors(corpus).encode_document(texts)

    embeddings = Embeddings(method="external", transform=embed, content=True, backend="faiss")
    try:
        yield _Txtai(corpus, embeddings)
    finally:
        embeddings.close()


PEERS = (
    PeerStore("sqlitestore", 100_000, ("langgraph.store.sqlite", _extensible()), _sqlitestore),
    PeerStore("mem0", 100_000, ("mem0",), _mem0),
    PeerStore("txtai", 1_000_000, ("txtai",), _txtai),
)
