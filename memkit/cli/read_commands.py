"""Commands that show what a memory holds: ``search`` and ``stats``."""

from __future__ import annotations

from typing import Annotated

import typer

from memkit.cli.opening import open_memory
from memkit.cli.output import print_json, print_result, print_rows
from memkit.cli.parameters import AsJson, MemoryPath, Scopes, at_most, scope_of
from memkit.types import HITS

PANEL = "Read"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("search", rich_help_panel=PANEL)(search)
    app.command("stats", rich_help_panel=PANEL)(stats)


def search(
    path: MemoryPath,
    query: Annotated[str, typer.Argument(show_default=False)],
    *,
    k: Annotated[int, at_most(HITS)] = HITS,
    scope: Scopes = None,
    as_json: AsJson = False,
) -> None:
    """Print the records that match best, by meaning and by words."""
    whose = scope_of(scope)
    with open_memory(path) as memory:
        hits = memory.search(query, k, scope=whose)
    if as_json:
        print_json(hits)
    else:
        print_rows(("score", "id", "text"), ((f"{h.score:.3f}", h.id, h.text) for h in hits))


def stats(path: MemoryPath, as_json: AsJson = False) -> None:
    """Count what the memory holds."""
    with open_memory(path) as memory:
        print_result(memory.stats(), as_json=as_json)
