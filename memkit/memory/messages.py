"""Reads messages in OpenAI's format: of chat logs, and of conversations that are answered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from memkit.answering.prompt import without_label
from memkit.errors import InvalidInputError
from memkit.text.quoting import quoted
from memkit.text.small_talk import is_small_talk
from memkit.types import Role
from memkit.types.roles import role_of
from memkit.types.validate import check_characters, describe, normal_form

_TEXTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
# What stands for a part that is no text; by the word that its type has in it.
_PLACEHOLDERS = {
    "image": "[image]",
    "audio": "[audio]",
    "video": "[video]",
    "file": "[file]",
    "document": "[file]",
}


@dataclass(frozen=True)
class Message:
    """A message that says something.

    Attributes:
        role: Who speaks.
        content: Its text.
        name: Of the speaker, or None.
        id: As the log gives it, or None.
        source: Digest by which the message is known again: of its id or, without one, of what it
            says and how often that was said before; small talk also of what stands before it.
    """

    role: Role
    content: str
    name: str | None
    id: str | None
    source: str


def read_messages(
    messages: Sequence[Mapping[str, Any]], *, after: Collection[str] = ()
) -> list[Message]:
    """Read the messages that say something; calls of tools do not.

    Args:
        messages: In order.
        after: Digests of messages that came before; none of them is given again.

    Raises:
        InvalidInputError: If it is no list of messages, or one of them is malformed.
    """
    if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence):
        raise InvalidInputError(f"`messages` must be a list of messages, got {describe(messages)}")
    latest: dict[tuple[str, ...], str] = {}
    read: list[Message] = []
    for place, message in enumerate(messages):
        role, content = role_and_content(place, message)
        name, id = (_string(place, message, part) for part in ("name", "id"))
        if not content.strip():
            continue
        mark: tuple[str, ...] = ("id", id) if id else (role, name or "", content)
        if not id and is_small_talk(content):  # "yes" is another one after another question
            mark = (*mark, read[-1].source if read else "")
        source = again(latest[mark]) if mark in latest and not id else _digest(*mark)
        while source in after and not id:
            source = again(source)
        latest[mark] = source
        read.append(Message(role, content, name, id, source))
    return read


def again(source: str) -> str:
    """Digest of a message that says once more what one of this digest has said."""
    return _digest("again", source)


def _digest(*mark: str) -> str:
    return hashlib.sha256(json.dumps(mark).encode()).hexdigest()


def without_recalled(
    content: str, headings: Collection[str], known: Callable[[str], Sequence[str]]
) -> str:
    """Take the evidence out of a message that memkit has recalled into it.

    A block of evidence begins with its heading, and at least one of its items is known. The
    heading and what is known are taken out; whatever else stands there was said by somebody.

    Args:
        content: Of the message.
        headings: Lines that a block begins with.
        known: Gives the texts that memkit holds and that contain a line.
    """
    lines, others = content.split("\n"), []
    place = 0
    while place < len(lines):
        unknown, end = lines[place : place + 1], place + 1
        if lines[place].strip() in headings:
            unknown, end = _block(lines, place, headings, known)
        others += unknown
        place = end
    return "\n".join(others).strip() if len(others) < len(lines) else content


def _block(
    lines: Sequence[str],
    start: int,
    headings: Collection[str],
    known: Callable[[str], Sequence[str]],
) -> tuple[list[str], int]:
    """What is not known of a block that starts with a heading, and where the block ends.

    That is the heading alone if nothing below it is known.
    """
    unknown: list[str] = []
    place, recognised, within_unknown = start + 1, False, False
    while place < len(lines):
        line = lines[place]
        item = _item(line)
        if line.strip() in headings or not (item or within_unknown or not line.strip()):
            break
        end = _known_end(lines, place, item, known) if item else place
        if end > place:
            recognised, within_unknown, place = True, False, end
            continue
        within_unknown = bool(line.strip())
        unknown += [line] if within_unknown or unknown else []
        place += 1
    return (unknown, place) if recognised else ([lines[start]], start + 1)


def _known_end(
    lines: Sequence[str], start: int, item: str, known: Callable[[str], Sequence[str]]
) -> int:
    """Where a known item that starts at a line ends; at its start if it is not known."""
    texts, end = known(item), start
    while texts:
        end += 1
        if end == len(lines):
            break
        item += "\n" + lines[end]
        texts = [text for text in texts if item.rstrip() in text]
    return end


def _item(line: str) -> str:
    """What a line of evidence says; empty if it is none."""
    if line.startswith("- "):
        return quoted(without_label(line[2:]))
    role, colon, content = line.partition(": ")
    return quoted(without_label(content)) if colon and role in get_args(Role) else ""


def role_and_content(place: int, message: Mapping[str, Any]) -> tuple[Role, str]:
    """Who speaks in a message, and what is said; pictures and the like are named: "[image]".

    Args:
        place: Of the message in its list, for errors.
        message: As OpenAI has it.

    Raises:
        InvalidInputError: If it is malformed.
    """
    if not isinstance(message, Mapping):
        raise InvalidInputError(
            f"message {place} must be a mapping, got {describe(message)}",
            'Like {"role": "user", "content": "..."}; of an object of the OpenAI SDK, give its '
            "`model_dump()`.",
        )
    role = role_of(message.get("role"), f" in message {place}")
    return role, check_characters("content", _content(place, message))


def _content(place: int, message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return normal_form(content or "")
    if not isinstance(content, list | tuple):
        raise InvalidInputError(
            f"the content of message {place} must be a string or a list of parts, "
            f"got {describe(content)}"
        )
    texts = []
    for part in content:
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            raise InvalidInputError(
                f"a content part of message {place} must have a `type`, got {describe(part)}"
            )
        kind = part["type"]
        if kind in _TEXTS:
            text = part.get(_TEXTS[kind])
            if not isinstance(text, str):
                raise InvalidInputError(
                    f"a text of message {place} must be a string, got {describe(text)}"
                )
            texts.append(text)
        else:
            texts += [mark for word, mark in _PLACEHOLDERS.items() if word in kind][:1]
    return normal_form("\n".join(texts))


def _string(place: int, message: Mapping[str, Any], part: str) -> str | None:
    value = message.get(part)
    if value is not None and not isinstance(value, str):
        raise InvalidInputError(
            f"the {part} of message {place} must be a string, got {describe(value)}"
        )
    return normal_form(value) if value else None
