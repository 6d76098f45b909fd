"""Conversations in which tools are called, by the chat template of a model that was trained so.

How a model writes a call is nowhere said: each family has its own way. But its template writes
the calls of earlier messages, in the way in which the model learned to. So it is shown calls of
made-up tools, and what it writes around their names and arguments is how this model calls.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from transformers import PreTrainedTokenizerBase

from memkit.errors import IncompatibleModelError
from memkit.models.chat_template import ChatFormat
from memkit.models.template_layout import placeholder, slots_of
from memkit.text.quoting import without_control_tokens
from memkit.types import ChatTurn, Prompt, ToolCall

_ANOTHER = "use a model whose chat template knows tools, or set `chat_template` of its tokenizer"
_NAMES = ("first_made_up_tool", "second_made_up_tool")
_IDS = ("q7Wk2Zr9A", "t4Lm8Xc3B")  # of nine letters and digits, as Mistral's templates want
_ID_LENGTH = 9
_TAG = re.compile(r"<[^\s<>]+>|\[[A-Z_]+\]")
_ARGUMENTS = re.compile(r'\{\s*"made_up_key"\s*:\s*"made_up_value"\s*\}')


@dataclass(frozen=True)
class CallFormat:
    """How a model writes calls, as texts around their names and arguments.

    Attributes:
        opening: Before the name in the first call.
        middle: Between a name and its arguments.
        between: Between the arguments in a call and the name in the next; None if the template
            shows one call only.
        closing: Behind the arguments in the last call. `ID` stands for the call's id.
    """

    opening: str
    middle: str
    between: str | None
    closing: str

    ID = "\ue002"  # a private-use character

    @property
    def marker(self) -> str:
        """The tag that a call begins with, which no other text has; empty if there is none."""
        match = _TAG.match(self.opening)
        return match.group() if match else ""

    def read(self, text: str, name_of: Callable[[int], str]) -> tuple[str, tuple[ToolCall, ...]]:
        """What an answer says, and the calls behind it.

        Args:
            text: The whole answer, special tokens included.
            name_of: Gives the id of a call, of its number.
        """
        said, marker, _ = text.partition(self.marker) if self.marker else ("", "", "")
        calls = self._calls(text[len(said) :], name_of) if marker or not self.marker else None
        return (text.strip(), ()) if calls is None else (said.strip(), tuple(calls))

    def _calls(self, text: str, name_of: Callable[[int], str]) -> list[ToolCall] | None:
        """The calls that a text is; None if it is none."""
        calls: list[ToolCall] = []
        before: str | None = self.opening
        while before is not None and (rest := _after(before, text)) is not None:
            name, found, text = rest.partition(self.middle)
            try:
                arguments, end = json.JSONDecoder().raw_decode(text)
            except ValueError:
                return None
            if not found or not isinstance(arguments, dict):
                return None
            given = json.dumps(arguments, ensure_ascii=False)
            calls.append(ToolCall(name, given, name_of(len(calls))))
            text, before = text[end:], self.between
            if _after(self.closing, text) == "":
                return calls
        return None


class ToolTemplate:
    """Renders conversations with tools for one tokenizer, and reads the calls in answers.

    Args:
        chat: Renders conversations without tools.
        tokenizer: The tokenizer.
    """

    def __init__(self, chat: ChatFormat, tokenizer: PreTrainedTokenizerBase) -> None:
        self._chat = chat
        self._tokenizer: Any = tokenizer
        self._end = str(self._tokenizer.convert_ids_to_tokens(chat.end_id))

    def read(self, prompt: Prompt, ids: Sequence[int]) -> tuple[str, tuple[ToolCall, ...]]:
        """What an answer says, and the calls behind it.

        Args:
            prompt: What it answers: calls of different answers have different ids.
            ids: Its tokens.
        """
        kept = ids[:-1] if ids and ids[-1] == self._chat.end_id else ids
        text = self._tokenizer.decode(
            kept, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        seed = json.dumps([prompt.prefix, prompt.question])
        return self.calls.read(
            text, lambda number: hashlib.sha256(f"{number}{seed}".encode()).hexdigest()[:_ID_LENGTH]
        )

    def prompt(
        self, turns: Sequence[ChatTurn], *, system: str | None, tools: Sequence[str]
    ) -> Prompt:
        """Render and tokenize a conversation; the answer follows its last message.

        Args:
            turns: From the user, the assistant and tools. The question begins with the user's
                last message.
            system: System message, evidence included; None for the model's default.
            tools: Functions, as JSON.

        Raises:
            IncompatibleModelError: If the template knows no tools, or refuses the conversation.
        """
        self.calls  # noqa: B018 - refuses a template that knows no tools
        said = [*([ChatTurn("system", system)] if system else []), *turns]
        asked = max(place for place, turn in enumerate(said) if turn.role == "user")
        functions = [self._plain(function) for function in tools]
        described = [{"type": "function", "function": json.loads(each)} for each in functions]
        contents: list[tuple[str, str]] = [(turn.role, turn.content) for turn in said]
        wanted = {place for place, turn in enumerate(said) if turn.content}
        error: IncompatibleModelError | None = None
        for messages in (self._messages(said), self._messages(said, joined=True)):
            try:
                pieces = self._chat.split(self._chat.rendered(messages, described), wanted)
            except IncompatibleModelError as refused:
                error = error or refused
                continue
            if set(slots_of(pieces)) == wanted:
                return self._chat.laid_out(pieces, contents, asked)
        raise error or IncompatibleModelError(
            "expected a chat template that shows all messages of a conversation with tools, got "
            "one that drops some",
            hint=_ANOTHER,
        )

    @cached_property
    def calls(self) -> CallFormat:
        """How the model writes calls.

        Raises:
            IncompatibleModelError: If its template knows no tools, or writes their arguments in
                another form than JSON.
        """
        start = self._shown(0, answer_follows=True)
        one, two = self._shown(1), self._shown(2)
        if not start or not one.startswith(start) or _NAMES[0] not in one[len(start) :]:
            raise _unknown("knows no tools")
        parts = _parts(one[len(start) :].split(self._end)[0], 1)
        if parts is None:
            raise _unknown("writes calls in another form than a name and a JSON object")
        opening, middle, closing = parts
        several = _parts(two[len(start) :].split(self._end)[0], 2) if two else None
        between = None
        if several is not None and several[:2] == [opening, middle] == [several[0], several[3]]:
            between = several[2]
        return CallFormat(opening, middle, between, closing)

    def _shown(self, calls: int, *, answer_follows: bool = False) -> str:
        """What the template writes of so many calls; nothing if it refuses them."""
        messages: list[dict[str, Any]] = [{"role": "user", "content": "Go."}]
        names = list(zip(_NAMES, _IDS, strict=True))[:calls]
        if calls:
            given = {"made_up_key": "made_up_value"}
            called = [_call(name, given, id) for name, id in names]
            messages.append({"role": "assistant", "content": "", "tool_calls": called})
        tools = [
            {
                "type": "function",
                "function": {
                    "name": name,
                    "description": "Made up.",
                    "parameters": {
                        "type": "object",
                        "properties": {"made_up_key": {"type": "string"}},
                        "required": ["made_up_key"],
                    },
                },
            }
            for name in _NAMES
        ]
        try:
            return self._chat.rendered(
                messages, tools, answer_follows=answer_follows, at_once=False
            )
        except IncompatibleModelError:
            return ""

    def _messages(self, said: Sequence[ChatTurn], *, joined: bool = False) -> list[dict[str, Any]]:
        """Messages for the template, with placeholders for what is said.

        Args:
            said: All of them.
            joined: Put what the system says before what the user says first, as some templates
                have no place for it.
        """
        names = {call.id: call.name for turn in said for call in turn.calls}
        ids = {id: id if _fits(id) else f"call{place:05}" for place, id in enumerate(names)}
        messages: list[dict[str, Any]] = []
        for place, turn in enumerate(said):
            message: dict[str, Any] = {
                "role": turn.role,
                "content": placeholder(place) if turn.content else "",
            }
            if turn.calls:
                message["tool_calls"] = [
                    _call(call.name, json.loads(self._plain(call.arguments)), ids[call.id])
                    for call in turn.calls
                ]
            if turn.role == "tool" and turn.call_id is not None:
                message["tool_call_id"] = ids[turn.call_id]
                message["name"] = turn.name or names[turn.call_id]
            messages.append(message)
        if joined and messages[0]["role"] == "system" and len(messages) > 1:
            system = messages.pop(0)
            messages[0]["content"] = f"{system['content']}\n\n{messages[0]['content']}"
        return messages

    def _plain(self, text: str) -> str:
        """A JSON text that spells none of the model's special tokens."""
        return without_control_tokens(text, self._chat.special_tokens)


def _call(name: str, arguments: dict[str, Any], id: str) -> dict[str, Any]:
    return {"type": "function", "id": id, "function": {"name": name, "arguments": arguments}}


def _fits(id: str) -> bool:
    return len(id) == _ID_LENGTH and id.isascii() and id.isalnum()


def _parts(text: str, calls: int) -> list[str] | None:
    """The texts around the names and arguments of so many calls; None if they are not there."""
    for id in _IDS:
        text = text.replace(id, CallFormat.ID)
    parts: list[str] = []
    for name in _NAMES[:calls]:
        before, found, text = text.partition(name)
        match = _ARGUMENTS.search(text)
        if not found or match is None:
            return None
        parts += [before, text[: match.start()]]
        text = text[match.end() :]
    # The template's own line break behind the answer, which the model does not write.
    return [*parts, text]


def _after(expected: str, text: str) -> str | None:
    """What stands behind an expected text; None if it does not begin so."""
    pattern = re.escape(expected).replace(re.escape(CallFormat.ID), f"[0-9A-Za-z]{{{_ID_LENGTH}}}")
    match = re.match(pattern, text)
    return None if match is None else text[match.end() :]


def _unknown(why: str) -> IncompatibleModelError:
    return IncompatibleModelError(
        f"expected a chat template with which tools can be called, got one that {why}",
        hint=_ANOTHER,
    )
