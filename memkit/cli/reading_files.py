"""What ``memkit add`` reads: texts, JSON lines of drafts, and chat logs, from files or a pipe."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

import typer

from memkit.cli.parameters import moment
from memkit.errors import InvalidInputError, MemkitError, storage_errors
from memkit.types import Draft
from memkit.types.validate import read_json, shown, validate_draft

STDIN = "-"
MOST = 2**30  # bytes that are read at once
_FIELDS = frozenset(field.name for field in fields(Draft))


class Form(StrEnum):
    """How a file is read."""

    AUTO = "auto"  # by its name
    TEXT = "text"
    JSONL = "jsonl"
    CHAT = "chat"


@dataclass(frozen=True)
class Document:
    """The text of one file.

    Attributes:
        name: By which it is known again: its path in the folder that was named, or its own name.
        text: All of it.
        form: How it is to be read; never `Form.AUTO`.
    """

    name: str
    text: str
    form: Form


def _read(file: BinaryIO, where: str) -> bytes:
    """All that is in a file or comes through a pipe, which need not end."""
    content = file.read(MOST + 1)
    if len(content) > MOST:
        raise InvalidInputError(
            f"expected at most {MOST:,} bytes, there are more in {where}",
            hint="split it into several files",
        )
    return content


def read_stdin(form: Form) -> Document:
    """All that comes in through the pipe; it is a text unless another form is asked for."""
    where = "the standard input"
    text = _decoded(_read(sys.stdin.buffer, where), where)
    return Document(STDIN, text, Form.TEXT if form is Form.AUTO else form)


def read_files(path: Path, form: Form, skipped: list[str]) -> Iterator[Document]:
    """The documents of a file, or of all files below a folder, in the order of their names.

    Args:
        path: Hidden files and folders below it are left out.
        form: How they are read.
        skipped: Gets the names of the files of a folder that hold no text.

    Raises:
        StorageError: If a file cannot be read.
        InvalidInputError: If there is no such path, or the file that was named is no text.
    """
    if not path.exists():
        raise InvalidInputError(
            f"expected a file or a folder, there is nothing at {str(path)!r}",
            hint="to add it as a text, leave --from out",
        )
    if not path.is_dir():
        yield _document(path, path.name, form)
        return
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        if file.is_file() and not any(part.startswith(".") for part in name.parts):
            try:
                yield _document(file, name.as_posix(), form)
            except _NoTextError:
                skipped.append(name.as_posix())


def drafts_of(document: Document, given: Draft) -> list[Draft]:
    """What a document of texts or of JSON lines holds; empty of a blank one.

    Args:
        document: A text is one draft, by whose key it is known again when the file has changed.
        given: What the command line says of each; a line of JSON that says something else of
            itself is believed.

    Raises:
        InvalidInputError: If a line is no draft; the message names it.
    """
    if document.form is Form.TEXT:
        if not document.text.strip():
            return []
        if document.name == STDIN:
            return [replace(given, text=document.text.rstrip("\r\n"))]  # `echo` ends a line
        metadata = {"source": document.name, **given.metadata}
        key = given.key or f"file:{document.name}"
        return [replace(given, text=document.text, key=key, metadata=metadata)]
    return [_draft(entry, given, where) for where, entry in _lines(document)]


def messages_of(document: Document) -> list[dict[str, Any]]:
    """The messages of a chat log: an array, an object with ``messages``, or JSON lines.

    Raises:
        InvalidInputError: If it is none of these.
    """
    try:
        content = read_json(document.text)
    except ValueError:
        return [entry for _, entry in _lines(document)]
    if isinstance(content, Mapping) and "messages" in content:
        content = content["messages"]
    elif isinstance(content, Mapping):
        content = [content]
    if (
        not isinstance(content, list)
        or not all(isinstance(item, dict) for item in content)
        or (content and not any("role" in item for item in content))
    ):
        raise InvalidInputError(
            f"expected {document.name} to be a list of messages, or an object with `messages`",
            hint='a message is {"role": "user", "content": "..."}; --format text takes the file '
            "as it is",
        )
    return content


class _NoTextError(InvalidInputError):
    """A file has no text in it."""


def _document(path: Path, name: str, form: Form) -> Document:
    with storage_errors(path), path.open("rb") as file:
        kind = os.fstat(file.fileno()).st_mode
        if stat.S_ISBLK(kind) or (stat.S_ISCHR(kind) and not file.isatty()):
            raise InvalidInputError(f"expected a file, a folder or a pipe, {path} is a device")
        content = _read(file, str(path))
    if form is Form.AUTO:
        form = {".jsonl": Form.JSONL, ".json": Form.CHAT}.get(path.suffix.lower(), Form.TEXT)
    return Document(name, _decoded(content, str(path)), form)


def _decoded(content: bytes, where: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _NoTextError(
            f"expected text in UTF-8, byte {error.start} of {where} is none",
            hint="convert it first, for example with iconv",
        ) from None
    if "\0" in text:
        raise _NoTextError(f"expected text, {where} has null characters")
    return text


def _lines(document: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of JSON lines, each with words for where it stands."""
    for number, line in enumerate(document.text.splitlines(), start=1):
        where = f"line {number} of {document.name}"
        if not line.strip():
            continue
        try:
            entry = read_json(line)
        except ValueError as error:
            raise InvalidInputError(f"expected JSON in {where}: {error}") from None
        if not isinstance(entry, dict):
            raise InvalidInputError(f"expected an object in {where}, got {line:.60}")
        yield where, entry


def _draft(entry: Mapping[str, Any], given: Draft, where: str) -> Draft:
    if entry.keys() >= {"role", "content"}:
        raise InvalidInputError(
            f"expected a record in {where}, got a message", hint="--format chat takes chat logs"
        )
    unknown = sorted(entry.keys() - _FIELDS)
    if unknown or "text" not in entry:
        lack = f"the unknown field {unknown[0]!r}" if unknown else "no `text`"
        raise InvalidInputError(
            f"expected a record in {where}, got {lack}",
            hint=f"the fields are {', '.join(sorted(_FIELDS))}; put others into `metadata`",
        )
    values = dict(entry)
    if isinstance(values.get("at"), str):
        try:
            values["at"] = moment(values["at"])
        except typer.BadParameter as error:
            raise InvalidInputError(f"`at` in {where}: {error.message}") from None
    metadata = {**given.metadata, **_object(values, "metadata", where)}
    scope = {**given.scope, **_object(values, "scope", where)}
    try:
        return validate_draft(replace(given, **{**values, "metadata": metadata, "scope": scope}))
    except MemkitError as error:
        raise InvalidInputError(f"{where}: {error.message}", error.hint) from error


def _object(values: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    value = values.get(name) or {}
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"expected `{name}` in {where} to be an object, got {shown(value)}")
    return value
