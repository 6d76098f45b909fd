"""memkit: memory for language-model agents, in the weights, in an index, in the prompt.

Names are looked up when they are first used, so that ``import memkit`` stays light: torch,
faiss and transformers are imported by what needs them, when it needs them.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memkit.aio import AsyncMemory
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
    from memkit.memory import Memory
    from memkit.outcomes import ConsolidationReport, Receipt, Stats
    from memkit.types import (
        Answer,
        Draft,
        Hit,
        Module,
        Page,
        Recall,
        Record,
        Route,
        Turn,
        Version,
    )

__version__ = "0.1.0"

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
        return "memkit.memory"
    if name == "AsyncMemory":
        return "memkit.aio"
    if name in {"ConsolidationReport", "Receipt", "Stats"}:
        return "memkit.outcomes"
    return "memkit.errors" if name.endswith("Error") else "memkit.types"


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_home(name)), name)
    return value


def __dir__() -> list[str]:
    return [*__all__]
