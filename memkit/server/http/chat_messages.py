"""Messages of a chat and tools, as OpenAI's endpoints take them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic import Strict as OfType

from memkit.types import Answer

# As JSON has them: the text "5" is no number, and 1 is not true.
Int = Annotated[int, OfType()]
Number = Annotated[float, OfType()]
Flag = Annotated[bool, OfType()]


class Strict(BaseModel):
    """Whatever is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class TextPart(Strict):
    """A part of a message; pictures, sounds and files are not understood."""

    type: Literal["text"]
    text: str


Content = str | Annotated[list[TextPart], Field(min_length=1)]


class ChatMessage(Strict):
    """A message that says something."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Content
    name: str | None = None
    refusal: None = None
    tool_calls: None = None

    @property
    def text(self) -> str:
        """What it says."""
        return _text(self.content)

    def plain(self) -> dict[str, Any]:
        """It, as `Memory.ask` takes it."""
        return {"role": self.role, "content": self.text}


class CalledFunction(Strict):
    """What is called, and with what."""

    name: str
    arguments: str = Field(description="A JSON object, as text.")


class Call(Strict):
    """A call of a tool."""

    id: str = Field(min_length=1)
    type: Literal["function"] = "function"
    function: CalledFunction


class CallingMessage(Strict):
    """A message of the assistant that calls tools."""

    role: Literal["assistant"]
    content: Content | None = None
    name: str | None = None
    refusal: None = None
    tool_calls: list[Call] = Field(min_length=1)

    @property
    def text(self) -> str:
        """What it says beside the calls."""
        return _text(self.content)

    def plain(self) -> dict[str, Any]:
        """It, as `Memory.ask` takes it."""
        calls = [call.model_dump() for call in self.tool_calls]
        return {"role": self.role, "content": self.text, "tool_calls": calls}


class ResultMessage(Strict):
    """What a tool gave."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str = Field(min_length=1, description="Of the call that it is the result of.")

    @property
    def text(self) -> str:
        """What it gave."""
        return _text(self.content)

    def plain(self) -> dict[str, Any]:
        """It, as `Memory.ask` takes it."""
        return {"role": self.role, "content": self.text, "tool_call_id": self.tool_call_id}


def _kind(message: Any) -> str:  # noqa: ANN401 - whatever a client has sent
    given = message if isinstance(message, dict) else getattr(message, "__dict__", {})
    if given.get("role") == "tool":
        return "tool_result"
    return "tool_calling" if given.get("tool_calls") else "saying"


AnyMessage = Annotated[
    Annotated[ChatMessage, Tag("saying")]
    | Annotated[CallingMessage, Tag("tool_calling")]
    | Annotated[ResultMessage, Tag("tool_result")],
    Discriminator(_kind),
]


class Function(Strict):
    """A function that the base model may call."""

    name: str = Field(pattern="^[A-Za-z0-9_-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = Field(None, description="A JSON schema; None for none.")
    strict: Flag | None = Field(None, description="Every call is strict.")


class Tool(Strict):
    """A tool; there are no others than functions."""

    type: Literal["function"]
    function: Function


class FunctionName(Strict):
    """Which function."""

    name: str


class NamedTool(Strict):
    """The tool that has to be called."""

    type: Literal["function"]
    function: FunctionName


ToolChoice = Literal["none", "auto", "required"] | NamedTool


def calls_of(answer: Answer) -> list[Call]:
    """The calls in an answer."""
    return [
        Call(id=call.id, function=CalledFunction(name=call.name, arguments=call.arguments))
        for call in answer.calls
    ]


def _text(content: Content | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text for part in content)
