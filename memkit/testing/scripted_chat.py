"""A chat model that says what it is told to: stands for a hosted one in tests and examples."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from memkit.errors import InvalidInputError
from memkit.types import Message

Reply = str | Mapping[str, Any] | Callable[[Sequence[Message]], str]


class ScriptedChat:
    """Answers call by call from a script, in OpenAI's format.

    Args:
        script: For each call a text; a dict, which is a call of a tool: its name and its
            arguments; or a function of the messages that gives a text.

    Attributes:
        calls: The messages of each call so far.

    Example:
        >>> chat = ScriptedChat([{"look_up": {"word": "SLA"}}, "Four hours."])
        >>> chat([{"role": "user", "content": "What is our SLA?"}])["tool_calls"][0]["function"]
        {'name': 'look_up', 'arguments': '{"word": "SLA"}'}
        >>> chat([{"role": "user", "content": "What is our SLA?"}])["content"]
        'Four hours.'
    """

    def __init__(self, script: Iterable[Reply]) -> None:
        self._script = list(script)
        self.calls: list[list[Message]] = []

    def __call__(self, messages: Sequence[Message]) -> dict[str, Any]:
        """Give the next message of the assistant.

        Raises:
            InvalidInputError: If the script is at its end.
        """
        self.calls.append(list(messages))
        number = len(self.calls)
        if number > len(self._script):
            raise InvalidInputError(
                f"the script has {len(self._script)} replies, got another call of the chat model",
                "Give it a reply for each call.",
            )
        reply = self._script[number - 1]
        if isinstance(reply, Mapping):
            return {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": f"call-{number}-{place}",
                        "type": "function",
                        "function": {"name": name, "arguments": json.dumps(arguments)},
                    }
                    for place, (name, arguments) in enumerate(reply.items())
                ],
            }
        text = reply if isinstance(reply, str) else reply(messages)
        return {"role": "assistant", "content": text}
