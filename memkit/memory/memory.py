"""One memory over three places: adapters, an index and the prompt. The verbs, no algorithms."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self, overload

from memkit.memory import ask as reading
from memkit.memory import write as writing
from memkit.memory.ask import BUDGET
from memkit.memory.engine import ALL_BACKENDS, Config, CountTokens, Engine
from memkit.memory.mixin_asking import AskVerbs
from memkit.memory.mixin_chat import ChatVerbs
from memkit.memory.mixin_portability import PortabilityVerbs
from memkit.memory.modules import ModuleVerbs
from memkit.memory.retention import LifecycleVerbs
from memkit.memory.vectors import LookupVerbs
from memkit.protocols import Embedder, LanguageModel, Query
from memkit.types import (
    BackendName,
    Draft,
    Hit,
    Metadata,
    Page,
    Period,
    Recall,
    Receipt,
    Record,
    Role,
    Scope,
    Stats,
    Ttl,
    Turn,
    Version,
)

if TYPE_CHECKING:
    from memkit.ledger.items import ItemTable
    from memkit.lora.consolidation.consolidate import Recipe
    from memkit.rag.fusion import Ranking
    from memkit.rag.reranker import Reranker


NOWHERE: Scope = {}


class Memory(AskVerbs, ChatVerbs, LifecycleVerbs, LookupVerbs, ModuleVerbs, PortabilityVerbs):
    """A memory for language-model agents, in one directory.

    Use `Memory.open`. Threads may share a `Memory`, and several processes a directory.

    A query with a scope sees a record if every key of the record's scope has the same value in
    the query's: records without scope are shared, queries without scope see only those.

    The verbs that answer are in `memkit.memory.mixin_asking` and, for whole conversations, in `memkit.memory.mixin_chat`;
    those about adapter modules, from `consolidate` to `rollback`, in `memkit.memory.modules`; those
    that look up by ids or vectors in `memkit.memory.vectors`; `export`, `import_` and
    `reembed` in `memkit.memory.mixin_portability`.
    """

    # -- opening and closing ---------------------------------------------------------------

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        backends: Sequence[BackendName] = ALL_BACKENDS,
        base_model: str | Path | LanguageModel | None = None,
        embedder: str | Path | Embedder | None = None,
        recipe: Recipe | None = None,
        count_tokens: CountTokens | None = None,
        create: bool = True,
        rebuild: bool = False,
        busy_timeout: float = 30.0,
        ranking: Ranking | None = None,
        reranker: Reranker | str | None = None,
    ) -> Self:
        """Open a memory, or make one.

        Args:
            path: Its directory.
            backends: Where knowledge may live: any of "buffer", "rag" and "lora".
            base_model: Folder, hub id or any `memkit.protocols.LanguageModel`; by default
                SmolLM2-135M-Instruct. Loaded when an answer or an adapter is first asked for.
                "lora" needs one of transformers, `memkit.models.language_model.TransformersModel`.
            embedder: Folder, hub id or any `memkit.protocols.Embedder`; by default
                all-MiniLM-L6-v2.
            recipe: How `consolidate` makes adapters.
            count_tokens: Counts tokens for budgets, for example with a hosted model's
                tokenizer; by default the base model's does.
            create: Whether to make the memory if there is none.
            rebuild: Adopt another embedder or base model than the memory was made with:
                records are embedded anew now; modules are out of service until `consolidate` has
                trained them anew.
            busy_timeout: Bound on waiting for other processes, in seconds.
            ranking: `memkit.rag.fusion.Ranking`: what weighs how much in a search.
            reranker: Scores ``(query, texts)`` and so puts the best hits in their final order;
                or the folder or hub id of a sentence-transformers ``CrossEncoder``.

        Raises:
            NotAMemoryError: If the path holds something else.
            IncompatibleModelError: If the memory was made with another embedder, or its adapters
                for another base model.
            FormatVersionError: If a newer memkit wrote it.
            CorruptFileError: If the ledger is damaged.
        """
        config = Config(
            backends=backends,
            base_model=base_model,
            embedder=embedder,
            recipe=recipe,
            count_tokens=count_tokens,
            rebuild=rebuild,
            busy_timeout=busy_timeout,
            ranking=ranking,
            reranker=reranker,
        )
        return cls(Engine.open(Path(path), config, create=create))

    def close(self) -> None:
        """Write the index file and close the ledger. Repeating it changes nothing."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Memory({str(self._engine.ledger.directory)!r}, {self._engine.config.backends})"

    # -- writing ---------------------------------------------------------------------------

    @overload
    def add(
        self,
        text: str,
        *,
        question: str | None = None,
        answer: str | None = None,
        scope: Scope = NOWHERE,
        metadata: Metadata = NOWHERE,
        id: str | None = None,
        key: str | None = None,
        ttl: Ttl | None = None,
        pinned: bool = False,
        at: datetime | None = None,
    ) -> Record: ...

    @overload
    def add(
        self,
        text: list[str] | list[Draft] | tuple[str | Draft, ...],
        *,
        scope: Scope = NOWHERE,
        metadata: Metadata = NOWHERE,
        ttl: Ttl | None = None,
        pinned: bool = False,
        at: datetime | None = None,
    ) -> list[Record]: ...

    def add(
        self,
        text: str | list[str] | list[Draft] | tuple[str | Draft, ...],
        *,
        question: str | None = None,
        answer: str | None = None,
        scope: Scope = NOWHERE,
        metadata: Metadata = NOWHERE,
        id: str | None = None,
        key: str | None = None,
        ttl: Ttl | None = None,
        pinned: bool = False,
        at: datetime | None = None,
    ) -> Record | list[Record]:
        """Store knowledge; it can be recalled as soon as this returns, and survives a crash.

        Adding the same content to the same scope again returns the record that is there. Another
        text under the same key, or another answer to the same question, becomes the next version
        of the record that is there.

        Args:
            text: The knowledge, verbatim; or a list of texts or `Draft` objects.
            question: A question that it answers; adapters learn it best as such a pair.
            answer: The answer, as it should be recalled.
            scope: Who may see it; of every text in a list, while drafts bring their own.
            metadata: JSON values to filter by; in a list as ``scope``.
            id: Chosen by the caller; made up if None.
            key: What it is about; by default its question. Different keys keep different
                answers to one question side by side.
            ttl: How long it lives, in seconds or as a timedelta; by default as long as `set_ttl`
                says for the scope.
            pinned: See `pin`.
            at: When it was said or happened, for ``since`` and ``until``; by default now.

        Raises:
            InvalidInputError: If any of it cannot be stored; then nothing of it is.
        """
        rest = Draft("", question, answer, scope, metadata, id, key, ttl, pinned, at)
        records = writing.store(self._engine, writing.drafts_of(text, rest))
        return records[0] if isinstance(text, str) else records

    def add_turn(
        self,
        role: Role,
        content: str,
        *,
        scope: Scope = NOWHERE,
        remember: bool = True,
        name: str | None = None,
        at: datetime | None = None,
    ) -> Turn:
        """Note a turn of a conversation.

        Args:
            role: Who speaks.
            content: What is said.
            scope: The conversation.
            remember: Make it a record, too, so that it is found when it has left the buffer.
                System messages never become records.
            name: Of who speaks: finds the turn when a question names a speaker.
            at: When it was said; by default now.
        """
        return writing.note(self._engine, role, content, scope, remember=remember, name=name, at=at)

    def update(
        self,
        id: str,
        text: str | None = None,
        *,
        question: str | None = None,
        answer: str | None = None,
        metadata: Metadata | None = None,
        scope: Scope | None = None,
    ) -> Record:
        """Write a new version of a record; what is None stays as it is.

        The new version is recalled at once. Adapters that hold the old one no longer answer
        for this record; `consolidate` trains the new version.

        Raises:
            RecordNotFoundError: As for `get`.
            InvalidInputError: If the new text contradicts the answer that would stay.
        """
        changes = writing.Changes(text, question, answer, metadata)
        return writing.rewrite(self._engine, id, changes, scope=scope)

    def forget(
        self,
        id: str | Sequence[str] | None = None,
        *,
        scope: Scope | None = None,
        where: Metadata | None = None,
        retrain: bool = True,
    ) -> Receipt:
        """Erase records from the ledger, the indexes, the caches and the weights.

        Args:
            id: One record or several.
            scope: Everything of this scope and narrower ones, turns included; with ``id``,
                refuse records of other scopes.
            where: Only records that pass this metadata filter.
            retrain: Train the modules that held the records anew without them; False drops
                them, as does a failure, and leaves their other records to rag.

        Raises:
            RecordNotFoundError: If an id is unknown; nothing is erased then.
            InvalidInputError: If nothing is selected.
        """
        ids = [id] if isinstance(id, str) else id
        return writing.forget(self._engine, ids, scope=scope, where=where, retrain=retrain)

    # -- reading ---------------------------------------------------------------------------

    def get(self, id: str, *, scope: Scope | None = None) -> Record:
        """Give a record as it is now.

        Raises:
            RecordNotFoundError: If there is no such record, or none that ``scope`` may see.
        """
        return self._engine.ledger.records.get([id], scope=scope)[0]

    def history(self, id: str, *, scope: Scope | None = None) -> list[Version]:
        """List the versions of a record, the oldest first and the current one last.

        Raises:
            RecordNotFoundError: As for `get`.
        """
        self.get(id, scope=scope)
        return self._engine.ledger.records.history(id)

    def records(
        self,
        *,
        scope: Scope | None = None,
        where: Metadata | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Page:
        """List records in the order in which they were added, selected as by `forget`."""
        return self._engine.ledger.records.page(within=scope, where=where, after=after, limit=limit)

    def turns(self, *, scope: Scope = NOWHERE, limit: int = 50) -> list[Turn]:
        """List the newest turns of exactly this conversation, the oldest of them first."""
        return self._engine.ledger.turns.recent(scope, limit)[::-1]

    def search(
        self,
        query: str,
        k: int = 5,
        *,
        scope: Scope = NOWHERE,
        where: Metadata | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
    ) -> list[Hit]:
        """Find records by meaning and by words.

        Args:
            query: In plain words.
            k: How many; fewer come only if scope and filter let fewer pass.
            scope: Only what this scope may see.
            where: Metadata filter, e.g. ``{"source": "hr", "year": {"$gte": 2020}}``.
            since: Only what was said at this moment or later; see `Record.at`.
            until: Only what was said before this moment.
            as_of: Records as they were at this moment. Those that have changed since are ranked
                by meaning alone; what was forgotten is not there.

        Raises:
            InvalidInputError: If the query is blank, ``k`` < 1, the filter is malformed, or a
                time has no time zone.
            UnsupportedOperationError: Without the "rag" backend.
        """
        rag = self._engine.need_rag("search()")
        period = Period(since, until, as_of)
        return list(rag.recall(Query(query, k, scope, where, period=period)).hits)

    def recall(
        self,
        query: str,
        budget: int = BUDGET,
        *,
        k: int = 5,
        scope: Scope = NOWHERE,
        where: Metadata | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
    ) -> Recall:
        """Gather evidence for any language model, within a token budget; needs none itself.

        Args:
            query: The user's words.
            budget: Most tokens that the evidence may take; 0 for the route alone.
            k: At most this many records.
            scope: Only what this scope may see.
            where: Only records that pass this metadata filter.
            since: As for `search`; of turns as well.
            until: As for `search`; of turns as well.
            as_of: As for `search`; nothing is routed to adapters, as weights have no past.

        Raises:
            InvalidInputError: If the query is blank, the budget negative, ``k`` < 1, or a time
                has no time zone.
        """
        period = Period(since, until, as_of)
        return reading.recall(self._engine, Query(query, k, scope, where, period=period), budget)

    @property
    def items(self) -> ItemTable:
        """JSON objects under a namespace and a key; what stores for agents are made of."""
        return self._engine.ledger.items

    def stats(self, *, scope: Scope | None = None) -> Stats:
        """Count what the memory holds, or what of it is of a scope or of narrower ones."""
        return reading.count(self._engine, scope)
