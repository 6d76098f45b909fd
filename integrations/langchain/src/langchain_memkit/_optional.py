"""Imports of LangGraph and LangChain, which only parts of this package need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from memkit.errors import MissingDependencyError


@contextmanager
def needs(library: Literal["langgraph", "langchain"], what: str) -> Iterator[None]:
    """Say which extra is missing, if an import in the block fails for want of it.

    Args:
        library: The library that is imported; the extra has its name.
        what: The class or function that needs it.

    Raises:
        MissingDependencyError: If the library is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] != library:
            raise
        raise MissingDependencyError(
            f"{what} needs {library}, which is not installed",
            hint=f"pip install 'langchain-memkit[{library}]'",
        ) from exc
