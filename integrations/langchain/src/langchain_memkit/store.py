"""A LangGraph store that keeps its items in a memory's directory."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from langchain_memkit._filter import check_filter, matches
from langchain_memkit._optional import needs
from langchain_memkit.open_memory import check_memory
from memkit import InvalidInputError, Memory
from memkit.errors import DimensionMismatchError
from memkit.ledger.items import Address, Namespace, NewItem, StoredItem, as_json
from memkit.types.validate import (
    check_limit,
    check_part,
    check_text,
    in_normal_form,
    normal_form,
    refuse_part,
    shown,
)
from memkit.types.validate.descriptions import describe

with needs("langgraph", "MemkitStore"):
    from langgraph.store.base import (
        BaseStore,
        GetOp,
        IndexConfig,
        Item,
        ListNamespacesOp,
        MatchCondition,
        Op,
        PutOp,
        Result,
        SearchItem,
        SearchOp,
        TTLConfig,
        ensure_embeddings,
        get_text_at_path,
        tokenize_path,
        validate_op_namespace,
    )

Path = tuple[str, Any]  # a field as it was given, and as LangGraph reads it
Vectors = Mapping[str, Sequence[float]]


class MemkitStore(BaseStore):
    """Items of a LangGraph store in a `memkit.Memory`: durable, shared by processes, forgettable.

    An item is a JSON object under a namespace and a key. Items are in the memory's ledger beside
    its records, not among them: `Memory.recall` does not find them and no adapter learns them.
    ``scope`` says whose they are, and `Memory.forget` of that scope erases them, too.

    Within a batch, reads see what was there before its writes, and of several writes to one key
    the last counts; the writes are one transaction. Items come in the order in which they were
    first written, or by similarity, those without a vector last.

    Args:
        memory: Open, and closed by its owner.
        index: How items are searched: ``embed``, ``dims`` and ``fields``, as for every LangGraph
            store. Without it queries are ignored.
        ttl: How long items live: ``default_ttl`` (minutes), ``refresh_on_read``,
            ``omit_expired``, ``sweep_interval_minutes``. Expired items are there until
            `sweep_ttl`, or a sweeper, deletes them; with ``omit_expired`` they are not read.
        scope: Maps a namespace to the memkit scope of its items.

    Raises:
        MissingDependencyError: Without LangGraph.

    Example:
        store = MemkitStore(memory, scope=lambda namespace: {"user": namespace[0]})
        store.put(("ann", "preferences"), "food", {"likes": "mushrooms"})
        memory.forget(scope={"user": "ann"})
    """

    supports_ttl = True

    def __init__(
        self,
        memory: Memory,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        scope: Callable[[Namespace], Mapping[str, str]] | None = None,
    ) -> None:
        check_memory(memory)
        if scope is not None and not callable(scope):
            refuse_part("scope", scope, "a function of a namespace")
        for name, config in (("index", index), ("ttl", ttl)):
            if config is not None:
                check_part(name, config, Mapping, "a mapping")
        self.memory = memory
        self.index_config = index
        self.embeddings = ensure_embeddings(index.get("embed")) if index else None
        self.ttl_config = ttl
        self._scope = scope
        self._fields = _paths((index or {}).get("fields") or ["$"])
        self._stop = threading.Event()
        self._sweeper: Future[None] | None = None

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations; one result for each, in order.

        Raises:
            InvalidNamespaceError: If a label is empty, no string or has a full stop.
            InvalidInputError: If a value is not JSON, or a filter or a page is malformed.
        """
        plan = _Plan.of(ops, self._texts)
        documents: Vectors = {}
        queries: Vectors = {}
        if self.embeddings is not None:
            if plan.texts:
                vectors = self.embeddings.embed_documents(plan.texts)
                documents = self._checked(plan.texts, vectors)
            embedded = [self.embeddings.embed_query(query) for query in plan.queries]
            queries = self._checked(plan.queries, embedded)
        return self._carry_out(plan, documents, queries)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Like `batch`; the event loop runs on."""
        plan = _Plan.of(ops, self._texts)
        documents: Vectors = {}
        queries: Vectors = {}
        if self.embeddings is not None:
            if plan.texts:
                vectors = await self.embeddings.aembed_documents(plan.texts)
                documents = self._checked(plan.texts, vectors)
            pending = [self.embeddings.aembed_query(query) for query in plan.queries]
            queries = self._checked(plan.queries, await asyncio.gather(*pending))
        return await asyncio.to_thread(self._carry_out, plan, documents, queries)

    # -- expiry ------------------------------------------------------------------------------

    def sweep_ttl(self) -> int:
        """Delete the expired items; returns how many."""
        return self.memory.items.sweep()

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> Future[None]:
        """Delete expired items again and again, in a thread, until `stop_ttl_sweeper`.

        Args:
            sweep_interval_minutes: Time between two sweeps; None for that of ``ttl``.

        Returns:
            Done when the sweeper has stopped; raises the error that stopped it, if one did.

        Raises:
            InvalidInputError: If no positive interval was given.
        """
        interval = sweep_interval_minutes or (self.ttl_config or {}).get("sweep_interval_minutes")
        if not interval or interval < 0:
            raise InvalidInputError(
                f"`sweep_interval_minutes` must be positive, got {shown(interval)}",
                hint="give it here or in the store's `ttl`",
            )
        if self._sweeper is None or self._sweeper.done():
            self._stop = threading.Event()
            thread = ThreadPoolExecutor(1, thread_name_prefix="memkit-sweeper")
            self._sweeper = thread.submit(self._sweep_until, self._stop, interval * 60)
            thread.shutdown(wait=False)
        return self._sweeper

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Stop the sweeper; True once it has, False if it did not within ``timeout`` seconds."""
        self._stop.set()
        try:
            if self._sweeper is not None:
                self._sweeper.exception(timeout)
        except TimeoutError:
            return False
        return True

    def _sweep_until(self, stop: threading.Event, seconds: float) -> None:
        while not stop.wait(seconds):
            self.sweep_ttl()

    # -- inside ------------------------------------------------------------------------------

    def _texts(self, op: PutOp) -> list[str]:
        """The texts that an item is indexed by; none if it is not indexed."""
        if self.embeddings is None or op.value is None or op.index is False:
            return []
        paths = self._fields if op.index is None else _paths(op.index)
        return [text for _, field in paths for text in get_text_at_path(op.value, field)]

    def _checked(self, texts: Sequence[str], vectors: Sequence[Sequence[float]]) -> Vectors:
        dims = (self.index_config or {}).get("dims")
        lengths = {len(vector) for vector in vectors}
        if dims is not None and lengths - {dims}:
            raise DimensionMismatchError(f"expected `dims` of {dims}, got {sorted(lengths)}")
        return dict(zip(texts, vectors, strict=True))

    def _carry_out(self, plan: _Plan, documents: Vectors, queries: Vectors) -> list[Result]:
        results = [self._read(op, queries) for op in plan.ops]
        if plan.puts:
            self._write(plan, documents)
        return results

    def _read(self, op: Op, queries: Vectors) -> Result:
        match op:
            case GetOp():
                items = self.memory.items.get([(op.namespace, op.key)])
                return next(map(_public, self._used(items, refresh=op.refresh_ttl)), None)
            case SearchOp():
                return self._search(op, queries.get(op.query or ""))
            case ListNamespacesOp():
                return self._namespaces(op)
        return None

    def _search(self, op: SearchOp, query: Sequence[float] | None) -> list[SearchItem]:
        items, conditions = self.memory.items, in_normal_form(op.filter or {})
        scored: Iterator[tuple[StoredItem, float | None]] = (
            ((item, None) for item in items.below(op.namespace_prefix))
            if query is None
            else items.nearest(op.namespace_prefix, query)
        )
        passing = (
            pair for pair in scored if self._lives(pair[0]) and matches(pair[0].value, conditions)
        )
        page = list(islice(passing, op.offset, op.offset + op.limit))
        self._used([item for item, _ in page], refresh=op.refresh_ttl)
        return [_hit(item, score) for item, score in page]

    def _namespaces(self, op: ListNamespacesOp) -> list[Namespace]:
        namespaces = [
            namespace
            for namespace in self.memory.items.namespaces()
            if all(_fits(namespace, condition) for condition in op.match_conditions or ())
        ]
        if op.max_depth is not None:
            namespaces = sorted({namespace[: op.max_depth] for namespace in namespaces})
        return namespaces[op.offset : op.offset + op.limit]

    def _write(self, plan: _Plan, documents: Vectors) -> None:
        items = self.memory.items
        new = [
            NewItem(
                namespace=op.namespace,
                key=op.key,
                value=op.value,
                vectors=[documents[text] for text in dict.fromkeys(self._texts(op))],
                ttl=None if op.ttl is None else op.ttl * 60,
                scope=self._scope(op.namespace) if self._scope is not None else {},
            )
            for op in plan.puts.values()
            if op.value is not None
        ]
        deleted = [address for address, op in plan.puts.items() if op.value is None]
        items.write(new, deleted)

    def _lives(self, item: StoredItem) -> bool:
        return not ((self.ttl_config or {}).get("omit_expired") and item.expired)

    def _used(self, items: Sequence[StoredItem | None], *, refresh: bool) -> list[StoredItem]:
        """Leave out missing and expired items; with ``refresh`` the others' time starts again."""
        living = [item for item in items if item is not None and self._lives(item)]
        timed = [item.row for item in living if item.expires_at is not None]
        if refresh and timed and self.memory.items.writable:
            self.memory.items.refresh(timed)
        return living


@dataclass(frozen=True)
class _Plan:
    """Checked operations, and the texts that have to be embedded for them.

    Attributes:
        ops: All, in order.
        puts: The last write to each address.
        texts: The texts that the written items are indexed by, each once.
        queries: The queries of searches, each once.
    """

    ops: Sequence[Op]
    puts: Mapping[Address, PutOp]
    texts: list[str]
    queries: list[str]

    @classmethod
    def of(cls, ops: Iterable[Op], texts_of: Callable[[PutOp], list[str]]) -> _Plan:
        if isinstance(ops, str | bytes) or not isinstance(ops, Iterable):
            raise InvalidInputError(f"`ops` must be a list of operations, got {describe(ops)}")
        ops = [_normal(op) for op in ops]
        for op in ops:
            _check(op)
        puts = {(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)}
        texts = [text for op in puts.values() for text in texts_of(op)]
        queries = [op.query for op in ops if isinstance(op, SearchOp) and op.query]
        return cls(ops, puts, list(dict.fromkeys(texts)), list(dict.fromkeys(queries)))


def _normal(op: Op) -> Op:
    """A search with its query checked and in normal form, as texts are stored; others as given."""
    if isinstance(op, SearchOp) and op.query is not None and op.query != "":
        return op._replace(query=check_text("query", op.query))
    return op


def _check(op: Op) -> None:
    if not isinstance(op, GetOp | PutOp | SearchOp | ListNamespacesOp):
        raise InvalidInputError(f"expected an operation of a LangGraph store, got {shown(op)}")
    validate_op_namespace(op)
    if isinstance(op, GetOp | PutOp) and not op.namespace:
        raise InvalidInputError(f"expected a namespace of at least one label, got {shown(op)}")
    if isinstance(op, GetOp | PutOp) and not isinstance(op.key, str):
        raise InvalidInputError(f"expected a key that is a string, got {shown(op)}")
    if isinstance(op, PutOp) and op.ttl is not None:
        is_number = isinstance(op.ttl, int | float) and not isinstance(op.ttl, bool)
        if not is_number or not 0 <= op.ttl < math.inf:
            raise InvalidInputError(
                f"`ttl` must be minutes, a number of at least 0, got {shown(op.ttl)}"
            )
    if isinstance(op, PutOp) and op.index is not None and op.index is not False:
        _check_fields(op.index)
    if isinstance(op, PutOp) and op.value is not None:
        as_json(op.key, op.value)  # before it is searched for texts
    if isinstance(op, SearchOp):
        check_filter(op.filter or {})
    if isinstance(op, SearchOp | ListNamespacesOp):
        check_limit("limit", op.limit, least=0)
        check_limit("offset", op.offset, least=0)


def _check_fields(fields: object) -> None:
    if not isinstance(fields, list | tuple) or not all(isinstance(f, str) for f in fields):
        raise InvalidInputError(
            f"`index` must be False or a list of fields, got {describe(fields)}",
            hint='for example ["title", "body"]',
        )


def _paths(fields: Sequence[str]) -> list[Path]:
    return [(field, field if field == "$" else tokenize_path(field)) for field in fields]


def _fits(namespace: Namespace, condition: MatchCondition) -> bool:
    """Whether a namespace begins, or ends, with a path; "*" stands for any one label."""
    path = tuple(map(normal_form, condition.path))
    if len(namespace) < len(path):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[-len(path) :]
    return all(pattern in ("*", label) for label, pattern in zip(part, path, strict=False))


def _public(item: StoredItem) -> Item:
    return Item(
        value=item.value,
        key=item.key,
        namespace=item.namespace,
        created_at=item.created_at,
        updated_at=item.updated_at,
    )


def _hit(item: StoredItem, score: float | None) -> SearchItem:
    return SearchItem(item.namespace, item.key, item.value, item.created_at, item.updated_at, score)
