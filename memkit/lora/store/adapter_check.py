"""Adapter modules and their files, erasures that are due, and files that nothing names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress

from filelock import FileLock, Timeout

from memkit.errors import BusyError, CorruptFileError
from memkit.ledger import Ledger, ModuleFile
from memkit.ledger.engine.connect import FILE as LEDGER
from memkit.ledger.engine.locks import EMBEDDING, adapters_lock
from memkit.ledger.engine.locks import FILE as LOCK
from memkit.ledger.engine.sqlite import Database
from memkit.lora.store.adapter_files import FOLDER, faults, locate
from memkit.lora.store.row_file import RowFile
from memkit.memory.erasure import finish, remove, sweep_if_idle
from memkit.rag.vectors.ivf_files import IvfFiles
from memkit.rag.vectors.synced_index import FILE as INDEX
from memkit.types import CheckReport

_MADE_HOW = ("base_model", "fingerprint", "lora", "memkit")  # of every manifest
_OURS = {LEDGER, f"{LEDGER}-wal", f"{LEDGER}-shm", FOLDER, INDEX.parent.name, LOCK, EMBEDDING}


def check_modules(ledger: Ledger, database: Database, report: CheckReport) -> None:
    """Weights have their checksums, manifests say how they were made, members are there."""
    files = ledger.modules.files()
    with report.looking_at(f"the weights of {len(files)} module versions"):
        for path, fault in dict(_damage(ledger, files)).items():
            _lose(ledger, path, fault, report)
    with report.looking_at("nothing was trained on what is not there any more"):
        for path in database.column(
            "SELECT DISTINCT file FROM module_versions JOIN members USING (module, version) "
            "WHERE file IS NOT NULL AND record NOT IN (SELECT id FROM records)"
        ):
            _lose(ledger, path, "its weights were trained on a record that is gone", report)
    with report.looking_at("the manifests of modules"):
        active = ledger.modules.active()
        for module in active:
            lacking = [name for name in _MADE_HOW if not module.manifest.get(name)]
            if lacking:
                file = ledger.modules.file(module.name)
                _lose(ledger, file.path, f"its manifest lacks {lacking}", report)
        bases = {module.manifest.get("fingerprint") for module in active} - {None}
        if len(bases) > 1:
            report.problem(f"modules in service are for {len(bases)} different base models")
    for module in ledger.modules.lost():
        report.note(f"module {module.name} has no weights; consolidate() trains it anew")


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
            gone = not (ledger.directory / path).exists()
            report.problem(f"no module names {path}", repaired=gone)
        if leftovers:
            _remove_leftovers(ledger, leftovers, report)
    for entry in sorted(ledger.directory.iterdir()):
        if entry.name not in _OURS:
            report.note(f"{entry.name!r} is not the memory's, and is left alone")


def _damage(ledger: Ledger, files: list[ModuleFile]) -> Iterator[tuple[str, str]]:
    """What is wrong with weights, by path."""
    found = faults(ledger.directory, files)
    yield from found.items()
    for file in files:
        if file.path in found:
            continue
        name, row = locate(file.path)
        try:
            data = RowFile.open(ledger.directory / name).read(row or 0)
        except CorruptFileError as exc:
            yield file.path, exc.message
            continue
        digest = hashlib.sha256(data.data).hexdigest()
        if digest != file.digest:
            yield file.path, f"expected SHA-256 {file.digest[:12]}…, found {digest[:12]}…"


def _lose(ledger: Ledger, path: str, fault: str, report: CheckReport) -> None:
    """Say what is wrong with a version; if it is to be repaired, take it out of service."""
    module = ledger.modules.in_file(path)
    said = f"module {module.name} v{module.version}: {fault}"
    if not report.repair:
        report.problem(said)
        return
    try:
        with adapters_lock(ledger.directory, timeout=0):
            ledger.modules.lose(path)
    except BusyError:
        report.problem(f"{said}; another process is training, repair it later")
    else:
        report.problem(f"{said}; it is out of service", repaired=True)


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
    found = sorted(f"{FOLDER}/{path.name}" for path in folder.iterdir())
    return [path for path in found if path not in named]


def _stray_indexes(ledger: Ledger) -> list[str]:
    folder = ledger.directory / INDEX.parent
    current = IvfFiles(folder).sound()
    kept = current.head.file if current is not None else None
    found = sorted(path.name for path in folder.glob("*") if path.suffix in {".tmp", ".lists"})
    return [name for name in found if name != kept]
