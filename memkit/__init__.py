"""memkit: memory for language-model agents, in the weights, in an index, in the prompt.

Names are looked up when they are first used, so that ``import memkit`` stays light: torch,
faiss and transformers are imported by what needs them, when it needs them.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memkit.errors import (
        BusyError,
        IncompatibleModelError,
        InvalidInputError,
        MemkitError,
        ModelUnavailableError,
        RecordNotFoundError,
        StorageError,
        UnsupportedOperationError,
    )
    from memkit.memory.async_memory import AsyncMemory
    from memkit.memory.memory import Memory
    from memkit.types import (
        Answer,
        ConsolidationReport,
        Draft,
        Hit,
        Module,
        Page,
        Recall,
        Receipt,
        Record,
        Route,
        Stats,
        Turn,
        Version,
    )

from memkit.version import __version__

__all__ = [
    "Answer",
    "AsyncMemory",
    "BusyError",
    "ConsolidationReport",
    "Draft",
    "Hit",
    "IncompatibleModelError",
    "InvalidInputError",
    "MemkitError",
    "Memory",
    "ModelUnavailableError",
    "Module",
    "Page",
    "Recall",
    "Receipt",
    "Record",
    "RecordNotFoundError",
    "Route",
    "Stats",
    "StorageError",
    "Turn",
    "UnsupportedOperationError",
    "Version",
    "__version__",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())


def _home(name: str) -> str:
    if name == "Memory":
        return "memkit.memory.memory"
    if name == "AsyncMemory":
        return "memkit.memory.async_memory"
    return "memkit.errors" if name.endswith("Error") else "memkit.types"


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_home(name)), name)
    return value


def __dir__() -> list[str]:
    return [*__all__]
