"""Search in a memory, as a LangChain retriever."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from langchain_memkit.open_memory import OpenMemory
from langchain_memkit.search_options import refuse_unknown
from memkit import AsyncMemory, Hit
from memkit.types import Metadata, Scope

_PER_CALL = {"as_of", "k", "scope", "since", "until", "where"}
_OF_A_VECTOR_STORE = "MemkitVectorStore(memory).as_retriever(search_type=...) takes it"
_REMEDIES = {
    "fetch_k": _OF_A_VECTOR_STORE,
    "filter": "it is called `where`",
    "lambda_mult": _OF_A_VECTOR_STORE,
    "score_threshold": _OF_A_VECTOR_STORE,
    "search_kwargs": "give what it holds by itself",
    "search_type": _OF_A_VECTOR_STORE,
}


class MemkitRetriever(BaseRetriever):
    """Finds records by meaning and by words; see `memkit.Memory.search`.

    A document is the passage of a record that matched: its id is the record's, its metadata the
    record's with one more key, ``"memkit"``, for score, similarity, offsets, scope, and when it
    was said or written ("at", in ISO 8601).

    Every field is a default that ``invoke`` takes, too: ``invoke(query, k=2, scope=...)``.

    Attributes:
        memory: An open memory with the "rag" backend.
        k: How many documents; fewer come only if scope and filter let fewer pass.
        scope: Only what this scope may see; the shared records alone if it is empty.
        where: Metadata filter, e.g. ``{"source": "hr", "year": {"$gte": 2020}}``.
        since: Only what was said at this moment or later; with a time zone, as the others.
        until: Only what was said before this moment.
        as_of: Records as they were at this moment.

    Example:
        >>> from memkit.testing import HashingEmbedder
        >>> folder = getfixture("tmp_path")
        >>> from memkit import Memory
        >>> with Memory.open(folder, backends=["rag"], embedder=HashingEmbedder()) as memory:
        ...     _ = memory.add("The archive is on the second floor.")
        ...     documents = MemkitRetriever(memory=memory).invoke("Where is the archive?")
        >>> documents[0].page_content
        'The archive is on the second floor.'
    """

    model_config = ConfigDict(extra="forbid")

    memory: OpenMemory
    k: int = 4
    scope: Scope = Field(default_factory=dict)
    where: Metadata | None = None
    since: datetime | None = None
    until: datetime | None = None
    as_of: datetime | None = None

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - the base class reports
        **given: Any,
    ) -> list[Document]:
        chosen = self._chosen(given)
        return [document_of(hit) for hit in self.memory.search(query, **chosen)]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002 - as above
        **given: Any,
    ) -> list[Document]:
        chosen = self._chosen(given)
        return [document_of(hit) for hit in await self._async_memory.search(query, **chosen)]

    @cached_property
    def _async_memory(self) -> AsyncMemory:
        return AsyncMemory(self.memory)

    def _chosen(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The options for `Memory.search`: those of the call that are not None, else the fields."""
        refuse_unknown(given, _PER_CALL, _REMEDIES)
        set_per_call = {name: value for name, value in given.items() if value is not None}
        return {name: getattr(self, name) for name in _PER_CALL} | set_per_call


def document_of(hit: Hit) -> Document:
    """Make a document of the passage of a hit."""
    details = {
        "score": hit.score,
        "similarity": hit.similarity,
        "start": hit.start,
        "end": hit.end,
        "scope": dict(hit.record.scope),
        "at": hit.record.at.isoformat(),
    }
    metadata = {**hit.record.metadata, "memkit": details}
    return Document(id=hit.id, page_content=hit.text, metadata=metadata)
