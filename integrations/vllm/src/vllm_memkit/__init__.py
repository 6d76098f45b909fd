"""memkit for vLLM: a resolver that finds the adapter modules of a memory by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm_memkit.resolver import MemkitResolver as MemkitResolver

__version__ = "0.1.0"
__all__ = ["MemkitResolver", "register"]


def register() -> None:
    """Register the resolver for the memory that the environment names; vLLM calls it.

    ``MEMKIT_VLLM_MEMORY`` is the directory of the memory; without it nothing happens.
    ``MEMKIT_VLLM_FOLDER`` is where adapters are written for vLLM. ``MEMKIT_VLLM_SCOPE`` is a scope
    as JSON, whose modules are given besides those of shared records.

    Raises:
        InvalidInputError: If the folder is not named, or the scope is none.
    """
    from vllm_memkit.settings import from_environment

    if (resolver := from_environment()) is not None:
        from vllm.lora.resolver import LoRAResolverRegistry

        LoRAResolverRegistry.register_resolver("memkit", resolver)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - vLLM is imported where the class is used
    if name == "MemkitResolver":
        from vllm_memkit.resolver import MemkitResolver

        return MemkitResolver
    raise AttributeError(name)
