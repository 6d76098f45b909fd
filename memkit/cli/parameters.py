"""Options and arguments that several commands share, and the types of their values."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from memkit.types import ALL, BUDGET, AnyScope
from memkit.types.validate import read_json, shown

if TYPE_CHECKING:
    from memkit.memory.options import Selection


class KeyValue(NamedTuple):
    """One ``KEY=VALUE`` of a command line."""

    key: str
    value: str


class Fields(NamedTuple):
    """One ``--where`` or ``--metadata`` of a command line: some fields of a JSON object."""

    values: dict[str, Any]


class Numbers(NamedTuple):
    """Whole numbers above 0, of one option."""

    values: tuple[int, ...]


def key_value(text: str) -> KeyValue:
    """Parse ``KEY=VALUE``.

    Raises:
        BadParameter: If the text is anything else.
    """
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise typer.BadParameter(f"expected KEY=VALUE, got {shown(text)}")
    return KeyValue(key, value)


def fields(text: str) -> Fields:
    """Parse ``KEY=TEXT``, ``KEY:=JSON`` or a whole JSON object.

    Raises:
        BadParameter: If the text is none of these.
    """
    if text.lstrip().startswith("{"):
        return Fields(_json(text, text))
    key, equals, value = text.partition("=")
    name = key.removesuffix(":")
    if not (name and equals):
        raise typer.BadParameter(
            f"expected KEY=TEXT, KEY:=JSON or a JSON object, got {shown(text)}"
        )
    return Fields({name: value if name == key else _json(value, text)})


def json_file(text: str) -> Fields:
    """Read a file with a JSON object.

    Raises:
        BadParameter: If there is no such file, or it holds anything else.
    """
    try:
        content = Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise typer.BadParameter(
            f"expected a file with JSON, got {shown(text)}: {reason}"
        ) from None
    values = _json(content, text)
    if not isinstance(values, dict):
        raise typer.BadParameter(f"expected a JSON object in {shown(text)}, got {shown(values)}")
    return Fields(values)


def moment(text: str) -> datetime:
    """Parse a time in ISO 8601; without an offset it is in UTC.

    Raises:
        BadParameter: If the text is no such time.
    """
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"expected a time such as 2026-07-28 or 2026-07-28T14:30+02:00, got {shown(text)}"
        ) from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def positive_numbers(text: str) -> Numbers:
    """Parse whole numbers above 0, separated by commas.

    Raises:
        BadParameter: If the text is anything else.
    """
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = (0,)
    if min(numbers) < 1:
        raise typer.BadParameter(f"expected whole numbers above 0 like 1,2, got {shown(text)}")
    return Numbers(numbers)


def paths_like(incomplete: str) -> list[str]:
    """Files and folders whose path begins so, as a shell completes them."""
    before, _, name = incomplete.rpartition("/")
    folder = Path(f"{before}/" if before or incomplete.startswith("/") else ".")
    start = incomplete.removesuffix(name)
    try:
        found = sorted(entry.name for entry in folder.iterdir() if entry.name.startswith(name))
    except OSError:
        return []
    return [f"{start}{each}" for each in found]


def output_file(text: str) -> Path:
    """A file that can be written: better refused now than after an hour of work.

    Raises:
        BadParameter: If it is a folder, or there is no writing there.
    """
    path = Path(text)
    if path.is_dir():
        raise typer.BadParameter(f"expected a file, got the folder {shown(text)}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise typer.BadParameter(f"expected a file that can be written, got {shown(text)}")
    return path


def scope_of(pairs: Sequence[KeyValue] | None) -> dict[str, str]:
    """The scope that all ``--scope`` of a command line make together; empty without any.

    Raises:
        BadParameter: If a key was given twice.
    """
    scope: dict[str, str] = {}
    for key, value in pairs or ():
        if key in scope:
            raise typer.BadParameter(
                f"expected each key once, got {key}={scope[key]} and {key}={value}",
                param_hint="--scope",
            )
        scope[key] = value
    return scope


def seen_by(pairs: Sequence[KeyValue] | None) -> AnyScope:
    """The scope of commands that look after a memory as a whole: everything without any."""
    return scope_of(pairs) or ALL


def where_of(given: Sequence[Fields] | None) -> dict[str, Any] | None:
    """The filter that all ``--where`` of a command line make together; None without any.

    Raises:
        BadParameter: If it is no filter.
    """
    from memkit.errors import InvalidInputError
    from memkit.ledger.records.filters import parse

    filters = [part.values for part in given or ()]
    if not filters:
        return None
    where = {"$and": filters} if filters[1:] else filters[0]
    try:
        parse(where)
    except InvalidInputError as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise typer.BadParameter(f"{error.message}{hint}", param_hint="--where") from None
    return where


def selection_of(
    scope: Sequence[KeyValue] | None,
    where: Sequence[Fields] | None,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    as_of: datetime | None = None,
) -> Selection:
    """What takes part in a query, of the options of a command line that bound it.

    Raises:
        BadParameter: As for `scope_of` and `where_of`.
    """
    return {
        "scope": scope_of(scope), "where": where_of(where),
        "since": since, "until": until, "as_of": as_of,
    }  # fmt: skip


def metadata_of(given: Sequence[Fields] | None) -> dict[str, Any]:
    """The metadata that all ``--metadata`` of a command line make together.

    Raises:
        BadParameter: If a key was given twice.
    """
    metadata: dict[str, Any] = {}
    for part in given or ():
        for key, value in part.values.items():
            if key in metadata:
                raise typer.BadParameter(
                    f"expected each key once, got {key} twice", param_hint="--metadata"
                )
            metadata[key] = value
    return metadata


def _json(text: str, whole: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return read_json(text)
    except ValueError as error:
        raise typer.BadParameter(f"expected JSON, got {shown(whole)}: {error}") from None


# -- shared by the commands ------------------------------------------------------------------

# A text, as a URL is no path; shells complete it as one.
MemoryPath = Annotated[
    str,
    typer.Argument(
        metavar="PATH",
        autocompletion=paths_like,
        help="The memory's directory, or postgresql://host/db?schema=notes.",
        show_default=False,
    ),
]
Question = Annotated[
    str, typer.Argument(metavar="QUESTION", help="What is asked.", show_default=False)
]
RecordId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The record, or a turn of it; the first characters of a record's id will do.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Report = Annotated[
    Path | None,
    typer.Option(
        "--json",
        parser=output_file,
        metavar="FILE",
        help="Also write the figures there.",
        show_default=False,
    ),
]
Scopes = Annotated[
    list[KeyValue] | None,
    typer.Option(
        "--scope",
        parser=key_value,
        metavar="KEY=VALUE",
        help="Whose knowledge it is about, such as user=ada; may be repeated.",
        show_default=False,
    ),
]
Where = Annotated[
    list[Fields] | None,
    typer.Option(
        "--where",
        parser=fields,
        metavar="FILTER",
        help="Only records with this metadata: KEY=TEXT, KEY:=JSON or a JSON filter; "
        "may be repeated.",
        show_default=False,
    ),
]
MetadataFields = Annotated[
    list[Fields] | None,
    typer.Option(
        "--metadata",
        parser=fields,
        metavar="FIELD",
        help="To filter by later: KEY=TEXT, KEY:=JSON or a JSON object; may be repeated.",
        show_default=False,
    ),
]
BaseModel = Annotated[
    str | None,
    typer.Option(
        "--base-model",
        envvar="MEMKIT_BASE_MODEL",
        metavar="MODEL",
        help="Folder, .gguf file or hub id of the language model.",
        show_default="SmolLM2-135M-Instruct",
    ),
]
EmbedderModel = Annotated[
    str | None,
    typer.Option(
        "--embedder",
        envvar="MEMKIT_EMBEDDER",
        metavar="MODEL",
        help="Folder or hub id of the sentence-transformers model.",
        show_default="all-MiniLM-L6-v2",
    ),
]
Budget = Annotated[
    int,
    typer.Option(
        "--budget",
        min=0,
        metavar="TOKENS",
        help=f"Most tokens of evidence in the prompt; 0 asks the weights alone ({BUDGET} "
        "unless given).",
        show_default=False,
    ),
]
Since = Annotated[
    datetime | None,
    typer.Option(
        "--since",
        parser=moment,
        metavar="TIME",
        help="Only what was said then or later.",
        show_default=False,
    ),
]
Until = Annotated[
    datetime | None,
    typer.Option(
        "--until",
        parser=moment,
        metavar="TIME",
        help="Only what was said before.",
        show_default=False,
    ),
]
AsOf = Annotated[
    datetime | None,
    typer.Option(
        "--as-of",
        parser=moment,
        metavar="TIME",
        help="Records as they were then.",
        show_default=False,
    ),
]


def at_most(default: int) -> Any:  # noqa: ANN401 - what typer makes of an option
    """The option ``-k`` of a command, with its default."""
    return typer.Option(
        "-k",
        min=1,
        metavar="N",
        help=f"At most so many records ({default} unless given).",
        show_default=False,
    )
