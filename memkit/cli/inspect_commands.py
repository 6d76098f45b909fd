"""The command ``inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memkit.cli.output import print_json, print_note, stderr_console, stdout_console
from memkit.cli.parameters import AsJson, MemoryPath, Scopes, output_file, scope_of

RECORDS, ROUTES = 100_000, 300  # of a page, unless more are asked for

HtmlFile = Annotated[
    Path | None,
    typer.Option(
        "--html",
        parser=output_file,
        metavar="FILE",
        help="Write everything as one page to be opened in a browser; is replaced if it exists.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("inspect", rich_help_panel="Read")(inspect)


def inspect(
    path: MemoryPath,
    *,
    html: HtmlFile = None,
    scope: Scopes = None,
    records: Annotated[
        int, typer.Option("--records", min=1, metavar="N", help="Records in the page, the latest.")
    ] = RECORDS,
    routes: Annotated[
        int, typer.Option("--routes", min=0, metavar="N", help="Stored questions with routes.")
    ] = ROUTES,
    as_json: AsJson = False,
) -> None:
    """Show records, modules, routes and disk use: as a summary, or all of it as an HTML page.

    All scopes are shown, as to whoever looks after the memory; --scope limits everything to a
    scope and narrower ones. No model is loaded, and the page asks nothing of any network.
    """
    from memkit.cli.inspector.snapshot import overview

    whose = scope_of(scope) or None
    if html is not None:
        _write(path, html, whose, records, routes)
    if as_json:
        print_json(overview(path, whose))
    elif html is None:
        from memkit.cli.inspector.terminal_summary import print_summary

        print_summary(stdout_console(), overview(path, whose))


def _write(path: str, html: Path, whose: dict[str, str] | None, records: int, routes: int) -> None:
    from memkit.cli.inspector.html_page import check_place, write_page
    from memkit.cli.inspector.snapshot import Limits, snapshot

    check_place(html, path)
    console = stderr_console()
    with console.status("Reading the memory…"):  # nothing unless it is a terminal
        memory = snapshot(path, whose, Limits(records, routes))
    with console.status("Writing the page…"):
        size = write_page(html, memory)
    print_note(f"{html}: {size / 2**20:.1f} MiB, readable by you alone; it holds the texts")
