"""memkit for LangChain and LangGraph.

Names are looked up when they are first used: what needs LangGraph or LangChain itself asks for
them only then, and importing the package stays light. `__all__` has what can be used here.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_memkit.chat_model import ChatMemkit
    from langchain_memkit.embeddings import LangChainEmbedder, MemkitEmbeddings
    from langchain_memkit.history import MemkitChatMessageHistory
    from langchain_memkit.middleware import MemkitMiddleware, MemoryFailure
    from langchain_memkit.retriever import MemkitRetriever
    from langchain_memkit.scopes import user_scope
    from langchain_memkit.store import MemkitStore
    from langchain_memkit.tools import (
        ForgetTool,
        RememberTool,
        SearchMemoryTool,
        UpdateMemoryTool,
        memory_tools,
    )
    from langchain_memkit.vectorstore import MemkitVectorStore

__version__ = "0.1.0"

__all__ = [
    "ChatMemkit",
    "ForgetTool",
    "LangChainEmbedder",
    "MemkitChatMessageHistory",
    "MemkitEmbeddings",
    "MemkitRetriever",
    "MemkitVectorStore",
    "RememberTool",
    "SearchMemoryTool",
    "UpdateMemoryTool",
    "__version__",
    "memory_tools",
    "user_scope",
]

if find_spec("langgraph") is not None:
    __all__ += ["MemkitStore"]
if find_spec("langchain") is not None:
    __all__ += ["MemkitMiddleware", "MemoryFailure"]
__all__.sort()

_HOMES = {
    "ChatMemkit": "chat_model",
    "ForgetTool": "tools",
    "LangChainEmbedder": "embeddings",
    "MemkitChatMessageHistory": "history",
    "MemkitEmbeddings": "embeddings",
    "MemkitMiddleware": "middleware",
    "MemkitRetriever": "retriever",
    "MemkitStore": "store",
    "MemkitVectorStore": "vectorstore",
    "MemoryFailure": "middleware",
    "RememberTool": "tools",
    "SearchMemoryTool": "tools",
    "UpdateMemoryTool": "tools",
    "memory_tools": "tools",
    "user_scope": "scopes",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return [*__all__]
