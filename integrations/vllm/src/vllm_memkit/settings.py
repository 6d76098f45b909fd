"""The plugin's settings, from the environment: vLLM gives a plugin no others."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from memkit.errors import InvalidInputError

if TYPE_CHECKING:
    from vllm_memkit.resolver import MemkitResolver

MEMORY, FOLDER, SCOPE = "MEMKIT_VLLM_MEMORY", "MEMKIT_VLLM_FOLDER", "MEMKIT_VLLM_SCOPE"


def from_environment() -> MemkitResolver | None:
    """The resolver for the memory that the environment names; None if it names none.

    Raises:
        InvalidInputError: If the folder is not named, or the scope is none.
    """
    memory, folder = os.environ.get(MEMORY), os.environ.get(FOLDER)
    if not memory:
        return None
    if not folder:
        raise InvalidInputError(
            f"expected {FOLDER} beside {MEMORY}, it is not set",
            hint="set it to a folder for the adapters that are written for vLLM",
        )
    from vllm_memkit.resolver import MemkitResolver

    return MemkitResolver(Path(memory), Path(folder), scope=_scope(os.environ.get(SCOPE) or "{}"))


def _scope(text: str) -> dict[str, str]:
    try:
        scope = json.loads(text)
    except ValueError as error:
        raise InvalidInputError(f"expected {SCOPE} to be JSON, got {text[:80]!r}") from error
    texts = isinstance(scope, dict) and all(isinstance(value, str) for value in scope.values())
    if not texts:
        raise InvalidInputError(f"expected {SCOPE} to be an object of strings, got {text[:80]!r}")
    return dict(scope)
