"""Verifies a memory, and makes derived state anew where it is damaged.

What users have written is never changed: what is repaired is what can be made again from it.
Neither a language model nor an embedder is loaded.
"""

from __future__ import annotations

from pathlib import Path

from memkit.ledger import Ledger
from memkit.ledger.check.check_ledger import checked_ledger
from memkit.lora.store.adapter_check import check_modules, check_paths
from memkit.memory.check_files import check_erasures, check_folders
from memkit.memory.erasure import finish
from memkit.memory.place import check_place, shown_place
from memkit.rag import index_check as index
from memkit.types import CheckReport, Finding
from memkit.types.calibration import CALIBRATION, Calibration
from memkit.types.validate import check_duration, check_flag

__all__ = ["CheckReport", "Finding", "check"]

_OF_FILES = {
    "the paths in the ledger": check_paths,
    "the erasures": check_erasures,
    "the modules": check_modules,
}


def check(path: str | Path, *, repair: bool = False, busy_timeout: float = 30.0) -> CheckReport:
    """Verify a memory; others may have it open.

    Args:
        path: Its directory, or the URL of a memory on a server.
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
    check_flag("repair", repair)
    check_duration("busy_timeout", busy_timeout)
    place = check_place(path)
    if isinstance(place, Path):
        place = place.resolve()
    report = CheckReport(shown_place(place), repair)
    with checked_ledger(place, report, busy_timeout) as ledger:
        if ledger is None:
            return report
        _check_calibration(ledger, report)
        comparable = False
        with report.surviving("the vectors"):
            comparable = index.check_vectors(ledger, report)
        for what, look in _OF_FILES.items():
            with report.surviving(what):
                look(ledger, report)
        if repair and ledger.destruction_pending:  # of what was repaired just now
            with report.looking_at("what was damaged is destroyed"):
                finish(ledger, [])
        if comparable:
            index.check_files(ledger, report)
        with report.surviving("the folders"):
            check_folders(ledger, report)
    return report


def _check_calibration(ledger: Ledger, report: CheckReport) -> None:
    with report.looking_at("the router's calibration can be read"):
        stored = ledger.get_meta(CALIBRATION)
        try:
            if stored is not None:
                Calibration.from_json(stored)
        except (ValueError, KeyError, TypeError):
            if report.repair:
                # Of no passages, so that it is measured anew when it is needed; until then no
                # question is routed.
                unmeasured = Calibration(0.0, 0.0, threshold=2.0, slope=1.0)
                ledger.set_meta(CALIBRATION, unmeasured.to_json())
            report.problem(
                f"the setting {CALIBRATION!r} cannot be {stored!r:.40}", repaired=report.repair
            )
