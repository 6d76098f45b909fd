"""Whether adapter modules have the weights that the ledger says they have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from memkit.errors import BusyError, CorruptFileError
from memkit.ledger import Ledger, ModuleFile
from memkit.ledger.engine.locks import adapters_lock
from memkit.ledger.stored_paths import is_folder_name, is_safe
from memkit.lora.store.adapter_files import WRITING
from memkit.lora.store.adapter_store import digest, faults, may_be_left
from memkit.lora.store.server_rows import destroy_copy, is_damaged_copy
from memkit.types import CheckReport

_REQUIRED = ("base_model", "fingerprint", "lora", "memkit")  # of every manifest


def check_paths(ledger: Ledger, report: CheckReport) -> None:
    """What the ledger names as a file of the memory is one; anything else is left alone."""
    with report.looking_at("all paths in the ledger are of files of the memory"):
        for file in ledger.modules.files():
            if not is_safe(file.path):
                fault = f"{file.path!r}, where its weights should be, is no file of the memory"
                _take_out(ledger, file.path, fault, report)
        for path in ledger.erasures.pending():
            if not is_safe(path):
                if report.repair:
                    ledger.erasures.done(path)
                _foreign(path, "is to be destroyed", report)
        writing = ledger.get_meta(WRITING)
        if writing and not is_safe(writing):
            if report.repair:
                ledger.set_meta(WRITING, "")
            _foreign(writing, "is being written", report)
    with report.looking_at("the names of modules are those of folders"):
        for module in ledger.modules.active():
            if not is_folder_name(module.name):
                report.problem(f"{module.name!r:.100} cannot be the name of a module")


def _foreign(path: str, what: str, report: CheckReport) -> None:
    report.problem(
        f"{path!r} {what}, says the ledger, but it is no file of the memory; it was left alone",
        repaired=report.repair,
    )


def check_modules(ledger: Ledger, report: CheckReport) -> None:
    """Weights have their checksums, manifests say how they were made, members are there."""
    files = ledger.modules.files()
    with report.looking_at(f"the weights of {len(files)} module versions"):
        for path, fault in dict(_damage(ledger, files)).items():
            _take_out(ledger, path, fault, report)
    if ledger.shared:
        _check_copies(ledger, report)
    with report.looking_at("nothing was trained on what is not there any more"):
        for path in ledger.modules.files_of_deleted():
            _take_out(ledger, path, "its weights were trained on a record that is gone", report)
    with report.looking_at("the manifests of modules"):
        active = ledger.modules.active()
        for module in active:
            lacking = [name for name in _REQUIRED if not module.manifest.get(name)]
            if lacking:
                file = ledger.modules.file(module.name)
                _take_out(ledger, file.path, f"its manifest lacks {lacking}", report)
        bases = {module.manifest.get("fingerprint") for module in active} - {None}
        if len(bases) > 1:
            report.problem(f"modules in service are for {len(bases)} different base models")
    for module in ledger.modules.without_weights():
        report.note(f"module {module.name} has no weights; consolidate() trains it anew")


def _check_copies(ledger: Ledger, report: CheckReport) -> None:
    with report.looking_at("the copies of weights on this machine"):
        for file in ledger.modules.files():
            if is_damaged_copy(ledger, file):
                if report.repair:
                    destroy_copy(ledger, file)
                problem = f"the copy of {file.path} on this machine is not what the server has"
                report.problem(problem, repaired=report.repair)


def weights_left(ledger: Ledger, files: Iterable[ModuleFile]) -> list[str]:
    """Those of some weights, which were to be destroyed, that may still be there."""
    return [file.path for file in files if may_be_left(ledger, file)]


def _damage(ledger: Ledger, files: list[ModuleFile]) -> Iterator[tuple[str, str]]:
    """What is wrong with weights, by path."""
    unreadable = faults(ledger, files)
    yield from unreadable.items()
    for file in files:
        if file.path in unreadable:
            continue
        try:
            found = digest(ledger, file)
        except CorruptFileError as exc:
            yield file.path, exc.message
            continue
        if found != file.digest:
            yield file.path, f"expected SHA-256 {file.digest[:12]}…, found {found[:12]}…"


def _take_out(ledger: Ledger, path: str, fault: str, report: CheckReport) -> None:
    """Say what is wrong with a version; if it is to be repaired, take it out of service."""
    module = ledger.modules.in_file(path)
    problem = f"module {module.name} v{module.version}: {fault}"
    if not report.repair:
        report.problem(problem)
        return
    try:
        with adapters_lock(ledger, timeout=0):
            ledger.modules.discard_weights(path)
            if not is_safe(path):
                ledger.erasures.done(path)  # it is not ours to destroy
    except BusyError:
        report.problem(f"{problem}; another process is training, repair it later")
    else:
        report.problem(f"{problem}; it is out of service", repaired=True)
