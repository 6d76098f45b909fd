"""Erasures that are due, and files that nothing names."""

from __future__ import annotations

from contextlib import suppress

from filelock import FileLock, Timeout

from memkit.ledger import Ledger
from memkit.ledger.engine.connect import FILE as LEDGER
from memkit.ledger.engine.locks import EMBEDDING
from memkit.ledger.engine.locks import FILE as LOCK
from memkit.lora.store.adapter_files import FOLDER, locate
from memkit.memory.erasure import finish, remove, sweep_if_idle
from memkit.rag.vectors.index_files import FILE as INDEX
from memkit.rag.vectors.ivf_files import IvfFiles
from memkit.types import CheckReport

_OURS = {LEDGER, f"{LEDGER}-wal", f"{LEDGER}-shm", FOLDER, INDEX.parent.name, LOCK, EMBEDDING}


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
        done = "are destroyed" if report.repair else "wait for sweep() to destroy them"
        report.note(f"{len(expired)} records have expired and {done}")


def check_folders(ledger: Ledger, report: CheckReport) -> None:
    """Every file belongs to something."""
    strays = _stray_adapters(ledger)
    leftovers = _stray_indexes(ledger)
    with report.looking_at("every file belongs to something"):
        if strays and report.repair:
            sweep_if_idle(ledger)
        for path in strays:
            removed = not (ledger.directory / path).exists()
            report.problem(f"no module names {path}", repaired=removed)
        if leftovers:
            _remove_leftovers(ledger, leftovers, report)
    for entry in sorted(ledger.directory.iterdir()):
        if entry.name not in _OURS:
            report.note(f"{entry.name!r} is not the memory's, and is left alone")


def _remove_leftovers(ledger: Ledger, names: list[str], report: CheckReport) -> None:
    folder = ledger.directory / INDEX.parent
    lock = FileLock((ledger.directory / INDEX).with_suffix(".lock"))
    with IvfFiles(folder).building() as idle, suppress(Timeout):
        if not idle:
            return  # they belong to what is being built
        with lock.acquire(timeout=0):  # or to what is being written
            for name in set(names).intersection(_stray_indexes(ledger)):
                if report.repair:
                    (folder / name).unlink(missing_ok=True)
                report.problem(f"no index uses {INDEX.parent / name}", repaired=report.repair)


def _stray_adapters(ledger: Ledger) -> list[str]:
    folder = ledger.directory / FOLDER
    if not folder.is_dir():
        return []
    named = {locate(file.path)[0] for file in ledger.modules.files()}
    named |= {locate(path)[0] for path in ledger.erasures.pending()}
    present = sorted(f"{FOLDER}/{path.name}" for path in folder.iterdir())
    return [path for path in present if path not in named]


def _stray_indexes(ledger: Ledger) -> list[str]:
    folder = ledger.directory / INDEX.parent
    current = IvfFiles(folder).sound()
    used = current.head.file if current is not None else None
    names = sorted(path.name for path in folder.glob("*") if path.suffix in {".tmp", ".lists"})
    return [name for name in names if name != used]
