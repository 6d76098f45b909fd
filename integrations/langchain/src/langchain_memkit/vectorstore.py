"""A memory directory as a LangChain vector store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from numpy.typing import NDArray

from langchain_memkit.embeddings import LangChainEmbedder, MemkitEmbeddings
from langchain_memkit.open_memory import check_memory
from langchain_memkit.search_options import WRITING, near_enough, refuse_unknown, selected
from memkit import Draft, Hit, InvalidInputError, Memory, Record, RecordNotFoundError
from memkit.types import Scope
from memkit.types.validate import check_ids, check_limit, check_number, check_text
from memkit.types.validate.descriptions import describe

SHARED: Scope = {}
PAGE = 1000  # records per query when everything is deleted


class MemkitVectorStore(VectorStore):
    """Documents as records of a memory, found by their vectors.

    Every document is a record with the same id, text and metadata; the memory's other verbs see
    it. Documents are on disk when `add_texts` returns. Long texts are embedded in passages, and a
    document is as similar to a query as its best passage.

    Searches take ``filter``, a metadata filter of memkit such as ``{"year": {"$gte": 2020}}``,
    and ``scope``, instead of the store's; also ``since``, ``until`` and ``as_of`` of
    `memkit.Memory.search`: when documents were written, and how they were at a moment. Scores
    are cosine similarities: higher is better; ``score_threshold`` is the lowest that is wanted.
    ``fetch_k`` and ``lambda_mult`` belong to the searches by maximal marginal relevance and make
    no difference in others.

    Args:
        memory: An open memory with the "rag" backend.
        scope: Whose documents are written. Searches also find what is shared with it.

    Attributes:
        memory: As given.
        scope: As given.

    Example:
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> folder = getfixture("tmp_path")
        >>> with MemkitVectorStore.open(folder, DeterministicFakeEmbedding(size=6)) as store:
        ...     _ = store.add_texts(["one", "two"], [{"n": 1}, {"n": 2}], ids=["a", "b"])
        ...     store.similarity_search("two", k=1)
        [Document(id='b', metadata={'n': 2}, page_content='two')]
    """

    def __init__(self, memory: Memory, *, scope: Scope = SHARED) -> None:
        check_memory(memory)
        self.memory = memory
        self.scope = scope

    @classmethod
    def open(
        cls, path: str | Path, embedding: Embeddings | None = None, *, scope: Scope = SHARED
    ) -> Self:
        """Open the store in a directory, or make one; `close` it, or use ``with``.

        Args:
            path: The directory, or ``postgresql://user@host/db?schema=notes``.
            embedding: The same as when the store was made; None for all-MiniLM-L6-v2.
            scope: As for the class.

        Raises:
            IncompatibleModelError: If the store was made with another embedding.
            NotAMemoryError: If the path holds something else.
        """
        embedder = None if embedding is None else LangChainEmbedder(embedding)
        return cls(Memory.open(path, backends=("rag",), embedder=embedder), scope=scope)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        path: str | Path | None = None,
        scope: Scope = SHARED,
        **kwargs: Any,
    ) -> Self:
        """Open a store in the directory ``path``, and add texts; ``kwargs`` as for `add_texts`.

        Raises:
            InvalidInputError: If there is no ``path``.
        """
        refuse_unknown(kwargs, WRITING)
        if path is None:
            raise InvalidInputError(
                "expected a `path`, the directory that the store is kept in, got None",
                hint='from_texts(texts, embedding, path="documents.mem")',
            )
        store = cls.open(path, embedding, scope=scope)
        try:
            store.add_texts(texts, metadatas, ids=ids)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close the memory. Repeating it changes nothing."""
        self.memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def embeddings(self) -> Embeddings:
        """The memory's embedder."""
        embedder = self.memory.vectors.embedder
        if isinstance(embedder, LangChainEmbedder):
            return embedder.embeddings
        return MemkitEmbeddings(embedder)

    # -- writing ---------------------------------------------------------------------------

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add documents, or replace those that have the ids.

        Args:
            texts: Their contents.
            metadatas: JSON values, one mapping per text.
            ids: One per text; those that are None are made up.
            kwargs: ``batch_size``, which LangChain's `index` passes to every store, makes no
                difference: a call is embedded and written as a whole.

        Returns:
            The ids, in order.

        Raises:
            InvalidInputError: If the lengths differ, a text is blank, or an id belongs to
                another scope; nothing is added then.
        """
        refuse_unknown(kwargs, WRITING)
        texts = _listed("texts", texts)
        chosen = [id or str(uuid4()) for id in _as_many(ids, texts, "ids", None)]
        # The id is the key as well: the same text under two ids is two documents.
        drafts = {
            id: Draft(text, scope=self.scope, metadata=metadata, id=id, key=id)
            for id, text, metadata in zip(
                chosen, texts, _as_many(metadatas, texts, "metadatas", {}), strict=True
            )
        }
        stored = dict(zip(drafts, self.memory.add(list(drafts.values())), strict=True))
        for id, record in stored.items():
            if record.metadata != drafts[id].metadata:  # a memory merges them, stores do not
                self.memory.update(record.id, metadata=drafts[id].metadata, scope=self.scope)
        return [stored[id].id for id in chosen]

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Erase documents for good; see `memkit.Memory.forget`.

        Args:
            ids: Unknown ones are ignored; None for all documents of exactly the store's scope.
            kwargs: None; the base class has them.

        Raises:
            InvalidInputError: If a document is shared with other scopes.
        """
        refuse_unknown(kwargs, ())
        chosen = None if ids is None else check_ids("ids", ids)
        while own := self._own(list(self._all()) if chosen is None else chosen):
            with suppress(RecordNotFoundError):  # another process has just deleted one: look again
                self.memory.forget(own, scope=self.scope)
        return True

    def _own(self, ids: Sequence[str]) -> list[str]:
        records = self.memory.get_many(list(dict.fromkeys(ids)), scope=self.scope)
        for record in records:
            if dict(record.scope) != dict(self.scope):
                raise InvalidInputError(
                    f"document {record.id!r} is of the scope {dict(record.scope)!r}, which is "
                    f"shared, the store is of {dict(self.scope)!r}",
                    hint="delete it through a store of its scope",
                )
        return [record.id for record in records]

    def _all(self) -> Iterator[str]:
        after = None
        while True:
            page = self.memory.records(scope=self.scope, after=after, limit=PAGE)
            yield from (r.id for r in page.records if dict(r.scope) == dict(self.scope))
            if page.next is None:
                return
            after = page.next

    # -- reading ---------------------------------------------------------------------------

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Give documents in the order of ``ids``; missing ones are left out."""
        return [_document(record) for record in self.memory.get_many(ids, scope=self.scope)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Find documents by meaning, with their cosine similarity, the most similar first."""
        vector = self.embeddings.embed_query(check_text("query", query))
        return self.similarity_search_with_score_by_vector(vector, k, **kwargs)

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Find the documents nearest to a vector, with their cosine similarity."""
        hits = self.memory.vectors.search(embedding, k, **selected(kwargs, self.scope))
        return [(_document(hit.record), hit.score) for hit in near_enough(hits, kwargs)]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Find documents by meaning, the most similar first."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """Find the documents nearest to a vector, the nearest first."""
        scored = self.similarity_search_with_score_by_vector(embedding, k, **kwargs)
        return [document for document, _ in scored]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Find documents that are similar to a query, and different from each other.

        Args:
            query: In plain words.
            k: How many.
            fetch_k: How many of the most similar they are chosen from.
            lambda_mult: 1 counts similarity alone, 0 difference alone.
            kwargs: As for every search.

        Source:
            Carbonell & Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering
            Documents and Producing Summaries", SIGIR 1998.
        """
        vector = self.embeddings.embed_query(check_text("query", query))
        return self.max_marginal_relevance_search_by_vector(
            vector, k, fetch_k, lambda_mult, **kwargs
        )

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """Like `max_marginal_relevance_search`, near a vector."""
        options = selected(kwargs, self.scope)
        check_limit("k", k)
        check_limit("fetch_k", fetch_k)
        check_number("lambda_mult", lambda_mult)
        nearest = self.memory.vectors.search(embedding, max(k, fetch_k), **options)
        hits = near_enough(nearest, kwargs)
        query = np.asarray(embedding, np.float32)
        passages = self._vectors(hits, past=options["as_of"] is not None)
        # A long document is represented by its passage that is nearest to the query.
        near = {id: rows[np.argmax(rows @ query)].tolist() for id, rows in passages.items()}
        candidates = [hit for hit in hits if hit.id in near]
        vectors = [near[hit.id] for hit in candidates]
        chosen = maximal_marginal_relevance(query, vectors, lambda_mult, k)
        return [_document(candidates[place].record) for place in chosen]

    def _vectors(self, hits: Sequence[Hit], *, past: bool) -> Mapping[str, NDArray[np.float32]]:
        """The vectors of the hits' passages; those of past texts are not stored, but computed."""
        if not past:
            return self.memory.vectors.get([hit.id for hit in hits], scope="all")
        rows = self.memory.vectors.embedder.encode_document([hit.text for hit in hits])
        return {hit.id: row[np.newaxis] for hit, row in zip(hits, rows, strict=True)}

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Like `similarity_search_with_score`."""
        vector = await self.embeddings.aembed_query(check_text("query", query))
        search = self.similarity_search_with_score_by_vector
        return await asyncio.to_thread(search, vector, k, **kwargs)

    async def asimilarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Like `similarity_search`."""
        scored = await self.asimilarity_search_with_score(query, k, **kwargs)
        return [document for document, _ in scored]

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Like `max_marginal_relevance_search`."""
        vector = await self.embeddings.aembed_query(check_text("query", query))
        return await self.amax_marginal_relevance_search_by_vector(
            vector, k, fetch_k, lambda_mult, **kwargs
        )

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return relevance


def relevance(similarity: float) -> float:
    """Give a cosine similarity as a relevance in [0, 1]; negative ones count as unrelated."""
    return min(1.0, max(0.0, similarity))


def _document(record: Record) -> Document:
    return Document(id=record.id, page_content=record.text, metadata=dict(record.metadata))


def _listed(name: str, values: Iterable[Any]) -> list[Any]:
    """The values as a list; a string would be one of its characters."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InvalidInputError(
            f"`{name}` must be a list, got {describe(values)}", hint="put a single one into a list"
        )
    return list(values)


def _as_many(
    values: Sequence[Any] | None, texts: Sequence[str], name: str, default: object
) -> Sequence[Any]:
    """The values, of which there must be one per text; the default for each if there are none."""
    if values is None:
        return [default] * len(texts)
    values = _listed(name, values)
    if not values:
        return [default] * len(texts)
    if len(values) != len(texts):
        raise InvalidInputError(
            f"expected one of `{name}` for each of {len(texts)} texts, got {len(values)}"
        )
    return values
