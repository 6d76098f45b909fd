"""The command that serves a memory over HTTP: ``serve``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memkit.cli.opening import open_memory
from memkit.cli.output import print_note, print_text
from memkit.cli.parameters import BaseModel, EmbedderModel, MemoryPath, Scopes, scope_of

if TYPE_CHECKING:
    from memkit.server.http.api_keys import ApiKey, KeyFile

PANEL = "Serve"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve", rich_help_panel=PANEL)(serve)


def serve(
    path: MemoryPath,
    *,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", metavar="FILE", help="The API keys.", show_default=False),
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Ask for no keys; for this machine alone.")
    ] = False,
    new_key: Annotated[
        str | None,
        typer.Option(
            "--new-key",
            metavar="NAME",
            help="Add a key to the file, print it, and serve nothing.",
            show_default=False,
        ),
    ] = None,
    scope: Scopes = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="The new key is for what all scopes share.")
    ] = False,
    right: Annotated[
        list[str] | None,
        typer.Option(
            "--right",
            metavar="RIGHT",
            help="Of the new key: read, write or consolidate; may be repeated.",
            show_default="read and write",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    remember: Annotated[
        bool, typer.Option("--remember/--no-remember", help="Store conversations.")
    ] = True,
    max_body: Annotated[
        int, typer.Option(min=1, metavar="BYTES", help="Longest request.")
    ] = 1_048_576,
    max_seconds: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Longest time for a request.")
    ] = 120.0,
    max_requests: Annotated[
        int, typer.Option(min=1, metavar="N", help="Most requests at once.")
    ] = 64,
    max_per_key: Annotated[
        int, typer.Option(min=1, metavar="N", help="Most of them with one key.")
    ] = 16,
    max_tokens: Annotated[
        int, typer.Option(min=1, metavar="N", help="Longest answer that may be asked for.")
    ] = 1024,
    batch: Annotated[
        int, typer.Option(min=1, metavar="N", help="Most questions that are answered at once.")
    ] = 32,
    base_model: BaseModel = None,
    embedder: EmbedderModel = None,
) -> None:
    r"""Serve the memory over HTTP, as OpenAI's API and as REST; needs memkit-sdk\[serve].

    Each API key is bound to one scope. `--new-key ann --scope user=ann --keys keys.toml` makes
    one; the file holds its hash alone.
    """
    from memkit.server.extras import need_extra

    need_extra("serve", "fastapi", "uvicorn")
    if new_key is not None:
        _add_key(keys, new_key, scope_of(scope), shared=shared, rights=right)
        return
    if shared or right:
        raise typer.BadParameter("--shared and --right are for --new-key")
    who = _who(keys, scope_of(scope), no_auth=no_auth)
    from memkit.server.http.run_http import check_reach, run
    from memkit.server.http.serving_limits import Limits

    check_reach(host, who)
    limits = Limits(
        body=max_body,
        seconds=max_seconds,
        requests=max_requests,
        requests_per_key=max_per_key,
        batch=batch,
        max_tokens=max_tokens,
    )
    memory = open_memory(path, base_model=base_model, embedder=embedder)
    with memory:
        run(
            memory,
            who,
            limits,
            host=host,
            port=port,
            remember=remember,
        )


def _add_key(
    file: Path | None,
    name: str,
    scope: dict[str, str],
    *,
    shared: bool,
    rights: list[str] | None,
) -> None:
    """Make a key, and print it."""
    from memkit.server.http.api_keys import USUAL, add_key

    if file is None:
        raise typer.BadParameter("--new-key needs --keys, the file that the key is added to")
    if bool(scope) == shared:
        raise typer.BadParameter(
            "--new-key needs either --scope, such as --scope user=ann, or --shared"
        )
    print_text(add_key(file, name, scope, rights or USUAL))
    print_note(f"{file} has its hash alone: this is the only time that the key is shown")


def _who(file: Path | None, scope: dict[str, str], *, no_auth: bool) -> KeyFile | ApiKey:
    """Who is to be served; nobody unless that was said."""
    from memkit.server.http.api_keys import KeyFile, local_key

    if (file is None) != no_auth:
        raise typer.BadParameter(
            "expected either --keys FILE or --no-auth. --new-key NAME --scope user=NAME "
            "--keys FILE makes a key; --no-auth asks for none, and serves this machine alone"
        )
    if file is None:
        return local_key(scope)
    if scope:
        raise typer.BadParameter("--scope is for --new-key and --no-auth: keys have their scopes")
    return KeyFile(file)
