"""What OpenAI's endpoints take and give, as far as a memory can mean it.

A parameter that a memory cannot follow is refused unless it has the one value that changes
nothing. Four parameters that are for a provider's bookkeeping are taken and not used.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from memkit.server.http.answer_options import How
from memkit.server.http.chat_messages import (
    AnyMessage,
    Call,
    ChatMessage,
    Flag,
    Int,
    NamedTool,
    Number,
    Strict,
    Tool,
    ToolChoice,
)
from memkit.text.question_form import states_something
from memkit.types import BUDGET, MIN_SCORE, PASSAGES, Sampling, TurnDraft

MEMKIT = "memkit"  # names the memory as a model, whatever its base model is called


class StreamOptions(Strict):
    """How an answer is streamed."""

    include_usage: Flag | None = None
    include_obfuscation: Literal[False] | None = None


class TextFormat(Strict):
    """Answers are text."""

    type: Literal["text"]


class NamedSchema(Strict):
    """A JSON schema; its name, its description and ``strict`` change nothing."""

    name: str = Field(pattern="^[A-Za-z0-9_-]{1,64}$")
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: Flag | None = Field(None, description="Every answer is strict.")


class JsonFormat(Strict):
    """Answers are JSON that fits a schema, because decoding allows nothing else."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


class MemoryOptions(Strict):
    """What OpenAI has no parameter for; in its Python client, ``extra_body={"memkit": {...}}``."""

    budget: Int = Field(BUDGET, ge=0, description="Most tokens of evidence in the prompt.")
    k: Int = Field(PASSAGES, ge=1, le=100, description="Most passages in the prompt.")
    strict: Flag = Field(False, description="Refuse an answer that nothing stored supports.")
    quote: Flag | None = Field(None, description="Answer questions in stored words.")
    min_score: Number | None = Field(
        MIN_SCORE, ge=0, allow_inf_nan=False, description="Least relevance of evidence."
    )


class ChatRequest(Strict):
    """A conversation that ends with what the user asks, or with what tools gave."""

    messages: list[AnyMessage] = Field(min_length=1)
    model: str = Field(description="The memory's base model, or 'memkit'.")
    stream: Flag | None = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: Int | None = Field(None, ge=1)
    max_tokens: Int | None = Field(None, ge=1, description="The old name of the same.")
    temperature: Number | None = Field(None, ge=0, le=2, description="0, the default, is greedy.")
    top_p: Number | None = Field(None, gt=0, le=1)
    seed: Int | None = Field(None, ge=0, lt=2**63)
    stop: (
        Annotated[str, Field(min_length=1)]
        | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=4)]
        | None
    ) = None
    response_format: Annotated[TextFormat | JsonFormat, Field(discriminator="type")] | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = Field(
        None, description="Functions that the base model may call instead of answering."
    )
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: Flag | None = Field(
        None, description="Whether an answer may have several calls; one by default."
    )
    store: Flag | None = Field(None, description="False: do not remember this exchange.")
    memkit: MemoryOptions = Field(default_factory=lambda: MemoryOptions.model_validate({}))

    # For a provider's bookkeeping; there is nothing that a memory could do with them.
    user: str | None = Field(None, description="Not used: the API key says who asks.")
    safety_identifier: str | None = Field(None, description="Not used.")
    prompt_cache_key: str | None = Field(None, description="Not used.")
    prompt_cache_retention: str | None = Field(None, description="Not used.")

    # Taken with the value that changes nothing, and refused with any other.
    n: Literal[1] | None = None
    frequency_penalty: Number | None = Field(None, ge=0, le=0)
    presence_penalty: Number | None = Field(None, ge=0, le=0)
    logprobs: Literal[False] | None = None
    top_logprobs: Literal[0] | None = None
    logit_bias: Annotated[dict[str, Number], Field(max_length=0)] | None = None
    modalities: list[Literal["text"]] | None = None
    service_tier: Literal["auto", "default"] | None = None

    @model_validator(mode="after")
    def _agree(self) -> ChatRequest:
        both = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(both) > 1:
            raise ValueError("`max_tokens` and `max_completion_tokens` differ")
        last = self.messages[-1]
        if last.role == "tool" and not self.tools:
            raise ValueError("where the last message is what a tool gave, `tools` has to be given")
        if last.role != "tool" and (last.role != "user" or not last.text.strip()):
            raise ValueError("the last message must be the user's, and say something")
        if self.stream_options is not None and not self.stream:
            raise ValueError("`stream_options` is for streams alone")
        return self

    @property
    def conversation(self) -> list[dict[str, Any]]:
        """The messages for `Memory.ask`."""
        return [message.plain() for message in self.messages]

    @property
    def said(self) -> TurnDraft | None:
        """The last message, if it is the user's; what they state in it becomes a record, too.

        Questions do not: they would be found in place of what answers them.
        """
        last = self.messages[-1]
        if not isinstance(last, ChatMessage):  # what the user has said was stored before the calls
            return None
        return TurnDraft("user", last.text, last.name, remember=states_something(last.text))

    def how(self) -> How:
        """How the answer is wanted; what is not said is left to memkit, whose default is greedy."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        usual = Sampling()
        sampling = Sampling(
            max_new_tokens=self.max_completion_tokens or self.max_tokens or usual.max_new_tokens,
            temperature=usual.temperature if self.temperature is None else self.temperature,
            top_p=usual.top_p if self.top_p is None else self.top_p,
            seed=usual.seed if self.seed is None else self.seed,
            stop=tuple(stop),
        )
        form = self.response_format
        schema = json.dumps(form.json_schema.schema_) if isinstance(form, JsonFormat) else None
        tools = [tool.model_dump(exclude_none=True) for tool in self.tools or ()]
        choice = self.tool_choice
        return How(
            **self.memkit.model_dump(),
            sampling=sampling,
            schema=schema,
            tools=json.dumps(tools) if tools else None,
            tool_choice=choice.function.name if isinstance(choice, NamedTool) else choice,
            parallel_tool_calls=self.parallel_tool_calls,
        )


class Usage(BaseModel):
    """How many tokens the model has read and written.

    A quotation is not written by the model: its prompt has no tokens, and its text as many as the
    model's tokenizer sees in it.
    """

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Contradiction(BaseModel):
    """What is stored, and contradicts an answer from the weights."""

    answered: str
    recorded: str
    source: str
    record_id: str | None
    version: int | None


class AboutAnswer(BaseModel):
    """Where an answer is from."""

    citations: list[str] = Field(description="Ids of the records that say the same.")
    modules: dict[str, float] = Field(description="The adapters that were active, with weights.")
    quoted: bool = Field(description="Whether it is in stored words.")
    withheld: str | None = Field(description="Why a strict answer was refused.")
    conflict: Contradiction | None
    remembered: bool = Field(description="Whether question and answer were stored.")


FinishReason = Literal["stop", "length", "tool_calls"]


class ReplyMessage(BaseModel):
    """What the memory says."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: str | None = None


class CallingReply(ReplyMessage):
    """What the memory says, and the tools that are to be called."""

    tool_calls: list[Call]


class Choice(BaseModel):
    """The one answer."""

    index: Literal[0] = 0
    message: CallingReply | ReplyMessage
    finish_reason: FinishReason
    logprobs: None = None


class ChatCompletion(BaseModel):
    """An answer, as OpenAI gives it; ``memkit`` says where it is from."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    memkit: AboutAnswer


class Model(BaseModel):
    """A model that can be named in requests."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["memkit"] = "memkit"


class ModelList(BaseModel):
    """All of them."""

    object: Literal["list"] = "list"
    data: list[Model]


class EmbeddingRequest(Strict):
    """Texts to be embedded."""

    input: str | Annotated[list[str], Field(min_length=1)]
    model: str = Field(description="The memory's embedder, or 'memkit'.")
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Int | None = Field(None, ge=1, description="The embedder's own, or left out.")
    input_type: Literal["query", "document"] | None = Field(
        None, description="What the texts are to the embedder; a document by default."
    )
    user: str | None = Field(None, description="Not used: the API key says who asks.")

    @property
    def texts(self) -> list[str]:
        """The texts."""
        return [self.input] if isinstance(self.input, str) else self.input


class Embedding(BaseModel):
    """A unit vector; in base64 its numbers are float32, little-endian."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """How many tokens the texts have."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """The vectors of the texts, in their order."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
