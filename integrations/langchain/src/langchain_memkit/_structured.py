"""Structured output: the schema for the memory, and the parser for what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.base import OutputParserLike
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel

from memkit import InvalidInputError

METHODS = ("json_schema", "function_calling", "json_mode")


def schema_of(schema: Mapping[str, Any] | type) -> dict[str, Any]:
    """Give the JSON schema of a Pydantic class, a TypedDict or a JSON schema.

    Raises:
        InvalidInputError: If it is none of these.
    """
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema.model_json_schema()  # LangChain's own resolves references, if it can
    if isinstance(schema, Mapping) and "title" not in schema and "type" in schema:
        return dict(schema)  # LangChain wants a title, for functions
    try:
        return convert_to_json_schema(schema)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"`schema` must be a Pydantic class, a TypedDict or a JSON schema, got {schema!r}: "
            f"{error}"
        ) from error


def response_schema(response_format: object) -> dict[str, Any] | None:
    """Give the schema in OpenAI's parameter of this name, as LangChain's agents hand it on.

    Raises:
        InvalidInputError: If it asks for something else than text or JSON with a schema.
    """
    if isinstance(response_format, Mapping):
        kind, described = response_format.get("type"), response_format.get("json_schema")
        if kind == "text":
            return None
        if kind == "json_object":
            return {"type": "object"}
        if kind == "json_schema" and isinstance(described, Mapping) and "schema" in described:
            return dict(described["schema"])
    raise InvalidInputError(
        "`response_format` must be like {'type': 'json_schema', 'json_schema': {'schema': ...}}, "
        f"got {response_format!r}"
    )


def text_parser(schema: Mapping[str, Any] | type) -> OutputParserLike[Any]:
    """Give what makes an object of the class, or a dict, of JSON in a message's text."""
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return PydanticOutputParser(pydantic_object=schema)
    return JsonOutputParser()


def call_parser(schema: Mapping[str, Any] | type) -> OutputParserLike[Any]:
    """Give what makes an object of the class, or a dict, of the arguments of a tool call."""
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return PydanticToolsParser(tools=[schema], first_tool_only=True)
    name = convert_to_openai_tool(schema)["function"]["name"]
    return JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)


def parsed(
    model: Runnable[Any, AIMessage], parser: OutputParserLike[Any], *, include_raw: bool
) -> Runnable[Any, Any]:
    """Put a parser behind a model.

    Args:
        model: Answers in the form that the parser reads.
        parser: Reads it.
        include_raw: Give a dict of ``raw``, the message, ``parsed`` and ``parsing_error``; the
            error is there instead of being raised.
    """
    if not include_raw:
        return model | parser
    whole = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=model) | whole.with_fallbacks([failed], exception_key="parsing_error")
