"""Verifies a memory, and makes derived state anew where it is damaged.

What users have written is never changed: what is repaired is what can be made again from it.
Neither a language model nor an embedder is loaded.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from memkit.errors import CorruptFileError, NotAMemoryError
from memkit.ledger import Ledger
from memkit.ledger.check import derived, tables
from memkit.ledger.engine.connect import FILE, connect, format_version, inspect
from memkit.ledger.engine.schema import current_version
from memkit.lora.store import adapter_check as adapters
from memkit.memory.erasure import finish
from memkit.rag import index_check as index
from memkit.types import CheckReport, Finding

__all__ = ["CheckReport", "Finding", "check"]


def check(path: str | Path, *, repair: bool = False, busy_timeout: float = 30.0) -> CheckReport:
    """Verify a memory; others may have it open.

    Args:
        path: Its directory.
        repair: Make anew what is derived and damaged: word index, index of metadata, passages,
            counters, settings, index files, triggers; take adapters out of service whose weights
            are damaged, for `consolidate` to train; finish erasures; destroy what has expired.
        busy_timeout: Bound on waiting for other processes, in seconds.

    Returns:
        What was looked at, found and repaired. `CheckReport.sound` if nothing was wrong.

    Raises:
        NotAMemoryError: If there is no memory.
        FormatVersionError: If a newer memkit wrote it.
        StorageError: If it cannot be read at all, or not be written to when it is to be repaired.
    """
    directory = Path(path)
    file = directory / FILE
    if not file.is_file():
        raise NotAMemoryError(f"there is no memory at {str(directory)!r}", "Check the path.")
    report = CheckReport(directory, repair)
    if repair:
        _bring_up_to_date(file, report, busy_timeout)
    if report.left:
        return report
    with closing(inspect(file, busy_timeout)) as database:
        if not tables.check_file(database, report):
            return report  # what is built on it would only say the same again
        if (version := format_version(database)) < current_version():
            report.note(f"the ledger has format {version}; the next opening brings it up to date")
            return report
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("PRAGMA secure_delete = ON")
        ledger = Ledger(directory, database)
        tables.check_contents(ledger, database, report)
        derived.check_derived(database, report)
        comparable = index.check_vectors(ledger, database, report)
        adapters.check_erasures(ledger, report)
        adapters.check_modules(ledger, database, report)
        if repair and ledger.destruction_pending:  # of what was repaired just now
            finish(ledger, [])
        if comparable:
            index.check_files(ledger, database, report)
        adapters.check_folders(ledger, report)
    return report


def _bring_up_to_date(file: Path, report: CheckReport, busy_timeout: float) -> None:
    try:
        connect(file, busy_timeout).close()
    except CorruptFileError as exc:
        report.problem(exc.message)
        report.note("restore the directory from a backup, or import an export into a new one")
