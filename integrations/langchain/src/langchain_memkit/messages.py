"""LangChain messages as memkit's, which are text with a role."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from langchain_core.messages import BaseMessage, ChatMessage

from memkit import InvalidInputError
from memkit.types import Role

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "human": "user",
    "user": "user",
    "ai": "assistant",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
# Types of content blocks, as LangChain and the providers name them, and where their text is.
_TEXTS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "text-plain": "text",
    "refusal": "refusal",
}
# The types that show or play something, and what it is.
_MEDIA = {
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "audio": "audio",
    "input_audio": "audio",
    "video": "video",
    "video_url": "video",
    "document": "file",
    "file": "file",
    "input_file": "file",
    "media": "file",
    "text-plain": "file",
}


def conversation_of(messages: Sequence[BaseMessage]) -> list[dict[str, str]]:
    """Give roles and texts, as `memkit.Memory.ask` takes them.

    Raises:
        InvalidInputError: If a message holds an image or the like, which the base model cannot
            see, or memkit has no role for it.
    """
    return [{"role": role_of(message), "content": _seen_in(message)} for message in messages]


def role_of(message: BaseMessage) -> Role:
    """Give memkit's role for the author of a message.

    Raises:
        InvalidInputError: If memkit has none.
    """
    role = known_role(message)
    if role is None:
        of_role = f" of the role {message.role!r}" if isinstance(message, ChatMessage) else ""
        raise InvalidInputError(
            f"expected a system, human, AI or tool message, got {type(message).__name__}{of_role}",
            hint=f"roles of a ChatMessage are {sorted(_ROLES)}",
        )
    return role


def known_role(message: BaseMessage) -> Role | None:
    """Give memkit's role for the author of a message, or None."""
    if isinstance(message, ChatMessage):
        return _ROLES.get(message.role)
    return _ROLES.get(message.type.removesuffix("MessageChunk").lower())  # chunks of a stream


def words_of(message: BaseMessage) -> str:
    """Give the text of a message; what it shows, plays or calls is left out."""
    return "".join(text for kind, text in _parts(message) if kind == "text")


def said_in(message: BaseMessage) -> str:
    """Give the text of a message, with "[image]" and the like in lines of their own."""
    lines: list[str] = []
    after_text = False
    for kind, text in _parts(message):
        if kind == "text" and after_text:
            lines[-1] += text
        else:
            lines.append(text if kind == "text" else f"[{kind}]")
        after_text = kind == "text"
    return "\n".join(lines)


def _seen_in(message: BaseMessage) -> str:
    kinds = sorted({kind for kind, _ in _parts(message)} - {"text"})
    if kinds:
        raise InvalidInputError(
            f"expected a message of text, got one with {kinds}",
            hint="the base model reads text alone; leave the rest out, or describe it",
        )
    return words_of(message)


def _parts(message: BaseMessage) -> Iterator[tuple[str, str]]:
    """What a message says, in order: "text" and the text, or another kind and nothing.

    Thoughts and calls of tools are not said. Of blocks of other types only the user's count:
    those of models are about how they got to their answer.
    """
    blocks = message.content if isinstance(message.content, list) else [message.content]
    for block in blocks:
        if isinstance(block, str):
            yield "text", block
            continue
        type_ = str(block.get("type"))
        text = block.get(_TEXTS.get(type_, ""))
        if isinstance(text, str):
            yield "text", text
        elif type_ in _MEDIA:
            yield _MEDIA[type_], ""
        elif known_role(message) == "user" and type_ not in _TEXTS:
            yield type_, ""
