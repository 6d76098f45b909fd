"""One SQLite connection that several threads may share."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from operator import methodcaller
from pathlib import Path

from memkit.errors import BusyError, DirectoryChangedError, DiskFullError, StorageError
from memkit.ledger.engine import file_handles as handles
from memkit.ledger.engine import full_text
from memkit.ledger.engine.database import SCRUB_PENDING, Database, Row, State
from memkit.ledger.engine.locks import LockName, held_file, lock_file
from memkit.ledger.engine.schema import vectors_sql
from memkit.ledger.engine.settings import write_setting
from memkit.ledger.engine.sqlite_errors import busy, mapped, read_only

# A damaged text is read as well as it can be: its checksum then says which record it is of, and
# the record can be forgotten.
_READ_TEXT = methodcaller("decode", "utf-8", "replace")
_SCRUB_WAIT = 2.0  # seconds to wait for readers in other processes to let go of the log


class SqliteDatabase(Database):
    """Runs statements one at a time and maps their errors.

    Every wait for locks, of threads and of processes, is bounded by ``wait``, in seconds. The
    connection, in autocommit mode, is the database's from here on.

    Attributes:
        path: The file.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path, *, wait: float, read_only: bool
    ) -> None:
        super().__init__(str(path.parent), path.parent, path.parent, wait=wait, read_only=read_only)
        self.path = path
        self.words = full_text.Fts5Words(self)
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
        """As for every `Database`."""
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
        """As for every `Database`; other threads wait for the end of it."""
        self.refuse_in_transaction("a snapshot")
        with self._usable() as connection, mapped(self.path, self.wait):
            connection.execute("BEGIN")
            self._began = self.clock()
            try:
                connection.execute("SELECT 1 FROM meta LIMIT 1")  # this is where it begins
                yield
            finally:
                self._began = None
                connection.execute("ROLLBACK")

    def lock(self, name: LockName, timeout: float, busy: BusyError) -> AbstractContextManager[None]:
        """As for every `Database`; it is a file, which the system unlocks when a process ends."""
        return held_file(self.directory / lock_file(name), timeout, busy)

    def check_locks(self) -> None:
        """Nothing: the lock of a file stays with the process."""

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

    def _read_state(self) -> State:
        with self._usable() as connection, mapped(self.path, self.wait):
            (others,) = connection.execute("PRAGMA data_version").fetchone()
            # A rollback takes back changes that were counted, and may have been read.
            return others, connection.total_changes + self._rollbacks

    def has_table(self, name: str) -> bool:
        """Whether there is a table."""
        return self.value("SELECT 1 FROM sqlite_master WHERE name = ?", name) is not None

    def create_vectors(self, table: str) -> None:
        """As for every `Database`."""
        self.execute(vectors_sql(table))

    def schema_has(self, text: str) -> bool:
        """Whether a text is part of the schema."""
        return self.value("SELECT 1 FROM sqlite_master WHERE instr(sql, ?)", text) is not None

    def take_numbers(self, table: str, count: int) -> int:  # noqa: ARG002 - SQLite sees them come
        """As for every `Database`."""
        return 1 + (self.value("SELECT seq FROM sqlite_sequence WHERE name = ?", table) or 0)

    def mark_for_scrub(self) -> None:
        """Note that deleted content may remain in the file until it is scrubbed."""
        self.cache.clear()
        # A new mark each time: a scrub takes away only the mark that it found.
        write_setting(self, SCRUB_PENDING, secrets.token_hex(8))

    @property
    def in_transaction(self) -> bool:
        """Whether this thread is inside a `transaction`."""
        with self._usable() as connection:
            return connection.in_transaction

    def destroy_deleted(self) -> bool:
        """As for every `Database`.

        The word index is merged, so that words of deleted texts leave it; the file is rewritten,
        because ``secure_delete`` does not reach the copies that SQLite leaves behind when it moves
        rows between pages; and the log is emptied.
        """
        full_text.optimize(self)
        self.rewrite()
        return self.empty_log(_SCRUB_WAIT)

    def settle(self) -> None:
        """Move the log into the file."""
        with suppress(DiskFullError):  # what is committed is as safe in the log
            self.empty_log(0.0)

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
