"""Tools with which an agent searches, writes and erases its own memory."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote

from langchain_core.documents import Document
from langchain_core.tools import ArgsSchema, BaseTool, InjectedToolArg, ToolException
from pydantic import BaseModel, Field, ValidationError

from langchain_memkit.open_memory import OpenMemory, check_memory
from langchain_memkit.retriever import document_of
from langchain_memkit.scopes import Scoping, resolve, user_scope
from memkit import MemkitError, Memory, Record
from memkit.text.quoting import quoted
from memkit.types import Scope

# LangChain hides such an argument from the model. To one of the name "runtime" agents give
# their `ToolRuntime`, whatever the model says.
Injected = Annotated[Any, InjectedToolArg]

# What ends a bracket or a line, cannot be seen, or marks turns in chat templates.
_UNCLEAR = re.compile(
    r"[%\[\]<>|\uff5c#\s\x00-\x1f\x7f-\xad\u061c\u200b-\u200f\u202a-\u206f\ufeff]"
)

_log = logging.getLogger(__name__)


def memory_tools(memory: Memory, *, scope: Scoping = user_scope) -> list[BaseTool]:
    """Make the four tools of an agent: remember, search, update and forget.

    Args:
        memory: An open memory with the "rag" backend.
        scope: Whose memory it is, as for `MemoryTool`.

    Example:
        >>> from memkit.testing import HashingEmbedder
        >>> folder = getfixture("tmp_path")
        >>> memory = Memory.open(folder, backends=["rag"], embedder=HashingEmbedder())
        >>> [tool.name for tool in memory_tools(memory)]
        ['remember', 'search_memory', 'update_memory', 'forget']
    """
    kinds = (RememberTool, SearchMemoryTool, UpdateMemoryTool, ForgetTool)
    check_memory(memory)
    return [kind(memory=memory, scope=scope) for kind in kinds]


def _validation_message(error: object) -> str:
    """Describe invalid arguments so that the model can correct them."""
    if not isinstance(error, ValidationError):
        return str(error)
    wrong = [
        f"`{'.'.join(map(str, problem['loc']))}`: {problem['msg']}" for problem in error.errors()
    ]
    return "The arguments are not right. " + "; ".join(wrong)


class MemoryTool(BaseTool):
    """Base class of the tools: a memory, and the scope they work in.

    The model gets the error of a failed call as a message, and may try again. A missing scope is
    raised instead, as no model can supply it.

    Attributes:
        memory: An open memory.
        scope: The scope of all calls, or a function that reads it from the agent's `ToolRuntime`;
            by default ``{"user": runtime.context.user_id}``. The model neither sees nor sets it.
    """

    memory: OpenMemory = Field(exclude=True)
    scope: Scope | Callable[[Any], Scope] = Field(default=user_scope, exclude=True)
    handle_tool_error: bool | str | Callable[[ToolException], Any] | None = True
    handle_validation_error: bool | str | Callable[[Any], str] | None = _validation_message

    def own(self, id: str, scope: Scope) -> Record:
        """Give a record that may be changed in this scope, as it has exactly this scope.

        Args:
            id: As `SearchMemoryTool` gives it.
            scope: Of the call.

        Raises:
            RecordNotFoundError: If there is none that the scope may see.
            ToolException: If it is shared with others.
        """
        record = self.memory.get(unquote(id), scope=scope)
        if dict(record.scope) != dict(scope):
            raise ToolException(f"The memory {id!r} is shared with others: it cannot be changed.")
        return record


def _shown(id: str) -> str:
    """Give an id as URLs have it if it could leave its brackets; `unquote` reads it back."""
    return _UNCLEAR.sub(lambda match: match[0] if match[0] == " " else quote(match[0], ""), id)


@contextmanager
def _errors_for_the_model() -> Iterator[None]:
    try:
        yield
    except ToolException:
        raise
    except MemkitError as exc:
        raise ToolException(str(exc)) from exc
    except Exception as exc:  # of an embedder, say; the agent can go on without it
        _log.warning("a tool of the memory failed: %s", exc, exc_info=exc)
        raise ToolException(f"The memory does not work at the moment: {exc}") from exc


class RememberArguments(BaseModel):
    """Arguments of `RememberTool`."""

    text: str = Field(
        description="One fact, as a whole sentence that can be understood without the conversation."
    )
    runtime: Injected = None


class RememberTool(MemoryTool):
    """Stores a fact."""

    name: str = "remember"
    description: str = (
        "Store a fact in long-term memory, so that it is known in later conversations. "
        "Search first: what is known already but has changed is to be updated."
    )
    args_schema: ArgsSchema | None = RememberArguments

    def _run(self, text: str, runtime: object = None) -> str:
        scope = resolve(self.scope, runtime)
        with _errors_for_the_model():
            record = self.memory.add(text, scope=scope)
        return f"Remembered, with the id {_shown(record.id)}."


class SearchMemoryArguments(BaseModel):
    """Arguments of `SearchMemoryTool`."""

    query: str = Field(description="What to look for, in plain words.")
    k: int = Field(default=5, ge=1, le=50, description="How many memories to return at most.")
    runtime: Injected = None


class SearchMemoryTool(MemoryTool):
    """Finds facts; the documents are the tool message's artifact."""

    name: str = "search_memory"
    description: str = (
        "Search long-term memory by meaning and by words. Gives one memory per line, the best "
        "first, each behind its id in brackets; further lines of a memory are indented."
    )
    args_schema: ArgsSchema | None = SearchMemoryArguments
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"

    def _run(self, query: str, k: int = 5, runtime: object = None) -> tuple[str, list[Document]]:
        scope = resolve(self.scope, runtime)
        with _errors_for_the_model():
            hits = self.memory.search(query, k, scope=scope)
        lines = [f"[{_shown(hit.id)}] {quoted(hit.text)}" for hit in hits]
        return "\n".join(lines) or "Nothing found.", [document_of(hit) for hit in hits]


class UpdateMemoryArguments(BaseModel):
    """Arguments of `UpdateMemoryTool`."""

    id: str = Field(description="The id of the memory, as search_memory gives it.")
    text: str = Field(description="What it is to say from now on, as a whole sentence.")
    runtime: Injected = None


class UpdateMemoryTool(MemoryTool):
    """Writes a new version of a fact; `memkit.Memory.history` keeps the old one."""

    name: str = "update_memory"
    description: str = "Correct a memory that is wrong or out of date; find its id by searching."
    args_schema: ArgsSchema | None = UpdateMemoryArguments

    def _run(self, id: str, text: str, runtime: object = None) -> str:
        scope = resolve(self.scope, runtime)
        with _errors_for_the_model():
            record = self.memory.update(self.own(id, scope).id, text, scope=scope)
        return f"Updated the memory {_shown(record.id)}."


class ForgetArguments(BaseModel):
    """Arguments of `ForgetTool`."""

    id: str = Field(description="The id of the memory, as search_memory gives it.")
    runtime: Injected = None


class ForgetTool(MemoryTool):
    """Erases a fact, also from the weights."""

    name: str = "forget"
    description: str = (
        "Erase a memory for good, for example at the user's wish; find its id by searching."
    )
    args_schema: ArgsSchema | None = ForgetArguments

    def _run(self, id: str, runtime: object = None) -> str:
        scope = resolve(self.scope, runtime)
        with _errors_for_the_model():
            receipt = self.memory.forget(self.own(id, scope).id, scope=scope)
        failed = [check for check, passed in receipt.checks.items() if not passed]
        return f"Erased, but could not confirm: {'; '.join(failed)}." if failed else "Erased."
