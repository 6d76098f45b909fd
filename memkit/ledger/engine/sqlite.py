"""One SQLite connection that several threads may share."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import methodcaller
from pathlib import Path
from typing import Any, cast

from memkit.errors import BusyError, DirectoryChangedError, StorageError
from memkit.ledger.engine import file_handles as handles
from memkit.ledger.engine.cached import Cache
from memkit.ledger.engine.sqlite_errors import busy, mapped, read_only

Row = tuple[Any, ...]
State = tuple[int, int]  # compared with others, no more

# A damaged text is read as well as it can be: its checksum then says which record it is of, and
# the record can be forgotten.
_READ_TEXT = methodcaller("decode", "utf-8", "replace")
_PAGE = 256  # rows of `Database.pages` that are in memory at once
SCRUB_PENDING = "scrub_pending"  # set in `meta` from a delete until `Ledger.scrub` succeeds


class Database:
    """Runs statements one at a time and maps their errors.

    Results are always fetched whole, so that no statement stays open between calls. Every wait
    for locks, of threads and of processes, is bounded by ``wait``, in seconds. The connection, in
    autocommit mode, is the database's from here on.

    Attributes:
        clock: Tells the time, in seconds since 1970; what it says decides what has expired.
        cache: What is read once per change.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path, *, wait: float, read_only: bool
    ) -> None:
        self.path = path
        self.wait = wait
        self.read_only = read_only
        self.clock: Callable[[], float] = time.time
        self.cache = Cache(self.state, self.now, self._next_expiry)
        self._look = threading.local()  # has the `state` of a thread that is in `one_look`
        self._rollbacks = 0
        self._began: float | None = None  # when the transaction that is open began
        self._connection: sqlite3.Connection | None = connection
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._file = _identity(path)  # None in memory
        handles.enter(path)
        connection.create_function("now", 0, self.now)
        connection.text_factory = _READ_TEXT

    def rows(self, sql: str, *parameters: object) -> list[Row]:
        """Run one statement and fetch what it gives."""
        with self._usable() as connection, mapped(self.path, self.wait):
            return connection.execute(sql, parameters).fetchall()

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

    def execute(self, sql: str, *parameters: object) -> int:
        """Run one statement; returns how many rows it changed by itself."""
        with self._usable() as connection, mapped(self.path, self.wait):
            return connection.execute(sql, parameters).rowcount

    def execute_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each row of parameters."""
        with self._usable() as connection, mapped(self.path, self.wait):
            connection.executemany(sql, rows)

    def now(self) -> float:
        """Tell the time; within a transaction it stands still, so that nothing expires there."""
        with self._held():
            return self._tick() if self._began is None else self._began

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the block atomic: committed as a whole, or rolled back if it raises.

        A transaction inside another one joins it. An error that leaves the inner block must
        leave the outer one too; otherwise what the inner one did so far is committed.

        Raises:
            BusyError: If another process or thread writes for longer than the bounded wait.
            ReadOnlyError: If the ledger was opened for reading.
        """
        with self._usable() as connection:
            if self.read_only:
                raise read_only(self.path, "it was opened for reading")
            if connection.in_transaction:
                yield
                return
            self.check_place()
            with mapped(self.path, self.wait):
                connection.execute("BEGIN IMMEDIATE")
            self._began = self._tick()
            try:
                yield
                with mapped(self.path, self.wait):
                    connection.execute("COMMIT")
            except BaseException:
                self._rollbacks += 1
                if connection.in_transaction:  # SQLite itself rolls back on a full disk
                    connection.execute("ROLLBACK")
                raise
            finally:
                self._began = None

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read within the block what is there when it begins, whatever others write meanwhile.

        Other threads wait for the end of it: take a connection of its own.
        """
        with self._usable() as connection, mapped(self.path, self.wait):
            connection.execute("BEGIN")
            self._began = self.clock()
            try:
                connection.execute("SELECT 1 FROM meta LIMIT 1")  # this is where it begins
                yield
            finally:
                self._began = None
                connection.execute("ROLLBACK")

    def check_place(self) -> None:
        """Check that the file that is open is the one at its path.

        Without that, what is written would go to a file that nobody can open any more.

        Raises:
            DirectoryChangedError: If it was removed, moved or replaced.
        """
        if (found := _identity(self.path)) != self._file:
            what = "there is none any more" if found is None else "there is another one"
            raise DirectoryChangedError(
                f"expected the ledger that was opened at {str(self.path)!r}, {what}: it was "
                "removed, moved or replaced while it was open",
                "Close the memory before its directory is moved or restored, and open it again.",
            )

    def state(self) -> State:
        """Give a value that differs after every change, by whichever thread or process.

        It costs a fraction of a read. What expires is no change.
        """
        if (state := getattr(self._look, "state", None)) is not None:
            return cast("State", state)
        with self._usable() as connection, mapped(self.path, self.wait):
            (others,) = connection.execute("PRAGMA data_version").fetchone()
            # A rollback takes back changes that were counted, and may have been read.
            return others, connection.total_changes + self._rollbacks

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

    def has_table(self, name: str) -> bool:
        """Whether there is a table."""
        return self.value("SELECT 1 FROM sqlite_master WHERE name = ?", name) is not None

    def schema_has(self, text: str) -> bool:
        """Whether a text is part of the schema."""
        return self.value("SELECT 1 FROM sqlite_master WHERE instr(sql, ?)", text) is not None

    def next_number(self, table: str) -> int:
        """Give the key that the next row of a table gets; within a transaction."""
        return 1 + (self.value("SELECT seq FROM sqlite_sequence WHERE name = ?", table) or 0)

    def mark_for_scrub(self) -> None:
        """Note that deleted content may remain in the file until it is scrubbed."""
        self.cache.clear()
        # A new mark each time: a scrub takes away only the mark that it found.
        self.execute(
            "INSERT INTO meta VALUES (?, hex(randomblob(8))) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            SCRUB_PENDING,
        )

    @property
    def in_transaction(self) -> bool:
        """Whether this thread is inside a `transaction`."""
        with self._usable() as connection:
            return connection.in_transaction

    def rewrite(self) -> None:
        """Write the whole file anew from what is live."""
        with self._usable() as connection, mapped(self.path, self.wait):
            # The copy may be as large as the file: not in memory. It holds live rows only.
            connection.execute("PRAGMA temp_store = FILE")
            try:
                connection.execute("VACUUM")
            finally:
                connection.execute("PRAGMA temp_store = MEMORY")

    def empty_log(self, wait: float) -> bool:
        """Move the log into the file and empty it; False if others keep it from that so long."""
        with self._usable() as connection, mapped(self.path, wait):
            connection.execute(f"PRAGMA busy_timeout = {round(wait * 1000)}")
            try:
                return not self.value("PRAGMA wal_checkpoint(TRUNCATE)")
            except BusyError:
                return False
            finally:
                connection.execute(f"PRAGMA busy_timeout = {round(self.wait * 1000)}")

    def _next_expiry(self) -> float:
        expiry = self.value("SELECT min(expires_at) FROM records WHERE expires_at > (SELECT now())")
        # None, or what a damaged file has in its place, which comes after all numbers.
        return float(expiry) if isinstance(expiry, int | float) else float("inf")

    def _tick(self) -> float:
        # As exact as a datetime, so that the times of records compare with themselves.
        return round(self.clock(), 6)

    def close(self) -> None:
        """Close the connection. Repeating it changes nothing, nor does it in a forked process."""
        if self.closed:
            return
        with self._held():
            if self._connection is not None:
                self._connection.close()
                self._connection = None
                handles.leave(self.path)

    @property
    def closed(self) -> bool:
        """Whether `close` was called, or the connection belongs to another process."""
        return self._connection is None or self._process != os.getpid()

    @contextmanager
    def _held(self) -> Iterator[None]:
        if self._process != os.getpid():  # SQLite's locks are not inherited
            raise StorageError(
                f"expected the process that opened {str(self.path)!r}, got one that was forked "
                "from it",
                "Open the memory in each process, after the fork.",
            )
        if not self._lock.acquire(timeout=self.wait):
            raise busy(self.path, self.wait)
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def _usable(self) -> Iterator[sqlite3.Connection]:
        with self._held():
            if self._connection is None:
                raise StorageError(
                    f"the memory is closed: {str(self.path)!r}",
                    "Open it again, or use it inside its `with` block.",
                )
            yield self._connection


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from all others while it exists; None if it does not."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino
