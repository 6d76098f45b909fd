"""Commands that look after a memory: ``export``, ``import``, ``check`` and ``reembed``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from memkit.cli.opening import RECORDS_ALONE, open_memory
from memkit.cli.output import print_result, working
from memkit.cli.parameters import AsJson, BaseModel, EmbedderModel, MemoryPath, Scopes, scope_of
from memkit.cli.placing import placed

PANEL = "Maintain"
Adapters = Annotated[bool, typer.Option("--adapters", help="With the modules, beside the file.")]
FilePath = Annotated[Path, typer.Argument(metavar="FILE", show_default=False)]


class Conflict(StrEnum):
    """What an import does where the memory has something else."""

    ERROR = "error"
    SKIP = "skip"
    REPLACE = "replace"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("export", rich_help_panel=PANEL)(export)
    app.command("import", rich_help_panel=PANEL)(import_)
    app.command("check", rich_help_panel=PANEL)(check)
    app.command("reembed", rich_help_panel=PANEL)(reembed)


def export(
    path: MemoryPath,
    file: FilePath,
    *,
    adapters: Adapters = False,
    scope: Scopes = None,
    base_model: BaseModel = None,
    as_json: AsJson = False,
) -> None:
    """Write everything, or all of a scope, to one file, which is replaced if it exists."""
    backends = None if adapters else RECORDS_ALONE  # the records alone need no model
    whose = scope_of(scope) or None
    with open_memory(path, backends=backends, base_model=base_model) as memory:
        report = memory.export(file, scope=whose, adapters=adapters)
    print_result(report, as_json=as_json)


def import_(
    path: MemoryPath,
    file: FilePath,
    *,
    adapters: Adapters = False,
    on_conflict: Annotated[
        Conflict, typer.Option(help="Where the memory has something else; error refuses the file.")
    ] = Conflict.ERROR,
    scope: Scopes = None,
    base_model: BaseModel = None,
    embedder: EmbedderModel = None,
    as_json: AsJson = False,
) -> None:
    """Read what was exported into a memory, which is made if there is none."""
    whose = scope_of(scope) or None
    with (
        working("importing"),
        open_memory(path, create=True, base_model=base_model, embedder=embedder) as memory,
    ):
        report = memory.import_(file, scope=whose, on_conflict=on_conflict.value, adapters=adapters)
    print_result(report, as_json=as_json)


def check(
    path: MemoryPath,
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make derived state anew where it is damaged.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Verify everything in the memory; exit with 1 if something was wrong, repaired or not."""
    from memkit.memory.check import check as check_memory

    with working("checking"):
        report = check_memory(path, repair=repair)
    print_result(report, as_json=as_json)
    if not report.sound:
        raise typer.Exit(1)


def reembed(
    path: MemoryPath,
    embedder: Annotated[
        str,
        typer.Argument(
            metavar="EMBEDDER", help="Folder or hub id of the new one.", show_default=False
        ),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Change the embedder: all records are embedded anew."""
    from memkit import Memory
    from memkit.models.sources import find_embedder

    open_memory(path, backends=RECORDS_ALONE).close()
    find_embedder(embedder)  # both are told before torch is loaded
    # The old embedder is not needed; processes that have the memory open use it until the end.
    with (
        working("embedding"),
        Memory.open(
            path, create=False, backends=("rag",), embedder=embedder, rebuild=True, **placed()
        ) as memory,
    ):
        stats = memory.stats()
    print_result(stats, as_json=as_json)
