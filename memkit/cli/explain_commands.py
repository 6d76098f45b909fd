"""The command ``explain``."""

from __future__ import annotations

from typing import Annotated

import typer

from memkit.cli.opening import open_memory
from memkit.cli.output import on_terminal, print_result, stdout_console, working
from memkit.cli.parameters import (
    AsJson,
    AsOf,
    BaseModel,
    Budget,
    EmbedderModel,
    MemoryPath,
    Question,
    Scopes,
    Since,
    Until,
    Where,
    at_most,
    selection_of,
)
from memkit.types import BUDGET, PASSAGES


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain", rich_help_panel="Answer")(explain)


def explain(
    path: MemoryPath,
    question: Question,
    *,
    budget: Budget = BUDGET,
    k: Annotated[int, at_most(PASSAGES)] = PASSAGES,
    scope: Scopes = None,
    where: Where = None,
    since: Since = None,
    until: Until = None,
    as_of: AsOf = None,
    base_model: BaseModel = None,
    embedder: EmbedderModel = None,
    as_json: AsJson = False,
) -> None:
    """Show route, evidence and prompt without generating an answer."""
    bounds = selection_of(scope, where, since=since, until=until, as_of=as_of)
    with (
        working("looking"),
        open_memory(path, base_model=base_model, embedder=embedder) as memory,
    ):
        explanation = memory.explain(question, budget, k=k, **bounds)
    if on_terminal() and not as_json:
        from memkit.cli.print_explanation import print_explanation

        print_explanation(stdout_console(), explanation)
    else:
        print_result(explanation, as_json=as_json)
