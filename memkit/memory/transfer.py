"""Export to a file, import from one, and the change to another embedder."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, get_args

from tqdm import tqdm

from memkit.errors import CorruptFileError, InvalidInputError, StorageError, storage_errors
from memkit.files import make_folder, plain_file
from memkit.ledger.stored_paths import folder_of, is_folder_name
from memkit.ledger.transfer.export import Entry
from memkit.ledger.transfer.import_ import Importer, OnConflict
from memkit.ledger.transfer.import_checks import check_entry
from memkit.lora.store.adapter_files import destroy_folder
from memkit.memory.archive import Archive, write_archive
from memkit.memory.engine import Engine
from memkit.memory.erasure import finish, remove
from memkit.memory.options import ImportOptions, refuse_unknown
from memkit.memory.telemetry import traced
from memkit.protocols import Embedder
from memkit.types import Module, ModuleReport, Scope, TransferReport
from memkit.types.validate import (
    MAX_ID_CHARACTERS,
    check_flag,
    check_path,
    check_scope,
    check_text,
    shown,
)
from memkit.version import __version__

_MODULE = {"kind", "name", "base_model", "sha256", "records"}
_WEIGHTS = "adapter_model.safetensors"  # PEFT's name for the file
_SLOW = 2.0  # seconds before a progress bar is shown

T = TypeVar("T")
logger = logging.getLogger(__name__)


def export(
    engine: Engine, path: str | Path, *, scope: Scope | None, adapters: bool
) -> TransferReport:
    """Write everything to a file; see `Memory.export`."""
    path = check_path("path", path)
    if engine.ledger.directory in path.resolve().parents:
        raise InvalidInputError(
            f"`path` must lie outside of the memory's directory, got {str(path)!r}",
            "Its files are the memory's own.",
        )
    with storage_errors(path):
        plain_file(path)
    if not path.parent.is_dir():
        raise StorageError(
            f"there is no folder {str(path.parent)!r} to write the export to", hint="make it first"
        )
    scope = None if scope is None else check_scope(scope)
    check_flag("adapters", adapters)
    folder = _folder(path)
    modules = _export_modules(engine, folder, scope) if adapters else []
    try:
        with engine.ledger.exporter(scope) as exporter:
            counts = exporter.counts() | ({"module": len(modules)} if modules else {})
            about = {
                "memkit": __version__,
                "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "scope": scope,
            }
            total = sum(counts.values())
            entries = _shown("exporting", _chained(exporter.entries(), modules), total)
            write_archive(path, about, counts, entries)
    except BaseException:
        if adapters:
            destroy_folder(folder)
        raise
    return TransferReport.of(path, counts)


@traced("upsert_memory", "import_")
def import_(engine: Engine, path: str | Path, options: ImportOptions) -> TransferReport:
    """Take a file in; see `Memory.import_`."""
    refuse_unknown(options, ImportOptions)
    scope, adapters = options.get("scope"), options.get("adapters", False)
    on_conflict = options.get("on_conflict", "error")
    path = check_path("path", path)
    if not isinstance(on_conflict, str) or on_conflict not in get_args(OnConflict):
        raise InvalidInputError(
            f"`on_conflict` must be one of {get_args(OnConflict)}, got {shown(on_conflict)}"
        )
    scope = None if scope is None else check_scope(scope)
    check_flag("adapters", adapters)
    if adapters:
        engine.need_lora("import_(adapters=True)")
    if not path.is_file():
        kind = "does not exist"
        if path.exists():
            kind = "is a folder" if path.is_dir() else "is no plain file"
        raise StorageError(
            f"there is no file {str(path)!r} to import: it {kind}",
            hint="give the path that `export` has written to",
        )
    archive = Archive(path)
    _check(engine, archive, adapters=adapters)
    ledger, backends = engine.ledger, engine.backends  # made before the transaction begins
    replaced = False

    def take_out(ids: Any) -> None:  # noqa: ANN401 - as `Importer` says
        nonlocal replaced
        replaced = True
        remove(ledger, ids, backends)

    with ledger.transaction():
        importer = ledger.importer(take_out, on_conflict=on_conflict, scope=scope)
        members = _take(importer, archive)
        ledger.log_event("import", dict(importer.counts))
    if replaced or ledger.destruction_pending:
        finish(ledger, backends)
        engine.drop_caches()
    engine.catch_up()
    held = _import_modules(engine, path, members) if adapters else []
    counts = {**importer.counts, "module": sum(bool(module.held) for module in held)}
    return replace(TransferReport.of(path, counts), renamed=importer.renamed)


def _take(importer: Importer, archive: Archive) -> dict[str, list[str]]:
    """Take in all entries but the modules; gives the records here of each of these, by name."""
    members = {}
    try:
        for number, entry in _shown("importing", archive.entries(), archive.total):
            if entry["kind"] == "module":
                importer.finish()
                importer.line = number
                members[entry["name"]] = importer.records_of(entry["records"])
            else:
                importer.take(entry, number)
        importer.finish()
    except InvalidInputError as exc:
        raise InvalidInputError(
            f"line {importer.line} of {str(archive.path)!r}: {exc.message}", exc.hint
        ) from exc
    return members


def _check(engine: Engine, archive: Archive, *, adapters: bool) -> None:
    """Read a file through, and the adapters that belong to it, before anything is written."""
    for number, entry in _shown("checking", archive.entries(), archive.total):
        try:
            if entry["kind"] == "module":
                _check_module(entry)
                if adapters:
                    _check_adapter(engine, _folder(archive.path), entry)
            else:
                check_entry(entry)
        except InvalidInputError as exc:
            raise CorruptFileError(
                f"line {number} of {str(archive.path)!r} cannot be what memkit has exported: "
                f"{exc.message}"
            ) from exc


# -- another embedder


def reembed(engine: Engine, embedder: str | Path | Embedder) -> int:
    """Change the embedder; see `Vectors.reembed`."""
    index = engine.need_index("reembed()")
    done = index.reembed(engine.load_embedder(embedder))
    if engine.lora is not None and engine.ledger.modules.active():
        engine.lora.router.calibrate([])
    return done


# -- adapters


def _folder(path: Path) -> Path:
    """Where the adapters are that belong to a file."""
    return path.with_name(f"{path.name}.adapters")


def _export_modules(engine: Engine, folder: Path, scope: Scope | None) -> list[Entry]:
    """Write each module in service below a folder."""
    from memkit.lora.module_export import Export, export_adapter

    lora = engine.need_lora("export(adapters=True)")
    if folder.exists():
        raise InvalidInputError(
            f"expected no {str(folder)!r}, which is where the adapters go", "Remove it first."
        )
    try:
        entries = []
        for module in engine.ledger.modules.active(within=scope):
            if module.records:
                own = folder_of(folder, module.name)
                make_folder(folder)
                export_adapter(lora, module.name, own, Export(checked=False))
                entries.append(_module_entry(module, own))
    except BaseException:
        destroy_folder(folder)
        raise
    return entries


def _module_entry(module: Module, own: Path) -> Entry:
    return {
        "kind": "module",
        "name": module.name,
        "base_model": module.manifest["base_model"],
        "sha256": _digest(own / _WEIGHTS),
        "records": list(module.records),
    }


def _check_module(entry: Entry) -> None:
    if entry.keys() != _MODULE or not isinstance(entry["records"], list):
        raise InvalidInputError(f"expected a module to have {sorted(_MODULE)}, got {entry!r:.200}")
    for name in ("name", "base_model", "sha256"):
        check_text(name, entry[name], longest=MAX_ID_CHARACTERS)
    for id in entry["records"]:
        check_text("records", id, longest=MAX_ID_CHARACTERS)
    if not is_folder_name(entry["name"]):
        raise InvalidInputError(f"`name` must be that of a folder, got {shown(entry['name'])}")


def _check_adapter(engine: Engine, folder: Path, entry: Entry) -> None:
    """Check a module's files: they are beside the archive, whole, and fit the base model."""
    from memkit.lora.peft.peft_adapters import check_adapter

    own = folder_of(folder, entry["name"])
    if own.resolve() != folder.resolve() / entry["name"]:
        raise InvalidInputError(f"expected a folder at {str(own)!r}, got a link to another place")
    digest = check_adapter(engine.need_lora("import_(adapters=True)"), own)
    if digest != entry["sha256"]:
        raise InvalidInputError(
            f"the weights of module {entry['name']!r} in {str(folder)!r} have another checksum"
        )


def _import_modules(
    engine: Engine, path: Path, members: Mapping[str, Sequence[str]]
) -> list[ModuleReport]:
    """Take the modules in for those of their records that are here."""
    from memkit.lora.peft.peft_adapters import import_adapter

    lora = engine.need_lora("import_(adapters=True)")
    reports = []
    for name, ids in members.items():
        held = engine.ledger.modules.placements(ids)
        if ids and not held:  # what is held here already stays where it is
            reports.append(
                import_adapter(lora, engine.consolidator, folder_of(_folder(path), name), ids)
            )
    return reports


def _digest(path: Path) -> str:
    with storage_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- how


def _chained(entries: Iterator[Entry], modules: list[Entry]) -> Iterator[Entry]:
    yield from entries
    yield from modules


def _shown(what: str, items: Iterable[T], total: int) -> Iterator[T]:
    """The items, with a progress bar on a terminal if they take their time."""
    yield from tqdm(items, desc=what, unit="entry", total=total, disable=None, delay=_SLOW)
