"""Erasures that are due, and files that nothing names."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from filelock import Timeout

from memkit.files import file_lock
from memkit.ledger import Ledger
from memkit.ledger.engine.connect import FILE as LEDGER
from memkit.ledger.engine.locks import lock_file
from memkit.ledger.stored_paths import ADAPTERS, INDEX, StoredPath
from memkit.lora.store.adapter_files import banks
from memkit.memory.erasure import finish, remove, sweep_if_idle
from memkit.rag.vectors.index_files import FILE
from memkit.rag.vectors.ivf_files import IvfFiles
from memkit.types import CheckReport
from memkit.types.value import counted

_LOCKS = {lock_file("adapters"), lock_file("embedding")}
_OURS = {LEDGER, f"{LEDGER}-wal", f"{LEDGER}-shm", ADAPTERS, INDEX, *_LOCKS}
_SUFFIXES = {".bank", ".faiss", ".head", ".lists", ".lock", ".tmp"}  # of files in our folders


def check_erasures(ledger: Ledger, report: CheckReport) -> None:
    """What was to be destroyed is destroyed; what has expired will be."""
    with report.looking_at("nothing that was forgotten waits for its destruction"):
        if ledger.destruction_pending:
            if report.repair:
                finish(ledger, [])
            report.problem(
                "what was forgotten or dropped is not yet destroyed to the last byte",
                repaired=not ledger.destruction_pending,
            )
    expired = ledger.records.expired()
    if expired and report.repair:
        remove(ledger, expired, [])
    if expired:
        done = "gone for good now" if report.repair else "to be destroyed by sweep()"
        report.note(f"{counted(len(expired), 'expired record is', 'expired records are')} {done}")


def check_folders(ledger: Ledger, report: CheckReport) -> None:
    """Every file belongs to something."""
    with report.looking_at("every file belongs to something"):
        strays = _stray_adapters(ledger)
        leftovers = _stray_indexes(ledger)
        if strays and report.repair:
            sweep_if_idle(ledger)
        for path in strays:
            removed = not (ledger.directory / path).exists()
            report.problem(f"no module names {path}", repaired=removed)
        if leftovers:
            _remove_leftovers(ledger, leftovers, report)
    for name in _foreign(ledger):
        report.note(f"{name!r} is not the memory's, and is left alone")


def _remove_leftovers(ledger: Ledger, names: list[str], report: CheckReport) -> None:
    folder = ledger.directory / INDEX
    lock = file_lock((ledger.directory / FILE).with_suffix(".lock"))
    with IvfFiles(folder).building() as idle, suppress(Timeout):
        if not idle:
            return  # they belong to what is being built
        with lock.acquire(timeout=0):  # or to what is being written
            for name in set(names).intersection(_stray_indexes(ledger)):
                if report.repair:
                    (folder / name).unlink(missing_ok=True)
                report.problem(f"no index uses {INDEX}/{name}", repaired=report.repair)


def _stray_adapters(ledger: Ledger) -> list[str]:
    paths = [file.path for file in ledger.modules.files()] + ledger.erasures.pending()
    named = {StoredPath.parse(path).file for path in paths}
    return [path for path in banks(ledger.directory) if path not in named]


def _stray_indexes(ledger: Ledger) -> list[str]:
    folder = ledger.directory / INDEX
    current = IvfFiles(folder).sound()
    used = current.head.file if current is not None else None
    return [name for name in IvfFiles(folder).leftovers() if name != used]


def _foreign(ledger: Ledger) -> list[str]:
    """What lies in the memory's directory and its folders and was not made by memkit."""
    directory = ledger.directory
    names = [entry.name for entry in directory.iterdir() if entry.name not in _OURS]
    for folder in (ADAPTERS, INDEX):
        if (directory / folder).is_dir() and not (directory / folder).is_symlink():
            entries = [f"{folder}/{entry.name}" for entry in (directory / folder).iterdir()]
            names += [name for name in entries if Path(name).suffix not in _SUFFIXES]
    return sorted(names)
