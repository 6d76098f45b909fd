"""A schema of a PostgreSQL database, over a pool of connections that threads share."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from memkit.errors import BusyError, StorageError
from memkit.ledger.engine.database import SCRUB_PENDING, Database, Row, State
from memkit.ledger.engine.locks import LockName
from memkit.ledger.engine.postgres.address import Address
from memkit.ledger.engine.postgres.pg_errors import mapped, read_only
from memkit.ledger.engine.postgres.pg_locks import HeldLocks
from memkit.ledger.engine.postgres.pg_schema import vectors_sql
from memkit.ledger.engine.postgres.pg_words import CountedWords
from memkit.ledger.engine.postgres.portable import portable
from memkit.ledger.engine.postgres.server_clock import NOW_THERE, ServerClock
from memkit.ledger.engine.settings import write_setting

Connection = psycopg.Connection[Row]
Pool = ConnectionPool[Connection]

# Who writes waits here for the others: changes get their numbers in the order in which they are
# committed, so that indexes outside of the database can follow them.
_VERSION = f"SELECT version, {NOW_THERE} FROM memory_state"
_BEGIN = (
    "BEGIN ISOLATION LEVEL READ COMMITTED; LOCK TABLE memory_state IN EXCLUSIVE MODE; " + _VERSION
)
_COMMIT = "COMMIT"
_COMMIT_CHANGES = "UPDATE memory_state SET version = version + 1; COMMIT"
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; " + _VERSION
_READS = ("SELECT", "WITH")
_LOOK = 5  # seconds to find out whether the server is there
_OWNED = (
    "SELECT bool_and(pg_has_role(tableowner, 'USAGE')) FROM pg_tables "
    "WHERE schemaname = current_schema()"
)
_TABLES = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = current_schema()"
# Parameters: how many twice, and the table.
_NUMBERS = """
    SELECT setval(numbers, nextval(numbers) + ? - 1) - ? + 1 FROM (
        SELECT pg_get_serial_sequence(attrelid::regclass::text, attname)::regclass AS numbers
        FROM pg_attribute WHERE attrelid = ?::text::regclass AND attidentity <> ''
    ) AS sequence
"""


class _Here(threading.local):
    """What a thread is in the middle of."""

    connection: Connection | None = None  # of the transaction or snapshot that is open
    began = 0.0  # when that was, in seconds since 1970
    version = 0  # of the memory, then; it stays so, as nobody else writes
    changes = 0  # differs after every statement that has written; 0 if none has


class PostgresDatabase(Database):
    """Runs statements in the schema of one memory.

    Each thread has a connection of its own while it is in a transaction, and any of the pool's
    for a statement otherwise. One transaction writes at a time, whichever client it is of; readers
    wait for nobody.
    """

    shared = True
    beyond_reach = (
        "the server's tables, until vacuumed pages are overwritten",
        "the server's write-ahead log, until it is recycled",
        "replicas and backups, as long as those are kept",
        "index and adapter files of other machines, until they open or close it",
    )

    def __init__(
        self,
        address: Address,
        pool: Pool,
        directory: Path,
        *,
        wait: float,
        read_only: bool,
        now: float,
    ) -> None:
        super().__init__(address.shown, address.source, directory, wait=wait, read_only=read_only)
        self.clock = self._server_clock = ServerClock(now)
        self.words = CountedWords(self)
        self._pool = pool
        self._here = _Here()
        self._locks = HeldLocks(self.name, self._spare_connection, self._mapped)
        self._counter = count(1)
        self._rollbacks = 0
        self._process = os.getpid()

    def rows(self, sql: str, *parameters: object) -> list[Row]:
        """As for every `Database`."""
        if not sql.lstrip().startswith(_READS):
            with self._writing() as connection:
                return self._run(connection, sql, parameters).fetchall()
        if self._here.connection is not None:
            return self._run(self._here.connection, sql, parameters).fetchall()
        return self._read(sql, parameters)

    def execute(self, sql: str, *parameters: object) -> int:
        """As for every `Database`."""
        with self._writing() as connection:
            return self._run(connection, sql, parameters).rowcount

    def execute_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """As for every `Database`."""
        statement = portable(sql)
        with self._writing() as connection, self._mapped():
            values = [statement.values(row, self._here.began) for row in rows]
            if len(values) == 1:  # for which `executemany` would wait twice
                connection.execute(statement.sql, values[0])
            else:
                connection.cursor().executemany(statement.sql, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """As for every `Database`."""
        if self.read_only:
            raise read_only(self.name)
        if self._here.connection is not None:
            yield
            return
        with self._within(_BEGIN) as connection:
            try:
                yield
                with self._mapped(committing=True):
                    ending = _COMMIT_CHANGES if self._here.changes else _COMMIT
                    connection.execute(ending, prepare=False)
            except BaseException:
                self._rollbacks += 1
                raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """As for every `Database`."""
        self.refuse_in_transaction("a snapshot")
        with self._within(_SNAPSHOT):
            yield

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """The connection of the transaction that is open, or of one for this statement."""
        with self.transaction(), self._connection() as connection:
            self._here.changes = next(self._counter)
            yield connection

    @contextmanager
    def _within(self, begin: str) -> Iterator[Connection]:
        """Begin something, and roll back what the block has left open."""
        here = self._here
        with self._begun(begin) as connection:
            here.connection, here.began, here.changes = connection, self._tick(), 0
            try:
                yield connection
            finally:
                here.connection = None
                if not connection.closed and connection.info.transaction_status:  # it is not idle
                    with self._mapped():
                        connection.execute("ROLLBACK")

    @contextmanager
    def _begun(self, begin: str) -> Iterator[Connection]:
        """A connection on which something has begun; nothing is lost yet if the first one was."""
        with self._connection() as connection:
            try:
                self._begin(connection, begin)
            except StorageError:
                if not connection.closed:
                    raise
            else:
                yield connection
                return
        self._renew()
        with self._connection() as connection:
            self._begin(connection, begin)
            yield connection

    def _begin(self, connection: Connection, begin: str) -> None:
        with self._mapped():
            cursor = connection.execute(begin, prepare=False)
            while cursor.nextset():
                pass
            self._here.version = self._looked(cursor.fetchall())

    @property
    def in_transaction(self) -> bool:
        """As for every `Database`."""
        return self._here.connection is not None

    def lock(self, name: LockName, timeout: float, busy: BusyError) -> AbstractContextManager[None]:
        """As for every `Database`; it takes one of the pool's connections."""
        if self.read_only:
            raise read_only(self.name)
        return self._locks.hold(name, timeout, busy)

    def check_locks(self) -> None:
        """As for every `Database`."""
        self._locks.check()

    def now(self) -> float:
        """As for every `Database`."""
        return self._tick() if self._here.connection is None else self._here.began

    def check_place(self) -> None:
        """Nothing: a statement says so if its tables are gone."""

    def _read_state(self) -> State:
        here = self._here
        if here.connection is None:
            return self._looked(self._read(_VERSION, ())), -self._rollbacks
        return here.version, here.changes

    def _looked(self, rows: Sequence[Row]) -> int:
        """Take what `_VERSION` has given: the memory's version, and the time by the way."""
        [(version, now)] = rows
        self._server_clock.told(now)
        return int(version)

    def has_table(self, name: str) -> bool:
        """As for every `Database`."""
        return self.value("SELECT to_regclass(?)", name) is not None

    def create_vectors(self, table: str) -> None:
        """As for every `Database`."""
        self.execute(vectors_sql(table))

    def schema_has(self, text: str) -> bool:  # noqa: ARG002 - files of the server are its own
        """Never: the schema is in no file of the memory."""
        return False

    def take_numbers(self, table: str, count: int) -> int:
        """As for every `Database`; a transaction that is rolled back leaves a gap."""
        return int(self.value(_NUMBERS, count, count, table)) if count else 0

    def mark_for_scrub(self) -> None:
        """As for every `Database`."""
        self.cache.clear()
        # A new mark each time: a scrub takes away only the mark that it found.
        write_setting(self, SCRUB_PENDING, secrets.token_hex(8))

    def destroy_deleted(self) -> bool:
        """Let the server take deleted rows out of its tables and indexes.

        What its write-ahead log, replicas and backups hold is out of reach. A role that does not
        own the tables cannot vacuum them: then it stays pending until the owner opens the memory.
        """
        tables = ", ".join(self.column(_TABLES))
        if not self.value(_OWNED):
            return False
        with self._connection() as connection, self._mapped():
            connection.execute(f"VACUUM (INDEX_CLEANUP ON) {tables}".encode())
        return True

    def settle(self) -> None:
        """Nothing is left to do."""

    def close(self) -> None:
        """As for every `Database`."""
        if not self.closed:
            self._pool.close()

    @property
    def closed(self) -> bool:
        """As for every `Database`."""
        return self._pool.closed or self._process != os.getpid()

    def _read(self, sql: str, parameters: Sequence[object]) -> list[Row]:
        """Read outside of a transaction; once more if the connection turns out to be lost."""
        with self._connection() as connection:
            try:
                return self._run(connection, sql, parameters).fetchall()
            except StorageError:
                if not connection.closed:
                    raise
        self._renew()
        with self._connection() as connection:
            return self._run(connection, sql, parameters).fetchall()

    def _renew(self) -> None:
        """Replace the connections that a restart of the server, or the network, has cut."""
        with self._mapped():
            self._pool.check()

    def _run(
        self, connection: Connection, sql: str, parameters: Sequence[object]
    ) -> psycopg.Cursor[Row]:
        statement = portable(sql)
        now = self.now() if statement.asks_time else 0.0
        with self._mapped():
            return connection.execute(statement.sql, statement.values(parameters, now))

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """The connection of the transaction that is open, or any."""
        if self._process != os.getpid():  # connections are not inherited
            raise StorageError(
                f"expected the process that opened {self.name}, got one that was forked from it",
                "Open the memory in each process, after the fork.",
            )
        if self._here.connection is not None:
            yield self._here.connection
            return
        with self._spare_connection() as connection:
            yield connection

    @contextmanager
    def _spare_connection(self) -> Iterator[Connection]:
        """A connection of the pool, which nobody else has."""
        if self._pool.closed:
            raise StorageError(
                f"the memory is closed: {self.name}",
                "Open it again, or use it inside its `with` block.",
            )
        with self._mapped():
            connection = self._from_pool()
        try:
            yield connection
        finally:
            self._pool.putconn(connection)

    def _from_pool(self) -> Connection:
        try:
            return self._pool.getconn(timeout=self.wait)
        except PoolTimeout:
            # If the server is gone, that is why nobody gets one: another error comes from here.
            psycopg.connect(str(self._pool.conninfo), connect_timeout=_LOOK).close()
            raise

    def _mapped(self, *, committing: bool = False) -> AbstractContextManager[None]:
        return mapped(self.name, self.wait, committing=committing)
