"""Commands that answer: ``ask``."""

from __future__ import annotations

from typing import Annotated

import typer

from memkit.cli.opening import open_memory
from memkit.cli.output import print_json, print_note, print_text
from memkit.cli.parameters import (
    AsJson,
    BaseModel,
    Budget,
    EmbedderModel,
    MemoryPath,
    Question,
    Scopes,
    at_most,
    scope_of,
)
from memkit.types import BUDGET, PASSAGES

PANEL = "Answer"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("ask", rich_help_panel=PANEL)(ask)


def ask(
    path: MemoryPath,
    question: Question,
    *,
    budget: Budget = BUDGET,
    k: Annotated[int, at_most(PASSAGES)] = PASSAGES,
    strict: Annotated[
        bool, typer.Option("--strict", help="Withhold what nothing stored supports.")
    ] = False,
    scope: Scopes = None,
    base_model: BaseModel = None,
    embedder: EmbedderModel = None,
    as_json: AsJson = False,
) -> None:
    """Answer a question, with sources."""
    whose = scope_of(scope)
    with open_memory(path, base_model=base_model, embedder=embedder) as memory:
        answer = memory.ask(question, budget, k=k, scope=whose, strict=strict)
    if as_json:
        print_json(answer)
    else:
        print_text(answer)
        print_note(answer.route)
        print_note(f"citations: {', '.join(answer.citations) or 'none'}")
        if answer.withheld is not None:
            print_note(f"withheld: {answer.withheld}")
        if answer.conflict is not None:
            print_note(f"conflict: {answer.conflict}")
    if answer.withheld is not None:
        raise typer.Exit(1)
