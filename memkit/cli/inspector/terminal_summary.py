"""What the inspector says in a terminal: as wide as that is, and as text elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from memkit.types.value import printable

_MOST = 12  # scopes and modules that are listed
_BAR = 18  # characters of a whole bar


def print_summary(console: Console, seen: Mapping[str, Any]) -> None:
    """Print what `memkit.cli.inspector.snapshot.overview` has read."""
    console.print(_summary(seen))


def _summary(seen: Mapping[str, Any]) -> RenderableType:
    parts: list[RenderableType] = [_heading(seen), Text(), _totals(seen)]
    parts += _section("Modules", _modules(seen["modules"], seen["scopes"]), len(seen["modules"]))
    parts += _section("Scopes", _scopes(seen["scopes"]), len(seen["scopes"]))
    if seen["disk"] is not None:
        parts += _section("Disk", _disk(seen["disk"]))
    if seen["events"]:
        parts += _section("Latest events", _events(seen["events"]))
    return Group(*parts)


def _heading(seen: Mapping[str, Any]) -> Text:
    of = "all scopes" if seen["scope"] is None else f"scope {_scope(seen['scope'])} and narrower"
    return Text.assemble((printable(seen["name"]), "bold"), f"  {of}")


def _totals(seen: Mapping[str, Any]) -> Table:
    totals = seen["totals"]
    held, records = totals["held"], totals["records"]
    part = f"{held / records:.0%} of the records" if records else ""
    rows = [
        ("records", totals["records"], f"{totals['versions']:,} versions"),
        ("held in weights", held, part),
        ("modules", totals["modules"], seen["base"] or ""),
        ("turns", totals["turns"], ""),
        ("passages", totals["passages"], seen["embedder"] or ""),
    ]
    if totals["expired"]:
        rows.append(("expired", totals["expired"], "wait for retention.sweep()"))
    if totals["unindexed"]:
        rows.append(("not indexed yet", totals["unindexed"], "the next opening adds them"))
    table = _table("", ">", "")
    for name, count, more in rows:
        table.add_row(name, f"{count:,}", Text(printable(more), "dim"))
    return table


def _modules(modules: Sequence[Mapping[str, Any]], scopes: Sequence[Mapping[str, Any]]) -> Table:
    headings = ("module", "scope", ">held", ">trained", ">held out", ">rank", ">MiB", "room used")
    table = _table(*headings, header=True)
    for module in modules[:_MOST]:
        table.add_row(
            f"{printable(module['name'])} v{module['version']}",
            printable(_scope(scopes[module["scope"]]["labels"])),
            f"{module['held']}/{module['trained']}",
            _figure(module["recall"]),
            _figure(module["reworded"]),
            str(module["rank"] or "-"),
            f"{module['size'] / 2**20:.1f}",
            _room(module),
        )
    return table


def _room(module: Mapping[str, Any]) -> str:
    if not module["room"]:
        return "-"
    return f"~{module['tokens'] / module['room']:.0%} of {module['room']}"


def _scopes(scopes: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("scope", ">records", ">held", header=True)
    largest = sorted(scopes, key=lambda scope: -scope["records"])
    for scope in largest[:_MOST]:
        name = printable(_scope(scope["labels"]))
        table.add_row(name, f"{scope['records']:,}", f"{scope['held']:,}")
    return table


def _disk(disk: Mapping[str, int]) -> Table:
    table = _table("", ">", "")
    total = sum(disk.values()) or 1
    for part, size in disk.items():
        if size or part != "other":
            bar = "█" * round(_BAR * size / total) or ("▏" if size else "")
            table.add_row(part, f"{size / 2**20:,.1f} MiB", Text(bar, "blue"))
    return table


def _events(events: Sequence[Sequence[Any]]) -> Table:
    table = _table("", "", "")
    for at, kind, detail in events[: -_MOST - 1 : -1]:
        told = ", ".join(f"{name} {_told(value)}" for name, value in detail.items() if value)
        when = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
        table.add_row(when, printable(kind), Text(printable(told), "dim"))
    return table


def _told(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _section(title: str, table: Table, rows: int | None = None) -> Iterable[RenderableType]:
    if not table.row_count:
        return
    yield Text()
    yield Text(title, "bold")
    yield table
    if rows is not None and rows > table.row_count:
        yield Text(f"and {rows - table.row_count:,} more", "dim")


def _table(*headings: str, header: bool = False) -> Table:
    """A table without lines; a heading that begins with ">" is of a column of numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=header, header_style="dim")
    for heading in headings:
        number = heading.startswith(">")
        table.add_column(
            heading.removeprefix(">"),
            justify="right" if number else "left",
            no_wrap=number,
            overflow="fold",
        )
    return table


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _scope(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items()) or "shared"
