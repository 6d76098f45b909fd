"""Commands that change what a memory knows: ``add`` and ``forget``."""

from __future__ import annotations

from typing import Annotated

import typer

from memkit.cli.opening import open_memory
from memkit.cli.output import print_json, print_result, print_text
from memkit.cli.parameters import AsJson, MemoryPath, Scopes, scope_of

PANEL = "Write"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("add", rich_help_panel=PANEL)(add)
    app.command("forget", rich_help_panel=PANEL)(forget)


def add(
    path: MemoryPath,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", show_default=False)],
    *,
    question: Annotated[str | None, typer.Option(help="What a single text answers.")] = None,
    answer: Annotated[str | None, typer.Option(help="The answer, in a few words.")] = None,
    scope: Scopes = None,
    as_json: AsJson = False,
) -> None:
    """Remember texts, each as a record; print the ids."""
    if (question is not None or answer is not None) and len(texts) > 1:
        raise typer.BadParameter(
            f"a question belongs to one text, got {len(texts)}; add them one by one"
        )
    whose = scope_of(scope)
    with open_memory(path, create=True) as memory:
        if question is None and answer is None:
            records = memory.add(texts, scope=whose)
        else:
            records = [memory.add(texts[0], question=question, answer=answer, scope=whose)]
    if as_json:
        print_json(records)
    else:
        print_text("\n".join(record.id for record in records))


def forget(
    path: MemoryPath,
    id: Annotated[str | None, typer.Argument(metavar="[ID]", show_default=False)] = None,
    scope: Scopes = None,
    as_json: AsJson = False,
) -> None:
    """Erase a record, or all of a scope; print the receipt."""
    whose = scope_of(scope)
    if (id is None) != bool(whose):
        raise typer.BadParameter("name either a record or a scope")
    with open_memory(path) as memory:
        print_result(memory.forget(id, scope=whose or "all"), as_json=as_json)
