"""Export of a memory's adapters: one module or a mixture, as one adapter for another program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from memkit.errors import InvalidInputError, UnsupportedOperationError
from memkit.lora.llama_cpp.gguf_adapter import llama_cpp_invocation, write_gguf
from memkit.lora.llama_cpp.gguf_names import GGUFNames
from memkit.lora.lora_backend import LoraBackend
from memkit.lora.peft.merges import Merge
from memkit.lora.peft.peft_format import write_folder
from memkit.lora.peft.peft_model import check_layers
from memkit.models.invocation import invocation_tokens
from memkit.types import Module
from memkit.types.validate import check_id, check_number, shown
from memkit.version import __version__

FORMATS = ("peft", "gguf")

# Of a module's manifest; the ids of its records are not exported.
_EXPORTED = ("data", "lora", "train", "imported", "recall", "paraphrase_recall")


@dataclass(frozen=True)
class Export:
    """How adapters leave a memory.

    Attributes:
        merge: How modules become one adapter; ``cat`` is the mixture itself.
        format: "peft" for a folder of PEFT's, "gguf" for a file of llama.cpp's.
        activated: Whether the adapter says from which tokens on it acts; None for yes where that
            can be said.
        checked: Whether PEFT has to put a folder's adapter on the same layers; memkit itself
            reads their names.

    Raises:
        InvalidInputError: If there is no such format.
    """

    merge: Merge = field(default_factory=Merge)
    format: str = "peft"
    activated: bool | None = None
    checked: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.format, str) or self.format not in FORMATS:
            raise InvalidInputError(
                f"`format` must be one of {sorted(FORMATS)}, got {shown(self.format)}"
            )


def export_adapter(
    backend: LoraBackend, mixture: str | Mapping[str, float], path: Path, export: Export
) -> Path:
    """Write a module, or a mixture of modules as one adapter.

    Args:
        backend: Where the modules are.
        mixture: The name of a module, or names with weights.
        path: A folder that does not exist or is empty, for PEFT; a file that does not exist, for
            GGUF.
        export: What to write.

    Raises:
        ModuleNotFoundInMemoryError: If there is no such module.
        InvalidInputError: If the modules cannot be merged in this way, or there is something in
            the path's place.
        UnsupportedOperationError: If the format has no such models or would put the adapter on
            other layers, or cannot say from which tokens on the adapter acts.
        StorageError: If it cannot be written.
    """
    if not isinstance(mixture, Mapping):
        mixture = {check_id("mixture", mixture): 1.0}
    weights = {check_id("mixture", name): weight for name, weight in mixture.items()}
    for weight in weights.values():
        check_number("mixture", weight)
    modules = [backend.ledger.modules.get(name) for name in weights]
    merged = export.merge([backend.stored(module) for module in modules], list(weights.values()))
    invocation = _invocation(backend, export)
    manifest = {
        "memkit": __version__,
        "base_model": backend.base.name,
        "fingerprint": backend.base.fingerprint,
        "merge": asdict(export.merge),
        "activated": bool(invocation),
        "modules": [_described(module, weights[module.name]) for module in modules],
    }
    if export.format == "gguf":
        names = GGUFNames(backend.base.model.config)
        write_gguf(path, merged, manifest, names=names, invocation=invocation)
    else:
        if export.checked:
            check_layers(backend.base, merged)
        conv1d = backend.layers.conv1d
        write_folder(path, merged, manifest, conv1d=conv1d, invocation=invocation)
    return path


def _invocation(backend: LoraBackend, export: Export) -> tuple[int, ...]:
    """The tokens from which on an exported adapter acts; none for all tokens."""
    if export.activated is False:
        return ()
    tokens = invocation_tokens(backend.base)
    if export.format == "gguf":
        tokens = llama_cpp_invocation(tokens)
    if export.activated and not tokens:
        raise UnsupportedOperationError(
            "expected a base model whose chat template opens questions with tokens of its own "
            f"that {export.format} can name, the template of {backend.base.name!r} does not",
            hint="export with `activated=False`; the adapter then acts on the whole prompt",
        )
    return tokens


def _described(module: Module, weight: float) -> dict[str, Any]:
    about = {name: module.manifest[name] for name in _EXPORTED if name in module.manifest}
    return {"name": module.name, "version": module.version, "weight": weight, **about}
