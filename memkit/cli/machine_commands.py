"""Commands about this machine: ``prepare``, ``models`` and ``doctor``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from memkit.cli.output import (
    on_terminal,
    print_json,
    print_note,
    print_rows,
    print_text,
    stdout_console,
    working,
)
from memkit.cli.parameters import AsJson, BaseModel, EmbedderModel, paths_like
from memkit.types.value import counted

if TYPE_CHECKING:
    from memkit.cli.health import Health

PANEL = "This machine"
_COLOURS = {"ok": "green", "note": "yellow", "problem": "red"}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("prepare", rich_help_panel=PANEL)(prepare)
    app.command("models", rich_help_panel=PANEL)(models)
    app.command("doctor", rich_help_panel=PANEL)(doctor)


def prepare(
    *,
    base_model: BaseModel = None,
    embedder: EmbedderModel = None,
    as_json: AsJson = False,
) -> None:
    """Fetch, convert and try the models, so that the first question does not wait for that."""
    from memkit.cli.preparing import prepared

    with working("preparing the models"):
        ready = list(prepared(base_model, embedder))
    if as_json:
        print_json(ready)
        return
    rows = [
        (
            *(m["use"], m["name"], m["origin"], f"{m['bytes'] / 1e6:.0f} MB"),
            *(m["computes"], f"{m['seconds']:.1f} s"),
        )
        for m in ready
    ]
    print_rows(("use", "model", "from", "size", "computes", "loads in"), rows, wide="model")
    for model in ready:
        print_note(f"{model['name']}: {model['path']}")


def models(*, as_json: AsJson = False) -> None:
    """List the models that are on this machine, with where they are from and their sizes."""
    with working("looking"):
        found = list(_models())
    if as_json:
        print_json(found)
        return
    rows = [(m["use"], m["name"], m["origin"], f"{m['bytes'] / 1e6:.0f} MB") for m in found]
    print_rows(("use", "model", "from", "size"), rows, wide="model")
    for model in found:
        print_note(f"{model['name']}: {model['path']}")
    lacking = {"language model", "embedder"} - {model["use"] for model in found}
    if lacking:
        print_note(f"no default {' and no default '.join(sorted(lacking))}: see memkit doctor")


def _models() -> Iterator[dict[str, Any]]:
    """The default models, what was converted of them, and what the hub's cache has."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    from memkit.errors import ModelUnavailableError
    from memkit.models.gguf import cache_dir
    from memkit.models.sources import find_base, find_embedder

    defaults = set()
    for use, find in (("language model", find_base), ("embedder", find_embedder)):
        try:
            source = find(fetch=False)
        except ModelUnavailableError:
            continue
        defaults.add(source.path)
        yield _model(use, source.name, source.origin, source.path)
    for folder in sorted((cache_dir() / "models").glob("*/")):
        yield _model("converted", folder.name[:12], "memkit's cache", folder)
    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return
    for repository in sorted(repositories, key=lambda each: each.repo_id):
        paths = {revision.snapshot_path for revision in repository.revisions}
        if repository.repo_type == "model" and not defaults & paths:
            yield _model("other", repository.repo_id, "cache", repository.repo_path)


def _model(use: str, name: str, origin: str, path: Path) -> dict[str, Any]:
    size = size_of_files(path)
    return {"use": use, "name": name, "origin": origin, "bytes": size, "path": str(path)}


def size_of_files(path: Path) -> int:
    """Bytes of a file, or of all that are in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    # Of a file that snapshots link to there is one copy.
    return sum({file.resolve(): file.stat().st_size for file in files}.values())


def doctor(
    path: Annotated[
        str | None,
        typer.Argument(
            metavar="PATH",
            autocompletion=paths_like,
            help="Also look at this memory, by its directory or URL.",
            show_default=False,
        ),
    ] = None,
    *,
    base_model: BaseModel = None,
    as_json: AsJson = False,
) -> None:
    """Look for what may keep memkit from working well here, and say what to do about it.

    Exits with 1 if something keeps it from working.
    """
    from memkit.cli.health import examine

    with working("looking"):
        found = list(examine(path, base_model))
    if as_json:
        print_json(found)
    else:
        _print_health(found)
    problems = sum(each.state == "problem" for each in found)
    if problems:
        print_note(f"{counted(problems, 'thing keeps', 'things keep')} memkit from working")
        raise typer.Exit(1)


def _print_health(found: list[Health]) -> None:
    if not on_terminal():
        for each in found:
            print_text("\t".join(filter(None, (each.state, each.what, each.found, each.remedy))))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for each in found:
        remedy = f"\n-> {each.remedy}" if each.remedy else ""
        state = Text(each.state, style=_COLOURS[each.state])
        table.add_row(state, each.what, Text(each.found + remedy))
    stdout_console().print(table)
