"""What commands print: results on stdout, as text or as JSON; everything else on stderr.

On a terminal, rows are a table that fits its width. Elsewhere they are lines of cells with tabs
between them, whole and without colours, for other programs to read.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from memkit.types import Value
from memkit.types.value import printable, shortened


def on_terminal() -> bool:
    """Whether people read the output as it comes."""
    return sys.stdout.isatty()


def stdout_console() -> Console:
    """A console for results; made anew, as the stream may be replaced."""
    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False)


def stderr_console() -> Console:
    """A console for progress and notes."""
    return Console(file=sys.stderr, highlight=False, markup=False, emoji=False)


def print_text(text: object) -> None:
    """Print a text as it is, however wide."""
    sys.stdout.write(f"{text}\n")


def print_note(text: object) -> None:
    """Print something beside the result, on stderr."""
    sys.stderr.write(f"{text}\n")


class NoteHandler(logging.Handler):
    """Logs as notes: to what stderr is now, so that a display of progress makes room for them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print what was logged, behind the name of the package that says it."""
        print_note(f"{record.name.partition('.')[0]}: {self.format(record)}")


def fitted(line: str) -> str:
    """A note in one line: cut off to the width of the terminal, or of a hundred characters."""
    console = stderr_console()
    return printable(shortened(line, console.width) if console.is_terminal else shortened(line))


def print_json(value: Value | Mapping[str, Any] | Sequence[Any]) -> None:
    """Print a value, an object, or an array of values, as one JSON document."""
    sys.stdout.write(json.dumps(_plain(value), ensure_ascii=not _unicode(), indent=2) + "\n")


def print_result(value: Value, *, as_json: bool) -> None:
    """Print what a verb returned."""
    if as_json:
        print_json(value)
    else:
        print_text(value)


def print_rows(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, wide: str = "text"
) -> None:
    """Print rows of cells: as a table on a terminal, else as lines with tabs.

    Args:
        columns: Their headings; only on a terminal.
        rows: As many cells each.
        wide: The column that gets the room which the others leave, and is folded in it.
    """
    lines = [[printable(str(cell)) for cell in row] for row in rows]
    if not on_terminal():
        for line in lines:
            print_text("\t".join(line))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column != wide)
    for line in lines:
        table.add_row(*map(Text, line))
    stdout_console().print(table)


def print_fields(fields: Mapping[str, object]) -> None:
    """Print labels with their values: folded on a terminal, a line each elsewhere."""
    if not on_terminal():
        for label, value in fields.items():
            print_text(f"{label}\t{printable(str(value))}")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in fields.items():
        table.add_row(label, Text(str(value)))
    stdout_console().print(table)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show on a terminal that something goes on, and for how long; nothing elsewhere."""
    console = stderr_console()
    if not console.is_terminal:
        yield
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        progress.add_task(what, total=None)
        yield


def _plain(value: object) -> object:
    if isinstance(value, Value):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    return value


def _unicode() -> bool:
    """Whether the output can hold every character; JSON escapes those that it cannot."""
    return (sys.stdout.encoding or "ascii").lower().replace("-", "") in {"utf8", "utf16", "utf32"}
