"""Commands about adapters: ``consolidate``, and the group ``modules``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from memkit.cli.finding import whole_id
from memkit.cli.opening import RECORDS_ALONE, open_memory, open_to_train
from memkit.cli.output import print_json, print_note, print_result, print_rows, print_text, working
from memkit.cli.parameters import (
    AsJson,
    BaseModel,
    EmbedderModel,
    MemoryPath,
    Scopes,
    Where,
    scope_of,
    where_of,
)
from memkit.types import ALL
from memkit.types.validate import shown

if TYPE_CHECKING:
    from memkit.memory.options import ConsolidateOptions

NO_MODULES = "there are no modules; memkit consolidate trains some"
PANEL = "Adapters"
ModuleName = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("consolidate", rich_help_panel=PANEL)(consolidate)
    modules = typer.Typer(no_args_is_help=True, help="List, retrain, join, roll back, move.")
    for name, command in (
        ("list", list_modules),
        ("rollback", rollback),
        ("retrain", retrain),
        ("compact", compact),
        ("export", export_module),
        ("import", import_module),
    ):
        modules.command(name)(command)
    app.add_typer(modules, name="modules", rich_help_panel=PANEL)


def consolidate(
    path: MemoryPath,
    *,
    include_turns: Annotated[
        bool, typer.Option("--include-turns", help="Also learn the turns of conversations.")
    ] = False,
    retry_missed: Annotated[
        bool, typer.Option("--retry-missed", help="Also try what this training failed on before.")
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Adopt other models than the memory was made with: train all modules anew.",
        ),
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Make a job of it, for memkit worker; print that.")
    ] = False,
    priority: Annotated[
        int | None,
        typer.Option(
            help="With --no-wait: jobs of a higher one come first (0 unless given).",
            show_default=False,
        ),
    ] = None,
    scope: Scopes = None,
    where: Where = None,
    base_model: BaseModel = None,
    embedder: EmbedderModel = None,
    as_json: AsJson = False,
) -> None:
    """Train adapters on what no adapter holds yet; print the report.

    What an adapter does not recall stays with the index, and is answered from there.
    """
    options: ConsolidateOptions = {
        "scope": scope_of(scope) or None,
        "where": where_of(where),
        "include_turns": include_turns,
        "retry_missed": retry_missed,
    }
    if priority is not None:
        if not no_wait:
            raise typer.BadParameter("a priority is for jobs: give --no-wait, or leave it out")
        options["priority"] = priority
    adopted = True if rebuild else None
    if no_wait:
        with open_memory(path, base_model=base_model, embedder=embedder, rebuild=adopted) as memory:
            status = memory.jobs.put(**options).status
        print_result(status, as_json=as_json)
        return
    with open_to_train(
        path, "reading the memory", base_model=base_model, embedder=embedder, rebuild=adopted
    ) as memory:
        report = memory.consolidate(**options)
    print_result(report, as_json=as_json)


def list_modules(path: MemoryPath, *, scope: Scopes = None, as_json: AsJson = False) -> None:
    """List the modules in service, with the versions that are kept."""
    whose = scope_of(scope) or None
    with open_memory(path, backends=RECORDS_ALONE) as memory:
        modules = memory.modules.list(scope=whose)
    if as_json:
        print_json(modules)
        return
    rows = [
        (
            m.name,
            f"v{m.version}",
            ", ".join(f"v{version}" for version in m.versions),
            len(m.records),
            m.manifest["lora"]["rank"],
            f"{m.manifest['recall']:.2f}",
            m.manifest["base_model"],
        )
        for m in modules
    ]
    columns = ("module", "version", "kept", "records", "rank", "recall", "base model")
    print_rows(columns, rows, wide="base model")
    if not modules:
        print_note(NO_MODULES)


def rollback(
    path: MemoryPath,
    name: ModuleName,
    version: Annotated[int, typer.Argument(min=1, metavar="VERSION", show_default=False)],
    *,
    as_json: AsJson = False,
) -> None:
    """Put another version of a module into service, with the records that it holds."""
    with open_memory(path) as memory:
        module = memory.modules.rollback(name, version)
    print_result(module, as_json=as_json)


def retrain(
    path: MemoryPath,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="All unless given.", show_default=False),
    ] = None,
    *,
    base_model: BaseModel = None,
    embedder: EmbedderModel = None,
    as_json: AsJson = False,
) -> None:
    """Train modules again from their records, with the same settings; print the report."""
    with open_to_train(
        path, "reading the memory", base_model=base_model, embedder=embedder
    ) as memory:
        report = memory.modules.retrain(names or None)
    if report.modules or as_json:
        print_result(report, as_json=as_json)
    else:
        print_note(NO_MODULES)


def compact(
    path: MemoryPath,
    *,
    scope: Scopes = None,
    base_model: BaseModel = None,
    embedder: EmbedderModel = None,
    as_json: AsJson = False,
) -> None:
    """Train the records of small modules together, so that there are fewer modules."""
    whose = scope_of(scope) or None
    with open_to_train(
        path, "reading the memory", base_model=base_model, embedder=embedder
    ) as memory:
        report = memory.modules.compact(scope=whose)
    print_result(report, as_json=as_json)


def export_module(
    path: MemoryPath,
    name: ModuleName,
    target: Annotated[
        Path,
        typer.Argument(
            metavar="TARGET",
            help="For peft a folder, empty or not there; for gguf a new file.",
            show_default=False,
        ),
    ],
    *,
    format: Annotated[
        Literal["peft", "gguf"], typer.Option(help="For PEFT, or for llama.cpp.")
    ] = "peft",
    activated: Annotated[
        bool | None,
        typer.Option(
            "--activated/--always-on",
            help="Act from the question on, as here, or on the whole prompt. Unless given, from "
            "the question on where the chat template marks it. vLLM wants --always-on.",
            show_default=False,
        ),
    ] = None,
    base_model: BaseModel = None,
    as_json: AsJson = False,
) -> None:
    """Write a module for PEFT or llama.cpp; forget does not reach it there."""
    with open_memory(path, backends=RECORDS_ALONE) as memory:  # before a model is loaded
        if name not in [module.name for module in memory.modules.list()]:
            from memkit.ledger.modules.module_reads import unknown_module

            raise unknown_module(name)
    with working("exporting"), open_memory(path, base_model=base_model) as memory:
        written = memory.modules.export(name, target, format=format, activated=activated)
    if as_json:
        print_json({"module": name, "format": format, "path": str(written)})
    else:
        print_text(f"{name} is in {written}")


def import_module(
    path: MemoryPath,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", show_default=False)],
    records: Annotated[
        list[str],
        typer.Option("--record", metavar="ID", help="One that it answers; may be repeated."),
    ],
    *,
    base_model: BaseModel = None,
    as_json: AsJson = False,
) -> None:
    """Take in a LoRA adapter that PEFT saved, for records that are here.

    It is asked for each of them first. Exits with 1 if it recalls none, and is not kept.
    """
    with open_memory(path, backends=RECORDS_ALONE) as memory:  # before a model is loaded
        ids = [memory.get(whole_id(memory, id, ALL), scope=ALL).id for id in records]
    if not folder.is_dir():
        raise typer.BadParameter(f"expected a folder, there is none at {shown(folder)}")
    with working("importing"), open_memory(path, base_model=base_model) as memory:
        report = memory.modules.import_(folder, records=ids)
    print_result(report, as_json=as_json)
    if not report.held:
        raise typer.Exit(1)
