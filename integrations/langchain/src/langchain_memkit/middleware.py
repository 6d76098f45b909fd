"""A memory for agents of `create_agent`: recall before the model speaks, remember afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Literal, get_args

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from langchain_core.tools import BaseTool

from langchain_memkit._optional import needs
from langchain_memkit.chat_model import ChatMemkit
from langchain_memkit.messages import role_of
from langchain_memkit.scopes import Scoping, resolve, user_scope
from langchain_memkit.tools import memory_tools
from memkit import InvalidInputError, Memory
from memkit.types import BUDGET, Message, Metadata, Role, Scope

with needs("langchain", "MemkitMiddleware"):
    from langchain.agents.middleware import AgentMiddleware, AgentState
    from langchain.agents.middleware.types import ModelRequest, ModelResponse
with needs("langgraph", "MemkitMiddleware"):
    from langgraph.runtime import Runtime

Through = Literal["text", "adapters", "both"]

TEMPLATE = """\
What you remember, from earlier conversations among others:

{memory}

Use it where it helps; what the user says now goes before it."""


class MemkitMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Gives an agent of `langchain.agents.create_agent` a long-term memory.

    Before each call of the model it recalls evidence for the user's last message. For any chat
    model the evidence goes into the system message; for a `ChatMemkit` over the same memory the
    adapters that hold the answer become active as well. The agent's state does not change: recalled
    text is neither stored in it nor remembered again.

    After a run it stores the user's messages and the agent's answers, but not system messages,
    results of tools, or texts that a record has word for word already. A run that is repeated,
    because it failed or starts from a checkpoint, is stored once.

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

    Raises:
        MissingDependencyError: Without LangChain.
        InvalidInputError: If ``through``, ``remember`` or ``template`` has no such value.

    Example:
        agent = create_agent(
            "openai:gpt-5.5", middleware=[MemkitMiddleware(memory)], context_schema=Context
        )
        agent.invoke({"messages": [HumanMessage("Hello!")]}, context=Context(user_id="ann"))
    """

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
    ) -> None:
        _check(through, remember, template)
        self.memory = memory
        self.tools: Sequence[BaseTool] = memory_tools(memory, scope=scope) if tools else []
        self._scope = scope
        self._budget = budget
        self._k = k
        self._where = where
        self._through = through
        self._remember = frozenset(remember)
        self._template = template

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

    def after_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Store the messages of this run."""
        if self._remember:
            self._note(_last_exchange(state["messages"]), resolve(self._scope, runtime))

    async def aafter_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
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
        conversation = _ending_with_the_user(request.messages)
        if not conversation:
            return request
        recall = self.memory.recall(
            conversation, self._budget, k=self._k, scope=scope, where=self._where
        )
        if not recall.text:
            return request
        evidence = self._template.replace("{memory}", recall.text)
        return request.override(system_message=_joined(request.system_message, evidence))

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

    def _note(self, turns: Sequence[tuple[Role, str]], scope: Scope) -> None:
        """Add turns, without those at the beginning that the memory has already."""
        stored = [(turn.role, turn.content) for turn in self.memory.turns(scope=scope)]
        known = next(
            length for length in range(len(turns), -1, -1) if _ends_with(stored, turns[:length])
        )
        for role, text in turns[known:]:
            remember = role in self._remember and not self._knows(text, scope)
            self.memory.add_turn(role, text, scope=scope, remember=remember)

    def _knows(self, text: str, scope: Scope) -> bool:
        """Whether a record has this text already, word for word."""
        hits = self.memory.search(text, scope=scope)
        return any(hit.record.text.strip() == text.strip() for hit in hits)


def _ending_with_the_user(messages: Sequence[AnyMessage]) -> list[Message]:
    """The conversation as memkit's, the user's last message last; empty if there is none."""
    conversation: list[Message] = [
        {"role": role_of(message), "content": str(message.text)} for message in messages
    ]
    questions = [
        message
        for message in conversation
        if message["role"] == "user" and message["content"].strip()
    ]
    if not questions:
        return []
    question = questions[-1]
    return [*(message for message in conversation if message is not question), question]


def _last_exchange(messages: Sequence[AnyMessage]) -> list[tuple[Role, str]]:
    """The user's last messages and the answers, without tools and system messages."""
    start = len(messages)
    while start > 0 and not isinstance(messages[start - 1], HumanMessage):
        start -= 1
    while start > 0 and isinstance(messages[start - 1], HumanMessage):
        start -= 1
    turns: list[tuple[Role, str]] = []
    for message in messages[start:]:
        if str(message.text).strip() and isinstance(message, HumanMessage | AIMessage):
            role: Role = "user" if isinstance(message, HumanMessage) else "assistant"
            turns.append((role, str(message.text)))
    return turns


def _ends_with(stored: Sequence[object], turns: Sequence[object]) -> bool:
    return list(stored[len(stored) - len(turns) :]) == list(turns) if turns else True


def _joined(system: SystemMessage | None, evidence: str) -> SystemMessage:
    if system is None:
        return SystemMessage(evidence)
    if isinstance(system.content, str):
        return SystemMessage(f"{system.content}\n\n{evidence}")
    return SystemMessage([*system.content, {"type": "text", "text": evidence}])


def _check(through: str, remember: Collection[str], template: str) -> None:
    if through not in get_args(Through):
        raise InvalidInputError(f"`through` must be one of {get_args(Through)}, got {through!r}")
    if isinstance(remember, str) or not set(remember) <= {"user", "assistant"}:
        raise InvalidInputError(
            f"`remember` must hold 'user', 'assistant', both or nothing, got {remember!r}"
        )
    if "{memory}" not in template:
        raise InvalidInputError(f"`template` must hold '{{memory}}', got {template!r}")
