"""The open memory that every part works on, checked where it is handed over."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from memkit import Memory
from memkit.types.validate import check_part

_OPEN_IT = "Open it first: memory = Memory.open(path)."


def check_memory(memory: Any) -> Memory:  # noqa: ANN401 - whatever came
    """Give what was handed over as a memory.

    Raises:
        InvalidInputError: If it is something else, such as the path of one.
    """
    check_part("memory", memory, Memory, "an open memory", _OPEN_IT)
    checked: Memory = memory
    return checked


# As a field of a model; pydantic puts the error into its own.
OpenMemory = Annotated[Memory, BeforeValidator(check_memory)]
