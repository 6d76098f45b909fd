"""What a memory on a PostgreSQL server is compared with, on the same server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from typing import Any

from benchmarks.store.corpus import DIM, Corpus, KnownVectors
from benchmarks.store.peers import Peer, PeerStore


def server_peers(url: str) -> tuple[PeerStore, ...]:
    """The peers on a server: a table with pgvector's index, and LangGraph's PostgresStore."""

    def on(make: Callable[[str, Corpus], AbstractContextManager[Peer]]) -> Any:
        return lambda corpus, _: make(url, corpus)

    return (
        PeerStore("pgvector", 100_000, ("psycopg",), on(_pgvector)),
        PeerStore("postgresstore", 100_000, ("langgraph.store.postgres",), on(_postgresstore)),
    )


class _Table:
    """A table of texts, metadata and vectors, with an HNSW index as pgvector makes it."""

    def __init__(self, corpus: Corpus, connection: Any) -> None:
        self._corpus, self._connection = corpus, connection

    def fill(self) -> None:
        copy = "COPY notes (number, text, metadata, vector) FROM STDIN"
        with self._connection.cursor().copy(copy) as rows:
            for number, draft in enumerate(self._corpus.drafts(0, len(self._corpus))):
                vector = _written(self._corpus.vectors[number])
                rows.write_row((number, draft.text, json.dumps(dict(draft.metadata)), vector))
        self._connection.execute("CREATE INDEX ON notes USING hnsw (vector vector_cosine_ops)")
        self._connection.execute("ANALYZE notes")

    def search(
        self, number: int, k: int, *, filtered: bool, candidates: int | None
    ) -> Sequence[int]:
        setting = "hnsw.ef_search"  # candidates of the index, 40 by itself and 1,000 at most
        self._connection.execute(f"SET {setting} = {min(candidates or 40, 1000)}")
        chosen = "WHERE metadata @> '{\"kept\": true}'" if filtered else ""
        rows = self._connection.execute(
            f"SELECT number FROM notes {chosen} ORDER BY vector <=> %s LIMIT %s",
            [_written(self._corpus.queries[number]), k],
        ).fetchall()
        return [number for (number,) in rows]


@contextmanager
def _pgvector(url: str, corpus: Corpus) -> Iterator[Peer]:
    import psycopg

    with closing(psycopg.connect(url, autocommit=True)) as connection:
        for statement in (
            "CREATE EXTENSION IF NOT EXISTS vector",
            "DROP TABLE IF EXISTS notes",
            f"CREATE TABLE notes (number int, text text, metadata jsonb, vector vector({DIM}))",
            # Goes on where the filter has left too few.
            "SET hnsw.iterative_scan = strict_order",
        ):
            connection.execute(statement)
        yield _Table(corpus, connection)
        connection.execute("DROP TABLE notes")


class _PostgresStore:
    def __init__(self, corpus: Corpus, store: Any) -> None:
        self._corpus, self._store = corpus, store

    def fill(self) -> None:
        from langgraph.store.base import PutOp

        for start in range(0, len(self._corpus), 1000):
            drafts = self._corpus.drafts(start, min(start + 1000, len(self._corpus)))
            put = partial(PutOp, ("notes",))
            self._store.batch([put(str(d.id), {"text": d.text, **d.metadata}) for d in drafts])

    def search(
        self, number: int, k: int, *, filtered: bool, candidates: int | None
    ) -> Sequence[int]:
        del candidates  # it has no such setting
        chosen = {"kept": True} if filtered else None
        query = self._corpus.query(number)
        items = self._store.search(("notes",), query=query, filter=chosen, limit=k)
        return [int(item.key[1:]) for item in items]


@contextmanager
def _postgresstore(url: str, corpus: Corpus) -> Iterator[Peer]:
    from langgraph.store.postgres import PostgresStore

    def embed(texts: Sequence[str]) -> list[list[float]]:
        vectors: list[list[float]] = KnownVectors(corpus).encode_document(texts).tolist()
        return vectors

    index: Any = {"dims": DIM, "embed": embed, "fields": ["text"]}
    with PostgresStore.from_conn_string(url, index=index) as store:
        store.setup()
        yield _PostgresStore(corpus, store)


def _written(vector: Any) -> str:
    """A vector as pgvector reads it."""
    return "[" + ",".join(map(repr, vector.tolist())) + "]"
