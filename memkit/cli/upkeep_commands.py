"""Commands that look after a memory: ``export``, ``import``, ``check`` and ``reembed``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from memkit.cli.opening import RECORDS_ALONE, open_memory
from memkit.cli.output import print_result
from memkit.cli.parameters import AsJson, MemoryPath

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
    path: MemoryPath, file: FilePath, adapters: Adapters = False, as_json: AsJson = False
) -> None:
    """Write everything to one file, which is replaced if it exists."""
    backends = None if adapters else RECORDS_ALONE  # the records alone need no model
    with open_memory(path, backends=backends) as memory:
        print_result(memory.export(file, adapters=adapters), as_json=as_json)


def import_(
    path: MemoryPath,
    file: FilePath,
    adapters: Adapters = False,
    on_conflict: Annotated[
        Conflict, typer.Option(help="Where the memory has something else: error refuses the file.")
    ] = Conflict.ERROR,
    as_json: AsJson = False,
) -> None:
    """Read what was exported into a memory, which is made if there is none."""
    with open_memory(path, create=True) as memory:
        report = memory.import_(file, on_conflict=on_conflict.value, adapters=adapters)
        print_result(report, as_json=as_json)


def check(
    path: MemoryPath,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make derived state anew where it is damaged.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Verify everything in the memory; exit with 1 if something was wrong."""
    from memkit.memory.check import check as check_memory

    report = check_memory(path, repair=repair)
    print_result(report, as_json=as_json)
    if not report.sound:
        raise typer.Exit(1)


def reembed(
    path: MemoryPath,
    embedder: Annotated[
        str, typer.Argument(help="Folder or hub id of the new one.", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Change the embedder: all records are embedded anew."""
    from memkit import Memory

    # The old embedder is not needed; processes that have the memory open use it until the end.
    with Memory.open(
        path, create=False, backends=("rag",), embedder=embedder, rebuild=True
    ) as memory:
        print_result(memory.stats(), as_json=as_json)
