"""Locks that machines share: advisory locks of PostgreSQL, each on a connection of its own.

They last as long as the connection does, whatever transactions there are meanwhile. If it is
lost, so is the lock: who is killed blocks nobody, and who goes on has to ask whether the lock is
still there (`HeldLocks.check`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg
from psycopg import errors

from memkit.errors import BusyError, ConnectionLostError
from memkit.ledger.engine.database import Row
from memkit.ledger.engine.locks import LockName

Connection = psycopg.Connection[Row]

# Locks are numbers of the whole database: one for the purpose, and one for the memory.
_PURPOSES: dict[LockName, int] = {"adapters": 0x6D6B6C6F, "embedding": 0x6D6B656D}
_KEY = "%s, 'memory_state'::regclass::oid::integer"
_TRY = f"SELECT pg_try_advisory_lock({_KEY})"
_WAIT = f"SELECT pg_advisory_lock({_KEY})"
_RELEASE = f"SELECT pg_advisory_unlock({_KEY})"
_IS_HELD = """
    SELECT count(*) FROM pg_locks
    WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND classid = %s AND granted
"""

logger = logging.getLogger(__name__)


class HeldLocks:
    """The locks that this process holds on a memory.

    Args:
        shown: The memory's address, for messages.
        borrow: Gives a connection for a while.
        mapped: Maps errors of the connection.
    """

    def __init__(
        self,
        shown: str,
        borrow: Callable[[], AbstractContextManager[Connection]],
        mapped: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._shown = shown
        self._borrow = borrow
        self._mapped = mapped
        self._held: dict[LockName, Connection] = {}

    @contextmanager
    def hold(self, name: LockName, timeout: float, busy: BusyError) -> Iterator[None]:
        """Hold a lock; ``busy`` is raised if others do for longer than ``timeout`` seconds."""
        purpose = _PURPOSES[name]
        with self._borrow() as connection:
            with self._mapped():
                if not _take(connection, purpose, timeout):
                    raise busy
            self._held[name] = connection
            try:
                yield
            finally:
                del self._held[name]
                self._release(connection, purpose)

    def check(self) -> None:
        """Check that the locks that are held still are.

        Raises:
            ConnectionLostError: If the connection of one was lost.
        """
        for name, connection in list(self._held.items()):
            try:
                found = connection.execute(_IS_HELD, [_PURPOSES[name]]).fetchone()
            except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
                raise self._lost(name) from exc
            if found is None or not found[0]:
                raise self._lost(name)

    def _release(self, connection: Connection, purpose: int) -> None:
        try:
            connection.execute(_RELEASE, [purpose])
        except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
            # The server has released it; what was done without it was checked when it was stored.
            logger.warning("a lock on %s had been lost: %s", self._shown, type(exc).__name__)

    def _lost(self, name: LockName) -> ConnectionLostError:
        return ConnectionLostError(
            f"the connection that held the lock {name!r} of {self._shown} was lost; nothing was "
            "stored since",
            "Try again: what was stored before is kept.",
        )


def _take(connection: Connection, purpose: int, timeout: float) -> bool:
    """Whether a lock could be had in time."""
    if timeout <= 0:
        row = connection.execute(_TRY, [purpose]).fetchone()
        return row is not None and bool(row[0])
    try:
        with connection.transaction():  # the setting ends with it, the lock does not
            limit = f"{max(1, round(timeout * 1000))}ms"
            connection.execute("SELECT set_config('lock_timeout', %s, true)", [limit])
            connection.execute(_WAIT, [purpose])
    except errors.LockNotAvailable:
        return False
    return True
