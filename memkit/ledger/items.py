"""Items: JSON objects under a namespace and a key, with vectors to find them by."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from memkit.errors import IncompatibleModelError, InvalidInputError
from memkit.ledger.engine.checksums import CHECKED, amended, stamp, verify, with_checksum
from memkit.ledger.engine.database import Database, Row
from memkit.ledger.engine.dialect import in_numbers, list_parameter, within_scope
from memkit.ledger.engine.readable import as_text, readable
from memkit.types import Scope, Ttl
from memkit.types.scope import scope_key
from memkit.types.validate import (
    check_ids,
    check_object,
    check_part,
    check_text,
    describe,
    shown,
    ttl_seconds,
    unit_vector,
)

if TYPE_CHECKING:
    from memkit.protocols import Floats2d

Namespace = tuple[str, ...]
Address = tuple[Namespace, str]  # namespace, key

MAX_KEY_CHARACTERS = 1024

_COLUMNS = (*CHECKED["items"].columns, "checksum")
_SELECT = f"SELECT number, {', '.join(_COLUMNS)} FROM items"
_PAGE = 256  # items that `ItemTable.nearest` reads at once


@dataclass(frozen=True)
class NewItem:
    """An item that is about to be written, in place of what is there already."""

    namespace: Namespace  # labels without a full stop; one at least
    key: str
    value: Mapping[str, Any]  # a JSON object
    vectors: Sequence[Sequence[float]] = ()  # shape (n, dim); what the item is found by
    ttl: Ttl | None = None  # how long it lives after its last use; None for ever
    scope: Scope | None = None  # `Memory.forget` erases it with all else of this scope


class _Row(NamedTuple):
    """An item as it is stored."""

    namespace: str
    key: str
    scope: str
    value: str
    ttl: float | None


@dataclass(frozen=True)
class StoredItem:
    """An item as it is in the ledger."""

    row: int
    namespace: Namespace
    key: str
    value: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    expires_at: float | None
    expired: bool


class ItemTable:
    """Items of all namespaces, in the order in which they were first written."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, items: Iterable[NewItem], deleted: Iterable[Address] = ()) -> None:
        """Write items and delete what is at other addresses; all of it or nothing.

        `Ledger.scrub` destroys what the deleted ones said.

        Raises:
            InvalidInputError: If a label, key, value, scope or time to live is malformed, or a
                vector not finite.
        """
        rows = [_encoded(item) for item in _each("items", items)]
        addresses = [check_address(address) for address in _each("deleted", deleted)]
        with self._database.transaction():
            for namespace, key in addresses:
                self._database.erase(
                    "items", "namespace = ? AND key = ?", namespace, key, giving="number"
                )
            for item, vectors in rows:
                self._write(item, vectors)

    def transaction(self) -> AbstractContextManager[None]:
        """Make what is read and written in a block one step, whatever others write meanwhile."""
        return self._database.transaction()

    def get(self, addresses: Sequence[Address]) -> list[StoredItem | None]:
        """Give the items at addresses, None where there is nothing."""
        sql = f"{_SELECT} WHERE namespace = ? AND key = ?"
        rows = [
            self._database.row(sql, *check_address(address))
            for address in _each("addresses", addresses)
        ]
        return [None if row is None else self._item(row) for row in rows]

    def delete_within(self, scope: Scope) -> list[str]:
        """Delete the items of a scope and of narrower ones; returns their values as JSON."""
        condition, parameters = within_scope("items.scope", scope)
        return self._database.erase("items", condition, *parameters, giving="value")

    def sweep(self) -> int:
        """Delete the items whose time is over; returns how many."""
        return len(self.delete_expired())

    def delete_expired(self) -> list[str]:
        """As `sweep`; returns their values as JSON."""
        now = self._database.now()
        return self._database.erase("items", "expires_at <= ?", now, giving="value")

    def refresh(self, rows: Sequence[int]) -> None:
        """Let the time of items begin anew; those that live for ever stay so."""
        condition = f"ttl IS NOT NULL AND {in_numbers('number')}"
        wanted = list_parameter("rows", rows)
        with (
            self._database.transaction(),
            amended(self._database, "items", condition, wanted),
        ):
            self._database.execute(
                f"UPDATE items SET expires_at = ? + ttl WHERE {condition}",
                *(self._database.now(), wanted),
            )

    def below(self, prefix: Namespace) -> Iterator[StoredItem]:
        """Give the items of a namespace and of those below it, in order, page by page."""
        condition, parameters = _below(prefix)
        yield from map(
            self._item, self._database.pages("number", _COLUMNS, "items", condition, *parameters)
        )

    def nearest(
        self, prefix: Namespace, query: Sequence[float]
    ) -> Iterator[tuple[StoredItem, float | None]]:
        """Give the items of `below` by the cosine similarity of their best vector.

        Those without a vector come last, without a similarity; ties are in order.

        Raises:
            IncompatibleModelError: If they were written with vectors of another length.
        """
        ranked = self._ranked(prefix, unit_vector("query", query))
        for start in range(0, len(ranked), _PAGE):
            page = ranked[start : start + _PAGE]
            rows = self._database.rows(
                f"{_SELECT} WHERE {in_numbers('number')}",
                list_parameter("page", (number for number, _ in page)),
            )
            items = {row[0]: self._item(row) for row in rows}  # others may delete some meanwhile
            yield from ((items[number], score) for number, score in page if number in items)

    def namespaces(self) -> list[Namespace]:
        """List the namespaces that hold items, sorted."""
        names = self._database.column("SELECT DISTINCT namespace FROM items")
        return sorted(tuple(name.split(".")) for name in names)

    def count(self) -> int:
        """Count all items."""
        return self._database.count("items")

    @property
    def writable(self) -> bool:
        """Whether the directory can be written to."""
        return not self._database.read_only

    def _write(self, item: _Row, vectors: Floats2d) -> None:
        now = self._database.now()
        ends = None if item.ttl is None else now + item.ttl
        number = self._database.value(
            "INSERT INTO items (namespace, key, scope, value, created_at, updated_at, "
            "ttl, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (namespace, key) DO UPDATE SET scope = excluded.scope, "
            "value = excluded.value, updated_at = excluded.updated_at, ttl = excluded.ttl, "
            "expires_at = excluded.expires_at RETURNING number",
            *(item.namespace, item.key, item.scope, item.value, now, now, item.ttl, ends),
        )
        stamp(self._database, "items", "number = ?", number)
        self._database.execute("DELETE FROM item_vectors WHERE item = ?", number)
        self._database.execute_many(
            "INSERT INTO item_vectors (item, position, vector, checksum) VALUES (?, ?, ?, ?)",
            [
                with_checksum("item_vectors", number, place, vector.tobytes())
                for place, vector in enumerate(vectors)
            ],
        )

    def _ranked(self, prefix: Namespace, query: Any) -> list[tuple[int, float | None]]:  # noqa: ANN401 - an array
        """Row and similarity of every item below a namespace, best first."""
        condition, parameters = _below(prefix)
        rows = self._database.rows(
            f"SELECT items.number, vector FROM items LEFT JOIN item_vectors ON item = items.number "
            f"WHERE {condition} ORDER BY items.number, position",
            *parameters,
        )
        numbers = [number for number, blob in rows if blob is not None]
        blobs = [blob for _, blob in rows if blob is not None]
        if {len(blob) for blob in blobs} - {query.nbytes}:
            raise IncompatibleModelError(
                f"expected vectors of length {query.size}, as the query's; items below "
                f"{prefix!r} were written with others",
                hint="write the items again with the embeddings that are in use now",
            )
        vectors = np.frombuffer(b"".join(blobs), np.float32).reshape(len(blobs), query.size)
        scores = vectors @ query
        best: dict[int, float] = {}
        for place in np.argsort(-scores, kind="stable").tolist():
            best.setdefault(numbers[place], float(scores[place]))
        others = [(number, None) for number, blob in rows if blob is None]
        return [*best.items(), *others]

    def _item(self, row: Row) -> StoredItem:
        return readable("items", row[2], self._readable_item, row)

    def _readable_item(self, row: Row) -> StoredItem:
        number, namespace, key, _, value, created_at, updated_at, _, expires_at, _ = row
        item = StoredItem(
            row=number,
            namespace=tuple(namespace.split(".")),
            key=as_text(key),
            value=json.loads(value),
            created_at=datetime.fromtimestamp(created_at, UTC),
            updated_at=datetime.fromtimestamp(updated_at, UTC),
            expires_at=expires_at,
            expired=expires_at is not None and expires_at <= self._database.now(),
        )
        verify("items", row[1:])
        return item


def check_address(address: object) -> tuple[str, str]:
    """Check where an item is: its namespace, as it is stored, and its key, in normal form.

    Raises:
        InvalidInputError: If the namespace is no list of labels, or the key no string.
    """
    if not isinstance(address, list | tuple) or len(address) != 2:
        raise InvalidInputError(
            f"an address must be a namespace and a key, got {describe(address)}",
            "For example (('a', 'b'), 'key').",
        )
    namespace, key = address
    labels = _labels(namespace)
    if not labels:
        raise InvalidInputError(f"`namespace` must have a label, got {shown(namespace)}")
    return ".".join(labels), check_text("key", key, longest=MAX_KEY_CHARACTERS)


def _labels(namespace: object) -> list[str]:
    if not isinstance(namespace, list | tuple):
        raise InvalidInputError(
            f"`namespace` must be a tuple of strings, got {describe(namespace)}",
            "Give a label for each part: ('a', 'b').",
        )
    labels = check_ids("namespace", namespace)
    for label in labels:
        if "." in label:
            raise InvalidInputError(
                f"labels of `namespace` must not contain a full stop, got {shown(label)}",
                "Give a label for each part: ('a', 'b').",
            )
    return labels


def _below(prefix: Namespace) -> tuple[str, list[object]]:
    """The condition that a namespace is, or is below, another one."""
    if not (labels := _labels(prefix)):
        return "TRUE", []
    name = ".".join(labels)
    # "/" is what follows "." in the order of characters.
    return "(namespace = ? OR (namespace > ? AND namespace < ?))", [name, f"{name}.", f"{name}/"]


def as_json(key: str, value: Mapping[str, Any]) -> str:
    """Give an item's value as it is stored.

    Raises:
        InvalidInputError: If it is not JSON.
    """
    try:
        return json.dumps(check_object("value", value), ensure_ascii=False)
    except InvalidInputError as error:
        raise InvalidInputError(f"item {key!r}: {error.message}", error.hint) from error


def _encoded(item: NewItem) -> tuple[_Row, Floats2d]:
    """An item and its unit vectors, as they are stored."""
    check_part("items", item, NewItem, "`NewItem`s", "NewItem(('a', 'b'), 'key', {'v': 1})")
    namespace, key = check_address((item.namespace, item.key))
    row = _Row(
        namespace,
        key,
        scope_key({} if item.scope is None else item.scope),
        as_json(key, item.value),
        None if item.ttl is None else ttl_seconds(item.ttl),
    )
    try:
        vectors = [unit_vector("vectors", vector) for vector in _each("vectors", item.vectors)]
        if len(sizes := sorted({vector.size for vector in vectors})) > 1:
            raise InvalidInputError(f"`vectors` must be of one length, got {sizes}")
    except InvalidInputError as error:
        raise InvalidInputError(f"item {key!r}: {error.message}", error.hint) from error
    return row, np.array(vectors, np.float32)


def _each(name: str, values: Any) -> Iterator[Any]:  # noqa: ANN401 - as it came
    """Values one by one, so that the first wrong one is refused, however many follow."""
    if isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping):
        with suppress(TypeError):  # an array without dimensions has an iterator that it withholds
            return iter(values)
    raise InvalidInputError(f"`{name}` must be a list, got {describe(values)}")
