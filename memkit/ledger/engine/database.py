"""What the tables of a ledger need of the database that they are in, whichever it is."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from memkit.errors import BusyError, UnsupportedOperationError
from memkit.ledger.engine.cached import Cache
from memkit.ledger.engine.dialect import NOW
from memkit.ledger.engine.locks import LockName

Row = tuple[Any, ...]
State = Hashable  # compared with others, no more

_PAGE = 256  # rows of `Database.pages` that are in memory at once
SCRUB_PENDING = "scrub_pending"  # set in `meta` from a delete until `Ledger.scrub` succeeds


class WordIndex(Protocol):
    """The words of passages, found by BM25 in any of their English inflections."""

    def add(self, words: Sequence[tuple[int, str]]) -> None:
        """Take in new passages, by key: what `memkit.text.scripts.terms` makes of their texts."""

    def asked(self, word: str) -> str:
        """Give the parameter of `memkit.ledger.engine.dialect.MATCHING` for one word."""

    def search(self, weights: Mapping[str, float], among: Sequence[int] | None) -> list[Row]:
        """Find the passages that have one of some words, among all or among those of some keys.

        Returns:
            Their keys and the sums of each word's BM25 score times its weight, a higher one is
            better, in no order.
        """

    def search_each(
        self, words: Sequence[str], among: Sequence[int]
    ) -> list[list[tuple[int, float]]]:
        """Find for each of some words those of a few passages that have it, in one read.

        Returns:
            For each word, keys in ascending order and BM25 scores by the word alone.
        """

    def frequencies(self, words: Sequence[str]) -> list[int]:
        """How many passages have each of some words in some form; far cheaper than their scores."""


class Database(ABC):
    """Runs statements one at a time, and maps their errors.

    Statements are written as `memkit.ledger.engine.dialect` says. Results are always fetched
    whole, so that no statement stays open between calls. Threads may share a database. Every
    wait for others is bounded by ``wait``, in seconds.

    Attributes:
        name: What messages call it; of a directory, its path.
        place: What opens it again: a directory, or a URL.
        directory: Where the files are that belong to it or are derived from it.
        wait: Bound on waiting for others, in seconds.
        read_only: Whether nothing can be written.
        shared: Whether other machines may use it, too.
        beyond_reach: Where what was deleted may be left, and until when.
        clock: Tells the time, in seconds since 1970; what it says decides what has expired.
        cache: What is read once per change.
        words: The index of the words of passages.
    """

    words: WordIndex
    shared = False
    beyond_reach: tuple[str, ...] = ()

    def __init__(
        self, name: str, place: str | Path, directory: Path, *, wait: float, read_only: bool
    ) -> None:
        self.name = name
        self.place = place
        self.directory = directory
        self.wait = wait
        self.read_only = read_only
        self.clock: Callable[[], float] = time.time
        self.cache = Cache(self.state, self.now, self._next_expiry)
        self._look = threading.local()  # has the `state` of a thread that is in `one_look`

    @abstractmethod
    def rows(self, sql: str, *parameters: object) -> list[Row]:
        """Run one statement and fetch what it gives."""

    @abstractmethod
    def execute(self, sql: str, *parameters: object) -> int:
        """Run one statement; returns how many rows it changed by itself."""

    @abstractmethod
    def execute_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each row of parameters."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Make the block atomic: committed as a whole, or rolled back if it raises.

        A transaction inside another one joins it. An error that leaves the inner block must
        leave the outer one too; otherwise what the inner one did so far is committed.

        Raises:
            BusyError: If another process or thread writes for longer than the bounded wait.
            ReadOnlyError: If the ledger was opened for reading.
        """

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[None]:
        """Read within the block what is there when it begins, whatever others write meanwhile.

        Other threads may wait for the end of it: open it again for that.

        Raises:
            UnsupportedOperationError: Within a transaction, which sees what it has written.
        """

    def refuse_in_transaction(self, what: str) -> None:
        """Refuse what would end the transaction that this thread is in, or stand beside it."""
        if self.in_transaction:
            raise UnsupportedOperationError(
                f"{what} of {self.name} cannot begin within a transaction of the same thread",
                "End the transaction first, or open the memory a second time.",
            )

    @property
    @abstractmethod
    def in_transaction(self) -> bool:
        """Whether this thread is inside a `transaction`."""

    @abstractmethod
    def lock(self, name: LockName, timeout: float, busy: BusyError) -> AbstractContextManager[None]:
        """Hold a lock that all who have the memory open share, on whichever machine.

        It is no transaction, and may be held for hours.

        Args:
            name: What it is for.
            timeout: Bound on waiting for it, in seconds.
            busy: What is raised if others hold it for longer.
        """

    @abstractmethod
    def check_locks(self) -> None:
        """Check that the locks that this process holds are still its own.

        Raises:
            StorageError: If one was lost with the connection that held it.
        """

    @abstractmethod
    def now(self) -> float:
        """Tell the time; within a transaction it stands still, so that nothing expires there."""

    @abstractmethod
    def check_place(self) -> None:
        """Check that what is open is what is at its place.

        Raises:
            DirectoryChangedError: If it was removed, moved or replaced.
        """

    @abstractmethod
    def has_table(self, name: str) -> bool:
        """Whether there is a table."""

    @abstractmethod
    def schema_has(self, text: str) -> bool:
        """Whether a text is part of the schema as files have it."""

    @abstractmethod
    def create_vectors(self, table: str) -> None:
        """Make another table of the vectors of passages; they are deleted with their passages."""

    @abstractmethod
    def take_numbers(self, table: str, count: int) -> int:
        """Give the first of so many keys for the next rows of a table; within a transaction."""

    @abstractmethod
    def mark_for_scrub(self) -> None:
        """Note that deleted content may remain somewhere until it is destroyed."""

    @abstractmethod
    def destroy_deleted(self) -> bool:
        """Destroy what deleted rows have left; False if others keep it from that."""

    @abstractmethod
    def settle(self) -> None:
        """Do before it is closed what saves the next opening time, if that is possible."""

    @abstractmethod
    def close(self) -> None:
        """Close it. Repeating it changes nothing, nor does it in a forked process."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether `close` was called, or this is another process than the one that opened it."""

    @abstractmethod
    def _read_state(self) -> State:
        """As `state`, asked anew."""

    def row(self, sql: str, *parameters: object) -> Row | None:
        """Give the first row, or None."""
        rows = self.rows(sql, *parameters)
        return rows[0] if rows else None

    def value(self, sql: str, *parameters: object) -> Any:  # noqa: ANN401 - SQL decides
        """Give the first column of the first row, or None."""
        row = self.row(sql, *parameters)
        return row[0] if row else None

    def column(self, sql: str, *parameters: object) -> list[Any]:
        """Give the first column of every row."""
        return [row[0] for row in self.rows(sql, *parameters)]

    def count(self, source: str, condition: str = "TRUE", *parameters: object) -> int:
        """Count the rows of a table, or of several that are joined, that meet a condition."""
        return int(self.value(f"SELECT count(*) FROM {source} WHERE {condition}", *parameters))

    def pages(
        self,
        key: str,
        columns: Iterable[str],
        source: str,
        condition: str = "TRUE",
        *parameters: object,
        after: object = 0,
    ) -> Iterator[Row]:
        """Read keys and columns in the order of the keys, page by page; others may write meanwhile.

        The keys tell the rows of a table, or of several that are joined, apart; ``after`` is below
        all of them.
        """
        query = (
            f"SELECT {', '.join([key, *columns])} FROM {source} "
            f"WHERE {condition} AND {key} > ? ORDER BY {key} LIMIT {_PAGE}"
        )
        while True:
            rows = self.rows(query, *parameters, after)
            yield from rows
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def erase(self, table: str, condition: str, *parameters: object, giving: str) -> list[Any]:
        """Delete rows, of whose content no byte may stay; gives a column of each."""
        with self.transaction():
            values = self.column(
                f"DELETE FROM {table} WHERE {condition} RETURNING {giving}", *parameters
            )
            if values:
                self.mark_for_scrub()
        return values

    def state(self) -> State:
        """Give a value that differs after every change, by whichever thread or process.

        It costs a fraction of a read. What expires is no change.
        """
        state = getattr(self._look, "state", None)
        return self._read_state() if state is None else state

    @contextmanager
    def one_look(self) -> Iterator[State]:
        """Give `state`; for this thread it stays so within the block, in which nothing is written.

        So many cached values cost one look; none is older than the block.
        """
        before = getattr(self._look, "state", None)
        self._look.state = None
        try:
            self._look.state = self.state()
            yield self._look.state
        finally:
            self._look.state = before

    def _next_expiry(self) -> float:
        expiry = self.value(f"SELECT min(expires_at) FROM records WHERE expires_at > {NOW}")
        # None, or what a damaged file has in its place, which comes after all numbers.
        return float(expiry) if isinstance(expiry, int | float) else float("inf")

    def _tick(self) -> float:
        # As exact as a datetime, so that the times of records compare with themselves.
        return round(self.clock(), 6)
