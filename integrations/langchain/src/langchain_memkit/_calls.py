"""Calls of tools, between LangChain's messages and OpenAI's format, which memkit reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.messages.tool import ToolCall, ToolCallChunk, tool_call, tool_call_chunk
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from langchain_memkit.messages import conversation_of
from memkit import Answer, InvalidInputError

Tool = dict[str, Any] | type | Callable[..., Any] | BaseTool


def described(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Describe tools in OpenAI's format.

    Raises:
        InvalidInputError: If one of them is none.
    """
    try:
        return [convert_to_openai_tool(tool) for tool in tools]
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"`tools` must be tools of LangChain, got {error}") from error


def chosen(tool_choice: object) -> object:
    """Give what memkit calls a choice of tools: LangChain also takes a bool."""
    if isinstance(tool_choice, bool):
        return "any" if tool_choice else "none"
    return tool_choice


def with_calls(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Give a conversation with the calls of tools in it, and what they gave."""
    conversation: list[dict[str, Any]] = []
    for message, said in zip(messages, conversation_of(messages), strict=True):
        about: dict[str, Any] = dict(said)
        if isinstance(message, AIMessage) and message.tool_calls:
            about["tool_calls"] = [_openai(call) for call in message.tool_calls]
        if isinstance(message, ToolMessage):
            about["tool_call_id"] = message.tool_call_id
            about |= {"name": message.name} if message.name else {}
        conversation.append(about)
    return conversation


def calls_of(answer: Answer) -> list[ToolCall]:
    """Give the calls of an answer as LangChain has them in whole messages."""
    return [
        tool_call(name=call.name, args=json.loads(call.arguments), id=call.id)
        for call in answer.calls
    ]


def chunks_of(answer: Answer) -> list[ToolCallChunk]:
    """Give the calls of an answer as LangChain has them in streamed messages."""
    return [
        tool_call_chunk(name=call.name, args=call.arguments, id=call.id, index=place)
        for place, call in enumerate(answer.calls)
    ]


def _openai(call: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": json.dumps(call["args"])}
    return {"id": call["id"] or "", "type": "function", "function": function}
