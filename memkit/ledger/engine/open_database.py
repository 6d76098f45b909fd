"""Opens the database that a ledger is in: a file in a directory, or a schema of a server."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from memkit.errors import MissingDependencyError
from memkit.ledger.engine.connect import connect, locate
from memkit.ledger.engine.database import Database
from memkit.ledger.engine.inspection import check_schema
from memkit.ledger.engine.postgres.address import Address, is_address
from memkit.ledger.engine.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from memkit.ledger.engine.postgres.pg_database import PostgresDatabase


def open_database(place: str | Path, *, create: bool, wait: float) -> Database:
    """Open a memory's database by its directory or its URL; see `Ledger.open` for errors."""
    if isinstance(place, str) and is_address(place):
        return open_on_server(place, create=create, wait=wait)
    directory = Path(place).resolve()  # wherever the process or a link turns to
    return _in_directory(directory, create=create, wait=wait)


def open_again(database: Database) -> Database:
    """Open the same database once more, for somebody whom nobody waits for."""
    database.check_place()
    other = open_database(database.place, create=False, wait=database.wait)
    try:
        database.check_place()  # both have the same file, unless it changes later: it stays so then
    except BaseException:
        other.close()
        raise
    other.clock = database.clock
    return other


def _in_directory(directory: Path, *, create: bool, wait: float) -> SqliteDatabase:
    database = connect(locate(directory, create=create), wait)
    try:
        check_schema(database)
    except BaseException:
        database.close()
        raise
    return database


def open_on_server(url: str, *, create: bool, wait: float) -> PostgresDatabase:
    """Open a memory's database by its URL; see `Ledger.open` for errors."""
    address = Address.parse(url)
    missing = [name for name in ("psycopg", "psycopg_pool") if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"a memory in PostgreSQL needs {' and '.join(missing)}, which is not installed",
            "pip install 'memkit-sdk[postgres]'",
        )
    from memkit.ledger.engine.postgres.pg_connect import connect as connect_to_server

    return connect_to_server(address, create=create, wait=wait)
