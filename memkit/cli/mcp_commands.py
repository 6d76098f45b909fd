"""The command ``mcp``: a memory as a server of the Model Context Protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memkit.cli.opening import open_memory
from memkit.cli.parameters import BaseModel, EmbedderModel, MemoryPath, Scopes, scope_of

HOST, PORT = "127.0.0.1", 8000


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("mcp", rich_help_panel="Serve")(mcp)


def mcp(
    path: MemoryPath,
    *,
    scope: Scopes = None,
    http: Annotated[
        bool, typer.Option("--http", help="Serve over streamable HTTP instead of stdin and stdout.")
    ] = False,
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="Where to listen; others than this machine's own need a token.",
            show_default=HOST,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=0,
            max=65535,
            metavar="PORT",
            help="0 for any that is free.",
            show_default=str(PORT),
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            exists=True,
            dir_okay=False,
            readable=True,
            metavar="FILE",
            help="Clients have to send the token that is in this file.",
            show_default=False,
        ),
    ] = None,
    base_model: BaseModel = None,
    embedder: EmbedderModel = None,
) -> None:
    """Serve a memory to agents by the Model Context Protocol.

    Clients get what is of --scope, or else what is shared. A missing memory is made.
    """
    if not http and (host, port, token_file) != (None, None, None):
        raise typer.BadParameter("--host, --port and --token-file go with --http")
    from memkit.server.extras import need_extra

    need_extra("mcp", "mcp")
    import sys
    from contextlib import redirect_stdout

    from memkit.server.mcp.http_access import Access, check_reach
    from memkit.server.mcp.serve import serve_http, serve_stdio

    address = HOST if host is None else host
    access = None if token_file is None else Access.of_file(token_file)
    check_reach(address, access)  # before anything is loaded
    with redirect_stdout(sys.stderr):  # what is printed while it is opened is no message
        memory = open_memory(path, create=True, base_model=base_model, embedder=embedder)
    with memory:
        if http:
            serve_http(
                memory,
                scope_of(scope),
                host=address,
                port=PORT if port is None else port,
                access=access,
            )
        else:
            serve_stdio(memory, scope_of(scope))
