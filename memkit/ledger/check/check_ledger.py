"""Verifies the ledger: its file, its tables, and what is derived in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from memkit.errors import CorruptFileError, NotAMemoryError
from memkit.ledger.check import derived, tables
from memkit.ledger.engine import inspection
from memkit.ledger.engine.connect import FILE, connect, format_version, inspect
from memkit.ledger.engine.schema import current_version
from memkit.ledger.ledger import Ledger
from memkit.types import CheckReport

_RESTORE = "restore the directory from a backup, or import an export into a new one"


@contextmanager
def checked_ledger(report: CheckReport, busy_timeout: float) -> Iterator[Ledger | None]:
    """Check the ledger of a memory, and give it, for the checks of what is built on it.

    Yields:
        The ledger, as it is; None if it is too damaged, or too old, to look any further.

    Raises:
        NotAMemoryError: If there is none.
        FormatVersionError: If a newer memkit wrote it.
        StorageError: If it cannot be read at all, or not be written to when it is to be repaired.
    """
    file = report.path / FILE
    if not file.is_file():
        raise NotAMemoryError(f"there is no memory at {str(report.path)!r}", "Check the path.")
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
        ledger = Ledger(report.path, database)
        tables.check_settings(database, report)
        tables.check_contents(ledger, database, report)
        derived.check_derived(database, report)
        tables.check_rows(database, report)
        yield ledger
