"""Opens the memory that a command is about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memkit import Memory
    from memkit.types import BackendName

# Ledger and turns alone: no model is looked for, let alone loaded.
RECORDS_ALONE: Sequence[BackendName] = ("buffer",)


def open_memory(
    path: Path,
    *,
    create: bool = False,
    backends: Sequence[BackendName] | None = None,
    base_model: str | None = None,
    embedder: str | None = None,
) -> Memory:
    """Open a memory; what is None is left to `memkit.Memory.open`.

    Args:
        path: Its directory.
        create: Whether to make the memory if there is none.
        backends: `RECORDS_ALONE` for commands that need no model.
        base_model: As given on the command line.
        embedder: Likewise.

    Raises:
        NotAMemoryError: If there is none, or something else.
        IncompatibleModelError: If it was made with other models.
    """
    from memkit import Memory

    given: dict[str, Any] = {
        "backends": backends, "base_model": base_model, "embedder": embedder
    }  # fmt: skip
    options = {name: value for name, value in given.items() if value is not None}
    return Memory.open(path, create=create, **options)
