"""Verifies the ledger: its file, its tables, and what is derived in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from memkit.errors import CorruptFileError, NotAMemoryError
from memkit.ledger.check import derived, tables
from memkit.ledger.engine import inspection
from memkit.ledger.engine.connect import FILE, connect, format_version, inspect
from memkit.ledger.engine.database import Database
from memkit.ledger.engine.inspector import Inspector
from memkit.ledger.engine.open_database import open_on_server
from memkit.ledger.engine.schema import current_version
from memkit.ledger.ledger import Ledger
from memkit.types import CheckReport

_RESTORE = "restore the directory from a backup, or import an export into a new one"


@contextmanager
def checked_ledger(
    place: Path | str, report: CheckReport, busy_timeout: float
) -> Iterator[Ledger | None]:
    """Check the ledger of a memory, and give it, for the checks of what is built on it.

    Args:
        place: A directory, or the URL of a memory on a server; opening that brings it up to date.
        report: What is found, and whether it is to be repaired.
        busy_timeout: Bound on waiting for others, in seconds.

    Yields:
        The ledger, as it is; None if it is too damaged, or too old, to look any further.

    Raises:
        NotAMemoryError: If there is none.
        FormatVersionError: If a newer memkit wrote it.
        StorageError: If it cannot be read at all, or not be written to when it is to be repaired.
    """
    if isinstance(place, str):
        with _on_server(place, report, busy_timeout) as ledger:
            yield ledger
        return
    file = place / FILE
    if not file.is_file():
        raise NotAMemoryError(f"there is no memory at {str(place)!r}", "Check the path.")
    if report.repair:
        try:
            connect(file, busy_timeout).close()  # brings it up to date
        except CorruptFileError as exc:
            report.problem(exc.message)
            report.note(_RESTORE)
    if report.left:
        yield None
        return
    with closing(inspect(file, busy_timeout)) as database:
        if not tables.check_file(database, report):
            yield None  # what is built on it would only say the same again
            return
        try:
            version = format_version(database)
        except CorruptFileError as exc:
            report.problem(exc.message)
            report.note(_RESTORE)
            yield None
            return
        if version < current_version():
            report.note(f"the ledger has format {version}; the next opening brings it up to date")
            yield None
            return
        inspection.enforce(database)
        ledger = Ledger(place, database)
        _check(ledger, database, inspection.SqliteInspector(database), report)
        yield ledger


@contextmanager
def _on_server(url: str, report: CheckReport, busy_timeout: float) -> Iterator[Ledger]:
    with closing(open_on_server(url, create=False, wait=busy_timeout)) as database:
        from memkit.ledger.engine.postgres.pg_inspection import PostgresInspector

        ledger = Ledger(database.directory, database)
        _check(ledger, database, PostgresInspector(database), report)
        yield ledger


def _check(ledger: Ledger, database: Database, inspector: Inspector, report: CheckReport) -> None:
    tables.check_settings(database, report)
    tables.check_contents(ledger, database, inspector, report)
    derived.check_derived(database, inspector, report)
    tables.check_rows(database, report)
