"""Commands about adapters: ``consolidate``."""

from __future__ import annotations

import typer

from memkit.cli.opening import open_memory
from memkit.cli.output import print_result
from memkit.cli.parameters import AsJson, BaseModel, EmbedderModel, MemoryPath, Scopes, scope_of

PANEL = "Adapters"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("consolidate", rich_help_panel=PANEL)(consolidate)


def consolidate(
    path: MemoryPath,
    *,
    scope: Scopes = None,
    base_model: BaseModel = None,
    embedder: EmbedderModel = None,
    as_json: AsJson = False,
) -> None:
    """Train adapters on what no adapter holds yet; print the report."""
    whose = scope_of(scope) or None
    with open_memory(path, base_model=base_model, embedder=embedder) as memory:
        report = memory.consolidate(scope=whose)
    print_result(report, as_json=as_json)
