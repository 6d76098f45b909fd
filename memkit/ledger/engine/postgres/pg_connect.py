"""Finds, makes and opens the schema that a memory has in a PostgreSQL database."""

from __future__ import annotations

import hashlib
import uuid
from math import ceil
from pathlib import Path
from typing import Any

import platformdirs
from psycopg import ProgrammingError, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool

from memkit.errors import (
    FormatVersionError,
    InvalidInputError,
    NotAMemoryError,
    UnsupportedOperationError,
)
from memkit.files import make_folder
from memkit.ledger.engine import schema
from memkit.ledger.engine.checksums import CHECKED, stamp
from memkit.ledger.engine.postgres.address import Address
from memkit.ledger.engine.postgres.pg_database import Connection, PostgresDatabase
from memkit.ledger.engine.postgres.pg_errors import mapped
from memkit.ledger.engine.postgres.pg_row_security import switch
from memkit.ledger.engine.postgres.pg_schema import statements
from memkit.ledger.engine.postgres.server_clock import NOW_THERE

CONNECTIONS = 8  # of one open memory at most
_TURN = 0x6D6B6974  # "mkit": who makes a memory in a database waits for others who do

# With the server's usual 4, it would read the whole table to find a few records by an index.
_SETTINGS = """
    SELECT set_config('search_path', %s, false), set_config('lock_timeout', %s, false),
        set_config(
            'random_page_cost',
            least(current_setting('random_page_cost')::float8, 1.1)::text,
            false
        )
"""
# `CREATE SCHEMA IF NOT EXISTS` wants the right to make one even where there is one.
_SCHEMA = "SELECT 1 FROM pg_namespace WHERE nspname = %s"
# A memory that was copied to another server goes its own way there, and needs files of its own.
_FACTS = f"""
    SELECT memory, format, {NOW_THERE},
        (SELECT system_identifier FROM pg_control_system()) || '/' || current_database(),
        pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean
        OR NOT has_table_privilege('records', 'INSERT')
    FROM memory_state
"""


def connect(address: Address, *, create: bool, wait: float) -> PostgresDatabase:
    """Open a memory, or make one.

    Raises:
        NotAMemoryError: If the schema has other tables, or is missing and ``create`` is False.
        FormatVersionError: If a newer memkit made it.
        ReadOnlyError: If it is to be made where nothing can be written.
        StorageError: If there is no such server or database.
        InvalidInputError: If PostgreSQL's library cannot read the URL.
        UnsupportedOperationError: If the role sees only a part of the rows.
    """
    _check_url(address)
    settings: dict[str, Any] = {
        "autocommit": True,
        "client_encoding": "utf8",
        "connect_timeout": ceil(wait) + 1,
    }

    def prepare(connection: Connection) -> None:
        connection.execute(_SETTINGS, (address.schema, f"{round(wait * 1000)}ms"))

    # Not of the pool, which would try again and again where there is no server.
    with (
        mapped(address.shown, wait),
        Connection.connect(address.url, **settings) as connection,
    ):
        prepare(connection)
        if not _is_there(connection, address):
            _make(connection, address, create=create)
        facts = connection.execute(_FACTS.encode()).fetchone() or ()
        memory, version, now, database_name, read_only = facts
        _check_sees_all(connection, address)
    _check_version(address, version)
    pool = ConnectionPool(
        address.url,
        connection_class=Connection,
        kwargs=settings,
        min_size=1,
        max_size=CONNECTIONS,
        timeout=wait,
        configure=prepare,
        open=True,
    )
    folder = _folder(f"{memory}/{database_name}/{address.schema}")
    database = PostgresDatabase(address, pool, folder, wait=wait, read_only=read_only, now=now)
    try:
        _bring_up_to_date(database, version)
        if address.row_security is not None:
            switch(database, address.schema, on=address.row_security)
    except BaseException:
        database.close()
        raise
    return database


def _check_url(address: Address) -> None:
    try:
        conninfo_to_dict(address.url)
    except ProgrammingError:  # what it says may quote the password
        raise InvalidInputError(
            f"expected the URL of a PostgreSQL database, with settings of libpq: {address.shown}",
            "In user, password and settings write %25 for %, %26 for & and %3D for =; the names "
            "of settings are those of libpq, such as sslmode.",
        ) from None


def _is_there(connection: Connection, address: Address) -> bool:
    """Whether the schema holds a memory.

    Raises:
        NotAMemoryError: If it holds something else.
    """
    tables = {
        name
        for (name,) in connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s", [address.schema]
        )
    }
    if "memory_state" in tables:
        return True
    if tables:
        raise NotAMemoryError(
            f"expected a memory or an empty schema at {address.shown}, it has the tables "
            f"{sorted(tables)[:3]} and none of memkit's",
            "Choose another schema; a memory needs one of its own.",
        )
    return False


def _make(connection: Connection, address: Address, *, create: bool) -> None:
    if not create:
        raise NotAMemoryError(
            f"there is no memory at {address.shown}",
            "Check the URL; Memory.open(create=True) makes a memory.",
        )
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_TURN])
        if _is_there(connection, address):
            return
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise NotAMemoryError(
                f"expected a database that is encoded in UTF8 at {address.shown}, got {encoding}",
                "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
            )
        if not connection.execute(_SCHEMA, [address.schema]).fetchone():
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(address.schema)))
        for statement in statements(0):
            connection.execute(statement.encode())
        connection.execute(
            "INSERT INTO memory_state (memory, format, version) VALUES (%s, %s, 0)",
            (str(uuid.uuid4()), schema.current_version()),
        )


def _check_sees_all(connection: Connection, address: Address) -> None:
    if connection.execute("SELECT row_security_active('records')").fetchone() == (True,):
        raise UnsupportedOperationError(
            f"this role sees only its scope of the memory at {address.shown}",
            "It can read the tables by SQL. Open the memory as the role that owns them, and give "
            "each verb a `scope`.",
        )


def _check_version(address: Address, version: int) -> None:
    if version > schema.current_version():
        raise FormatVersionError(
            f"the memory has format {version}, this memkit reads up to {schema.current_version()}: "
            f"{address.shown}",
            "Install a newer memkit.",
        )


def _bring_up_to_date(database: PostgresDatabase, version: int) -> None:
    if version == schema.current_version():
        return
    with database.transaction():
        version = database.value("SELECT format FROM memory_state")  # unless others have just done
        for statement in statements(version):
            database.execute(statement)
        for table in CHECKED:
            stamp(database, table, "checksum = ''")
        database.execute("UPDATE memory_state SET format = ?", schema.current_version())


def _folder(identity: str) -> Path:
    """Where this machine keeps what is derived from a memory: files that can be made again."""
    folder = Path(platformdirs.user_cache_dir("memkit")).absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    for name in ("", "postgresql", hashlib.sha256(identity.encode()).hexdigest()[:32]):
        folder = folder / name
        make_folder(folder)
    return folder.resolve()
