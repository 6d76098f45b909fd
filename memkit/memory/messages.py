"""Reads chat logs in OpenAI's format."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memkit.answering.prompt import without_label
from memkit.errors import InvalidInputError
from memkit.text.quoting import quoted
from memkit.types import Role
from memkit.types.validate import normal_form

INSTRUCTIONS = ("system", "developer")
_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_TEXTS = ("text", "input_text", "output_text")  # types of content parts


@dataclass(frozen=True)
class Message:
    """A message that says something.

    Attributes:
        role: Who speaks.
        content: Its text.
        name: Of the speaker, or None.
        id: As the log gives it, or None.
        source: Digest by which the message is known again.
    """

    role: Role
    content: str
    name: str | None
    id: str | None
    source: str


def read_messages(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Read the messages that say something; calls of tools, pictures and sounds do not.

    Raises:
        InvalidInputError: If it is no list of messages, or one of them is malformed.
    """
    if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence):
        raise InvalidInputError(f"`messages` must be a list of messages, got {messages!r}")
    repeats: Counter[tuple[str, ...]] = Counter()
    read = []
    for place, message in enumerate(messages):
        role, content = _role(place, message), _content(place, message)
        name, id = (_string(place, message, part) for part in ("name", "id"))
        if not content.strip():
            continue
        spoken = (role, name or "", content)
        repeats[spoken] += 1
        mark = ["id", id] if id else [*spoken, str(repeats[spoken])]
        source = hashlib.sha256(json.dumps(mark).encode()).hexdigest()
        read.append(Message(role, content, name, id, source))
    return read


def without_recalled(
    content: str, headings: Collection[str], known: Callable[[str], Sequence[str]]
) -> str:
    """Take the evidence out of a message that memkit has recalled into it.

    A block of evidence begins with its heading, and at least one of its lines is known. It ends
    before the first paragraph that is part of nothing known.

    Args:
        content: Of the message.
        headings: Lines that a block begins with.
        known: Gives the texts that memkit holds and that contain a line.
    """
    lines, others = content.split("\n"), []
    place = 0
    while place < len(lines):
        end = _block_end(lines, place, known) if lines[place].strip() in headings else place
        if end == place:
            others.append(lines[place])
            end += 1
        place = end
    return "\n".join(others).strip() if len(others) < len(lines) else content


def _block_end(lines: Sequence[str], start: int, known: Callable[[str], Sequence[str]]) -> int:
    """Where a block that starts with a heading ends; at its start if none of it is known."""
    place, recognised = start + 1, False
    while place < len(lines):
        while place < len(lines) and not lines[place].strip():
            place += 1
        if place == len(lines) or not (item := _item(lines[place])):
            break
        texts = known(item)
        recognised = recognised or bool(texts)
        place += 1
        while place < len(lines) and _goes_on(item, lines[place], texts):
            item += "\n" + lines[place]
            place += 1
    return place if recognised else start


def _item(line: str) -> str:
    """What a line of evidence says; empty if it is none."""
    if line.startswith("- "):
        return quoted(without_label(line[2:]))
    role, colon, content = line.partition(": ")
    return quoted(without_label(content)) if colon and role in _ROLES else ""


def _goes_on(item: str, line: str, texts: Sequence[str]) -> bool:
    if texts:
        return any(f"{item}\n{line}".rstrip() in text for text in texts)
    return bool(line.strip()) and not _item(line)


def _role(place: int, message: Mapping[str, Any]) -> Role:
    if not isinstance(message, Mapping):
        raise InvalidInputError(
            f"message {place} must be a mapping, got {message!r}",
            "Of an object of the OpenAI SDK, give its `model_dump()`.",
        )
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise InvalidInputError(
            f"the role of message {place} must be one of {tuple(_ROLES)}, got {role!r}"
        )
    return _ROLES[role]


def _content(place: int, message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return normal_form(content or "")
    if not isinstance(content, list | tuple):
        raise InvalidInputError(
            f"the content of message {place} must be a string or a list of parts, got {content!r}"
        )
    texts = []
    for part in content:
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            raise InvalidInputError(
                f"a content part of message {place} must have a `type`, got {part!r}"
            )
        if part["type"] in _TEXTS:
            text = part.get("text")
            if not isinstance(text, str):
                raise InvalidInputError(f"a text of message {place} must be a string, got {text!r}")
            texts.append(text)
    return normal_form("\n".join(texts))


def _string(place: int, message: Mapping[str, Any], part: str) -> str | None:
    value = message.get(part)
    if value is not None and not isinstance(value, str):
        raise InvalidInputError(f"the {part} of message {place} must be a string, got {value!r}")
    return normal_form(value) if value else None
