"""A chat model that answers from a memory: the local base model with routed adapters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from typing import Any, Literal

from langchain_core.caches import BaseCache
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from pydantic import BaseModel, ConfigDict, Field, model_validator

from langchain_memkit._batch import BATCH, Batch, Conversation, shared
from langchain_memkit._calls import calls_of, chosen, chunks_of, described, with_calls
from langchain_memkit._structured import (
    METHODS,
    call_parser,
    parsed,
    response_schema,
    schema_of,
    text_parser,
)
from langchain_memkit.open_memory import OpenMemory
from memkit import Answer, AsyncMemory, InvalidInputError
from memkit.types import BUDGET, PASSAGES, Combine, Sampling

# Standard parameters of chat models that have no meaning for a model in this process.
_ELSEWHERE = {"api_key", "max_retries", "timeout"}
# Parameters of the class that a call may have, too.
_OWN = {
    "as_of",
    "budget",
    "combine",
    "k",
    "max_tokens",
    "modules",
    "quote",
    "scope",
    "seed",
    "since",
    "strict",
    "temperature",
    "top_p",
    "until",
    "where",
}
# What `bind_tools`, `with_structured_output` and LangChain's agents bind.
_TOOLS = {"parallel_tool_calls", "tool_choice", "tools"}
_SCHEMAS = {"response_format", "schema"}
_FOR_TRACES = {"ls_structured_output_format", "stream"}


class ChatMemkit(BaseChatModel):
    """The local base model of a `memkit.Memory`, answering from what the memory holds.

    Every call recalls evidence for the last message: text goes into the system message, within
    ``budget``, and the adapters that hold the answer become active. System messages and the
    history are respected. `batch` answers up to ``batch_size`` conversations as one batch, each
    with its own adapters.

    ``response_metadata`` holds ``model_name``, ``route`` (weights of the adapters, and why),
    ``citations`` (ids of the records behind the answer), ``conflict`` (what contradicts the
    answer, with the fields of `memkit.types.Conflict`) and ``withheld`` (why a strict answer is
    empty); the last two are None in most answers.

    Each of the parameters from ``scope`` to ``seed`` can also be given with a call, or bound:
    ``model.bind(scope={"user": "ann"})``. `with_structured_output` gives answers that fit a schema,
    `bind_tools` lets base models call tools whose chat template knows them. Answers are not
    cached, even if LangChain has a cache for all models: a memory changes, and forgets.

    Attributes:
        memory: Open, and closed by its owner.
        scope: Only what this scope may see; see `memkit.Memory`.
        where: Only records that pass this metadata filter.
        since: Only what was said at this moment or later; with a time zone, as the others.
        until: Only what was said before this moment.
        as_of: Records as they were at this moment; answered without adapters, as weights have no
            past.
        budget: Most tokens of evidence in the prompt; 0 answers from the weights alone.
        k: At most this many records as evidence.
        modules: Use these adapters instead of the routed ones; an empty list for none.
        combine: How several modules answer: "rows", "mix" or "confident"; see `memkit.Memory.ask`.
        strict: Withhold an answer that neither the memory nor the conversation supports.
        quote: Answer questions in stored words; None to go by the base model. What is quoted is
            not cut, whatever `max_tokens` and `stop` say.
        max_tokens: Upper bound on the length of an answer that the model words.
        temperature: 0 is greedy.
        top_p: Nucleus size.
        seed: Of the draw when ``temperature > 0``.
        stop: Texts that end the answer; those of a call take their place.
        batch_size: How many conversations `batch` answers at once.
        streaming: Stream also where a whole answer is asked for.

    Example:
        model = ChatMemkit(memory=Memory.open("agent.mem"), scope={"user": "ann"})
        model.invoke("Which badge does the night porter have?").content
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    memory: OpenMemory = Field(repr=False)
    scope: dict[str, str] = Field(default_factory=dict)
    where: dict[str, Any] | None = None
    since: datetime | None = None
    until: datetime | None = None
    as_of: datetime | None = None
    budget: int = BUDGET
    k: int = PASSAGES
    modules: list[str] | None = None
    combine: Combine = "rows"
    strict: bool = False
    quote: bool | None = None
    max_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: list[str] | None = None
    batch_size: int = Field(default=8, ge=1)
    streaming: bool = False
    cache: BaseCache | bool | None = Field(default=False, exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_what_is_for_servers(cls, values: Any) -> Any:  # noqa: ANN401 - pydantic's
        if not isinstance(values, Mapping):
            return values
        return {name: value for name, value in values.items() if name not in _ELSEWHERE}

    @property
    def model_name(self) -> str:
        """Name of the memory's base model."""
        return self.memory.model_name

    def get_num_tokens(self, text: str) -> int:
        """Count tokens as the memory does, by default with the base model's tokenizer."""
        return self.memory.count_tokens(text)

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Answer several conversations, ``batch_size`` of them at once."""
        with shared(self._batch_of(inputs, **kwargs)):
            return super().batch(inputs, config, return_exceptions=return_exceptions, **kwargs)

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Like `batch`; the event loop runs on."""
        with shared(self._batch_of(inputs, **kwargs)):
            return await super().abatch(
                inputs, config, return_exceptions=return_exceptions, **kwargs
            )

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        strict: bool | None = None,  # noqa: ARG002 - every call is strict
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let the model call tools, as its chat template shows them to it.

        Needs ``pip install 'memkit-sdk[structured]'``. Decoding lets through only calls of these
        tools, with arguments that fit their schemas; a call that `max_tokens` cuts off raises
        `memkit.errors.IncompleteAnswerError`. A base model whose chat template knows no tools is
        refused, with a `memkit.errors.IncompatibleModelError`, when it is called.

        Args:
            tools: Anything that LangChain takes for a tool.
            tool_choice: "auto", which is the default, "none", "any" or "required" for at least
                one call, or the name of the tool to call. True means "any".
            strict: For compatibility; a call fits its schema in any case. To withhold answers
                that nothing supports, say so to the model: ``ChatMemkit(strict=True)``, or
                ``bind(strict=True)`` before.
            **kwargs: Parameters of the call; with ``parallel_tool_calls=True`` an answer may have
                several calls.

        Raises:
            InvalidInputError: If one of the tools is none.
        """
        if not tools:  # an agent without tools, which may have a `response_format`
            return self.bind(**kwargs)
        return self.bind(tools=described(tools), tool_choice=chosen(tool_choice), **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Literal["json_schema", "function_calling", "json_mode"] = "json_schema",
        strict: bool | None = None,  # noqa: ARG002 - every answer is strict
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Answer with an object that fits a schema: decoding allows nothing else.

        Needs ``pip install 'memkit-sdk[structured]'``. An answer that `max_tokens` cuts off raises
        `memkit.errors.IncompleteAnswerError`.

        Args:
            schema: A Pydantic class, a TypedDict or a JSON schema.
            include_raw: Give a dict of ``raw``, ``parsed`` and ``parsing_error`` instead.
            method: "json_schema" for JSON as the text of the message; "json_mode" is the same,
                as the schema is known. "function_calling" for a call of a tool, which needs a
                chat template that knows tools.
            strict: For compatibility; an answer fits the schema in any case.
            **kwargs: Parameters of the call, such as ``max_tokens``.

        Raises:
            InvalidInputError: If the schema or the method is none.
        """
        if method not in METHODS:
            raise InvalidInputError(f"`method` must be one of {METHODS}, got {method!r}")
        about = {"kwargs": {"method": method}, "schema": schema}
        if method == "function_calling":
            (tool,) = described([schema])
            name = tool["function"]["name"]
            caller = self.bind_tools(
                [tool], tool_choice=name, ls_structured_output_format=about, **kwargs
            )
            return parsed(caller, call_parser(schema), include_raw=include_raw)
        model = self.bind(schema=schema_of(schema), ls_structured_output_format=about, **kwargs)
        return parsed(model, text_parser(schema), include_raw=include_raw)

    # -- required by BaseChatModel -----------------------------------------------------------

    @property
    def _llm_type(self) -> str:
        return "memkit"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in sorted(_OWN | {"model_name", "stop"})}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return super()._get_ls_params(stop=stop or self.stop, **kwargs)

    def _resolve_model_profile(self) -> ModelProfile:
        return {
            "text_inputs": True,
            "text_outputs": True,
            "image_inputs": False,
            "audio_inputs": False,
            "structured_output": True,
        }

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - the base calls it
        **kwargs: Any,
    ) -> ChatResult:
        conversation, options = with_calls(messages), self._options(stop, kwargs)
        batch = BATCH.get()
        if batch is not None and batch.fits(self, options):
            answer = batch.answer(conversation)
        else:
            answer = self.memory.ask(conversation, **options)
        message = AIMessage(
            answer.text,
            tool_calls=calls_of(answer),
            response_metadata=self._about(answer),
            usage_metadata=_usage(answer),
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - the base calls it
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        options = self._options(stop, kwargs)
        with closing(self.memory.stream(with_calls(messages), **options)) as pieces:
            for piece in pieces:
                yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
            yield self._last(pieces.answer)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - the same
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        options = self._options(stop, kwargs)
        memory = AsyncMemory(self.memory)  # not closed: that would close the owner's memory
        async with memory.stream(with_calls(messages), **options) as pieces:
            async for piece in pieces:
                yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
            yield self._last(pieces.answer)

    # -- inside ------------------------------------------------------------------------------

    def _options(self, stop: Sequence[str] | None, given: Mapping[str, Any]) -> dict[str, Any]:
        """The options for `Memory`: those of the call, else the model's own.

        Raises:
            InvalidInputError: If the call has an unknown option.
        """
        known = _OWN | _TOOLS | _SCHEMAS
        unknown = given.keys() - known - _FOR_TRACES
        if unknown:
            raise InvalidInputError(
                f"expected any of {sorted(known)}, got {sorted(unknown)}",
                hint="they are the parameters of the class, and those that `bind_tools` binds",
            )
        own = {name: given.get(name, getattr(self, name)) for name in _OWN}
        sampling = Sampling(
            max_new_tokens=own.pop("max_tokens"),
            temperature=own.pop("temperature"),
            top_p=own.pop("top_p"),
            stop=tuple(stop or self.stop or ()),
            seed=own.pop("seed"),
        )
        schema = given.get("schema")
        if schema is None and given.get("response_format") is not None:
            schema = response_schema(given["response_format"])
        tools = {name: given[name] for name in _TOOLS if name in given}
        return {**own, **tools, "schema": schema, "sampling": sampling}

    def _batch_of(
        self, inputs: Sequence[LanguageModelInput], stop: Sequence[str] | None = None, **given: Any
    ) -> Batch:
        options = self._options(stop, given)
        conversations: list[Conversation] = []
        for prompt in inputs:
            try:
                conversations.append(with_calls(self._convert_input(prompt).to_messages()))
            except ValueError:  # the call for this input raises it
                continue
        ask = partial(self.memory.ask_batch, **options)
        return Batch(self, options, conversations, ask, size=self.batch_size)

    def _about(self, answer: Answer) -> dict[str, Any]:
        return {
            "model_name": self.model_name,
            "route": {"weights": dict(answer.route.weights), "reason": answer.route.reason},
            "citations": list(answer.citations),
            "conflict": None if answer.conflict is None else answer.conflict.to_dict(),
            "withheld": answer.withheld,
        }

    def _last(self, answer: Answer | None) -> ChatGenerationChunk:
        """The chunk after the last piece: metadata and token counts."""
        assert answer is not None  # noqa: S101 - the stream was read to its end
        message = AIMessageChunk(
            content="",
            tool_call_chunks=chunks_of(answer),
            response_metadata=self._about(answer),
            usage_metadata=_usage(answer),
            chunk_position="last",
        )
        return ChatGenerationChunk(message=message)


def _usage(answer: Answer) -> UsageMetadata:
    return {
        "input_tokens": answer.prompt_tokens,
        "output_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }
