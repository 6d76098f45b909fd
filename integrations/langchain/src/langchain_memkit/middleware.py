"""A memory for agents of `create_agent`: recall before the model speaks, remember afterwards."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Literal, NotRequired, get_args

from langchain_core.messages import AnyMessage, SystemMessage
from langchain_core.tools import BaseTool

from langchain_memkit._optional import needs
from langchain_memkit.chat_model import ChatMemkit
from langchain_memkit.exchange import last_asked, last_exchange, with_asked
from langchain_memkit.messages import known_role, role_of, said_in, words_of
from langchain_memkit.open_memory import check_memory
from langchain_memkit.scopes import Scoping, resolve, user_scope
from langchain_memkit.tools import memory_tools
from memkit import InvalidInputError, Memory
from memkit.types import BUDGET, Message, Metadata, Role, Scope, TurnDraft
from memkit.types.validate import check_flag, check_limit, check_part, refuse_part, shown

with needs("langchain", "MemkitMiddleware"):
    from langchain.agents.middleware import AgentMiddleware, AgentState
    from langchain.agents.middleware.types import ModelRequest, ModelResponse, PrivateStateAttr
with needs("langgraph", "MemkitMiddleware"):
    from langgraph.runtime import Runtime

Through = Literal["text", "adapters", "both"]

TEMPLATE = """\
What you remember, from earlier conversations among others:

{memory}

Use it where it helps; what the user says now goes before it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MemoryFailure:
    """What an agent's memory could not do; the run went on without it.

    Attributes:
        verb: What failed.
        error: Why.
        scope: Whose memory it is; None if that could not be told.
        turns: What was not remembered. ``memory.add_turns(turns, scope=scope)`` does it later.
    """

    verb: Literal["recall", "remember"]
    error: Exception
    scope: Scope | None
    turns: tuple[TurnDraft, ...] = ()


class MemkitState(AgentState[Any]):
    """What the middleware notes during a run; neither input nor output of the agent.

    Attributes:
        memkit_asked: What the user said last: a summary may take its place before the end.
    """

    memkit_asked: NotRequired[Annotated[list[AnyMessage], PrivateStateAttr]]


class MemkitMiddleware(AgentMiddleware[MemkitState, Any, Any]):
    """Gives an agent of `langchain.agents.create_agent` a long-term memory.

    Before each call of the model it recalls evidence for the user's last message. For any chat
    model the evidence goes into the system message; for a `ChatMemkit` over the same memory the
    adapters that hold the answer become active as well. Recalled text is neither stored in the
    agent's state nor remembered again.

    After a run it stores the user's messages and the agent's answers as turns, but not system
    messages, summaries or results of tools. What is said again is a turn again; as a record it is
    stored once, and not at all if a shared record has it word for word. Messages that a run takes
    from a checkpoint of its thread are stored once; a run that starts again from its input has
    others.

    A memory that fails does not fail the run: the model answers without it, and the answer is the
    run's even if it cannot be remembered. Each failure is logged as a warning and given to
    ``on_failure``. Only what would fail every run is raised: a missing user, and ``through`` for a
    model without adapters.

    Args:
        memory: Open, with the "rag" backend, and closed by its owner.
        scope: Whose memory it is: a scope, or a function of the agent's runtime; by default
            ``{"user": runtime.context.user_id}``.
        budget: Most tokens of evidence in the system message.
        k: At most this many records as evidence.
        where: Only records that pass this metadata filter.
        through: How a `ChatMemkit` gets what is recalled: as "text", through "adapters" or
            "both". Other models can only get text.
        remember: Roles whose messages become records; an empty collection stores nothing.
        tools: Also give the agent the tools of `memory_tools`, so that it can search, correct
            and forget. A `ChatMemkit` calls no tools, so it does not get these.
        template: Text around the evidence in the system message; ``{memory}`` is the evidence.
        on_failure: Called with each failure of the memory, maybe in another thread; what it
            raises ends the run.

    Raises:
        MissingDependencyError: Without LangChain.
        InvalidInputError: If an argument has no such value.

    Example:
        agent = create_agent(
            "openai:gpt-5.5", middleware=[MemkitMiddleware(memory)], context_schema=Context
        )
        agent.invoke({"messages": [HumanMessage("Hello!")]}, context=Context(user_id="ann"))
    """

    state_schema = MemkitState

    def __init__(
        self,
        memory: Memory,
        *,
        scope: Scoping = user_scope,
        budget: int = BUDGET,
        k: int = 5,
        where: Metadata | None = None,
        through: Through = "both",
        remember: Collection[Role] = ("user", "assistant"),
        tools: bool = True,
        template: str = TEMPLATE,
        on_failure: Callable[[MemoryFailure], None] | None = None,
    ) -> None:
        check_memory(memory)
        check_flag("tools", tools)
        if on_failure is not None and not callable(on_failure):
            refuse_part("on_failure", on_failure, "a function of a failure")
        _check(through, remember, template)
        # In a run, what the memory refuses would only be reported.
        check_limit("budget", budget, least=0)
        check_limit("k", k)
        memory.count(scope=None if callable(scope) else scope, where=where)
        self.memory = memory
        self.tools: Sequence[BaseTool] = memory_tools(memory, scope=scope) if tools else []
        self._scope = scope
        self._budget = budget
        self._k = k
        self._where = where
        self._through = through
        self._remember = frozenset(remember)
        self._template = template
        self._on_failure = on_failure

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        """Call the model with evidence from the memory."""
        return handler(self._with_memory(request))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Like `wrap_model_call`; the event loop runs on."""
        return await handler(await asyncio.to_thread(self._with_memory, request))

    def before_agent(
        self,
        state: MemkitState,
        runtime: Runtime[Any],  # noqa: ARG002 - the base class has it
    ) -> dict[str, Any]:
        """Note what the user has said, for `after_agent`."""
        return {"memkit_asked": last_asked(state["messages"])}

    def after_agent(self, state: MemkitState, runtime: Runtime[Any]) -> None:
        """Store the messages of this run."""
        if not self._remember:
            return
        try:
            scope = resolve(self._scope, runtime)
            messages = with_asked(state["messages"], state.get("memkit_asked", ()))
            turns = self._turns(messages, runtime, scope)
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer is there
            self._report(MemoryFailure("remember", error, None))
            return
        self._store(turns, scope)

    async def aafter_agent(self, state: MemkitState, runtime: Runtime[Any]) -> None:
        """Like `after_agent`; the event loop runs on."""
        await asyncio.to_thread(self.after_agent, state, runtime)

    # -- recalling ---------------------------------------------------------------------------

    def _with_memory(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        scope = resolve(self._scope, request.runtime)
        if isinstance(request.model, ChatMemkit) and request.model.memory is self.memory:
            return self._for_chat_memkit(request, request.model, scope)
        if self._through == "adapters":
            raise InvalidInputError(
                "expected a ChatMemkit over the middleware's memory, as the agent is to be told "
                f"through adapters; got {type(request.model).__name__}",
                hint="leave `through` at 'both': other models are told by text",
            )
        try:
            evidence = self._evidence(request.messages, scope)
        except Exception as error:  # noqa: BLE001 - whatever it is, the model can do without
            self._report(MemoryFailure("recall", error, scope))
            return request
        if not evidence:
            return request
        told = self._template.replace("{memory}", evidence)
        return request.override(system_message=_joined(request.system_message, told))

    def _evidence(self, messages: Sequence[AnyMessage], scope: Scope) -> str:
        conversation = _ending_with_the_user(messages)
        if not conversation:
            return ""
        return self.memory.recall(
            conversation, self._budget, k=self._k, scope=scope, where=self._where
        ).text

    def _for_chat_memkit(
        self, request: ModelRequest[Any], model: ChatMemkit, scope: Scope
    ) -> ModelRequest[Any]:
        """The request for a model that recalls by itself: only its options change."""
        options = {
            "scope": dict(scope),
            "where": self._where,
            "k": self._k,
            "budget": 0 if self._through == "adapters" else self._budget,
            "modules": [] if self._through == "text" else model.modules,
        }
        own = set(map(id, self.tools))
        others = [tool for tool in request.tools if id(tool) not in own]
        return request.override(model=model.model_copy(update=options), tools=others)

    # -- remembering -------------------------------------------------------------------------

    def _turns(
        self, messages: Sequence[AnyMessage], runtime: object, scope: Scope
    ) -> list[TurnDraft]:
        thread = getattr(getattr(runtime, "execution_info", None), "thread_id", None)
        return [self._turn(message, thread, scope) for message in last_exchange(messages)]

    def _turn(self, message: AnyMessage, thread: str | None, scope: Scope) -> TurnDraft:
        role, said, words = role_of(message), said_in(message), words_of(message)
        remember = role in self._remember and bool(words.strip()) and not self._knows(words, scope)
        # Outside of a thread nothing is repeated, and an id need not tell two messages apart.
        id = _digest(thread, message.id, said) if thread and message.id else None
        return TurnDraft(role, said, remember=remember, id=id)

    def _knows(self, text: str, scope: Scope) -> bool:
        """Whether a record has this text already; the same in the same scope is stored once."""
        try:
            hits = self.memory.search(text, scope=scope)
        except Exception:  # noqa: BLE001 - if the memory does not work, storing the turn tells so
            return False
        return any(
            hit.record.text.strip() == text.strip()
            and (hit.record.text, dict(hit.record.scope)) != (text, dict(scope))
            for hit in hits
        )

    def _store(self, turns: Sequence[TurnDraft], scope: Scope) -> None:
        """Add turns; if one cannot be stored as it is, the others by themselves."""
        try:
            self.memory.add_turns(turns, scope=scope)
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer is there
            if isinstance(error, InvalidInputError) and len(turns) > 1:
                for turn in turns:
                    self._store([turn], scope)
            else:
                self._report(MemoryFailure("remember", error, scope, tuple(turns)))

    def _report(self, failure: MemoryFailure) -> None:
        _log.warning(
            "the memory could not %s, the agent's run goes on without it: %s",
            failure.verb,
            failure.error,
            exc_info=failure.error,
        )
        if self._on_failure is not None:
            self._on_failure(failure)


def _digest(*parts: str) -> str:
    """An id made of texts of any length and of any characters."""
    return sha256(json.dumps(parts).encode()).hexdigest()


def _ending_with_the_user(messages: Sequence[AnyMessage]) -> list[Message]:
    """The conversation as memkit's, the user's last message last; empty if there is none."""
    spoken = [message for message in messages if known_role(message) is not None]
    conversation: list[Message] = [
        {"role": role_of(message), "content": said_in(message)} for message in spoken
    ]
    questions = [
        place
        for place, message in enumerate(spoken)
        if role_of(message) == "user" and words_of(message).strip()
    ]
    if not questions:
        return []
    question = conversation.pop(questions[-1])
    return [*conversation, question]


def _joined(system: SystemMessage | None, evidence: str) -> SystemMessage:
    if system is None:
        return SystemMessage(evidence)
    if isinstance(system.content, str):
        return SystemMessage(f"{system.content}\n\n{evidence}")
    return SystemMessage([*system.content, {"type": "text", "text": evidence}])


def _check(through: str, remember: Collection[str], template: str) -> None:
    if through not in get_args(Through):
        raise InvalidInputError(
            f"`through` must be one of {get_args(Through)}, got {shown(through)}"
        )
    is_list = isinstance(remember, Collection) and not isinstance(remember, str | bytes)
    if not is_list or not all(role in ("user", "assistant") for role in remember):
        raise InvalidInputError(
            f"`remember` must hold 'user', 'assistant', both or nothing, got {shown(remember)}"
        )
    check_part("template", template, str, "a string")
    if "{memory}" not in template:
        raise InvalidInputError(f"`template` must hold '{{memory}}', got {shown(template)}")
