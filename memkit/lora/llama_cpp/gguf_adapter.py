"""A LoRA adapter as a GGUF file, for llama.cpp and what is built on it.

The file says for which architecture it is, how strong the adapter is (``alpha / rank`` is the
scale) and, for an activated one, the tokens from which on it acts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import torch
from torch import Tensor

from memkit.errors import InvalidInputError, storage_errors
from memkit.files import file_draft, flush, move_to_new, own_folder
from memkit.lora.llama_cpp.gguf_names import GGUFNames
from memkit.lora.serving.hooks import Scaled

MANIFEST = "memkit.manifest"  # how the adapter was made, as JSON; llama.cpp passes over it


def write_gguf(
    path: Path,
    part: Scaled,
    manifest: Mapping[str, Any],
    *,
    names: GGUFNames,
    invocation: Sequence[int] = (),
) -> None:
    """Write an adapter as a file that appears whole or not at all, in float32.

    Args:
        path: Must not exist.
        part: The adapter.
        manifest: How it was made; JSON values.
        names: The layers of its base model.
        invocation: As `llama_cpp_invocation` gives it; none for an adapter that acts on every
            token.

    Raises:
        InvalidInputError: If there is something in the file's place.
        UnsupportedOperationError: If llama.cpp has no such layers.
        StorageError: If it cannot be written; `DiskFullError` and `ReadOnlyError` say why.
    """
    tensors = _tensors(part, names)
    with storage_errors(path):
        if path.exists() or path.is_symlink():
            raise _taken(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        own_folder(path.parent)
        with file_draft(path) as draft:
            writer = gguf.GGUFWriter(draft, names.architecture.name)
            _describe(writer, part, manifest, invocation)
            for name, tensor in tensors.items():
                writer.add_tensor(name, tensor.numpy())
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            flush(draft)
            try:
                move_to_new(draft, path)
            except FileExistsError as exc:  # somebody else was faster
                raise _taken(path) from exc
            flush(path.parent)


def _taken(path: Path) -> InvalidInputError:
    return InvalidInputError(
        f"`path` must be that of a new file, there is something at {str(path)!r}",
        hint="choose another name, or remove what is there first",
    )


def llama_cpp_invocation(tokens: Sequence[int]) -> tuple[int, ...]:
    """What a GGUF file has to name, so that llama.cpp activates an adapter at ``tokens``.

    llama.cpp (server-context.cpp) lets an adapter act from one token before the sequence that it
    finds: naming all but the first token makes it begin with that one. A single token leaves
    nothing to name, and gives nothing.
    """
    return tuple(tokens[1:])


def _describe(
    writer: gguf.GGUFWriter, part: Scaled, manifest: Mapping[str, Any], invocation: Sequence[int]
) -> None:
    keys = gguf.Keys.Adapter
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, str(manifest["base_model"]))
    writer.add_string(keys.TYPE, "lora")
    writer.add_float32(keys.LORA_ALPHA, _strength(part) * part.rank)
    if invocation:
        writer.add_key_value(
            keys.ALORA_INVOCATION_TOKENS,
            list(invocation),
            gguf.GGUFValueType.ARRAY,
            sub_type=gguf.GGUFValueType.UINT32,  # llama.cpp refuses others
        )
    writer.add_string(MANIFEST, json.dumps(manifest, sort_keys=True, ensure_ascii=False))


def _strength(part: Scaled) -> float:
    """The scale of the factors in the file: llama.cpp takes an alpha of 0 for none given."""
    return part.scale or 1.0


def _tensors(part: Scaled, names: GGUFNames) -> dict[str, Tensor]:
    """The factors under llama.cpp's names, ``a`` before ``b``."""
    tensors = {}
    for layer, factors in part.adapter.items():
        b = factors.b if part.scale else torch.zeros_like(factors.b)
        name = names.tensor(layer)
        for half, tensor in (("lora_a", factors.a), ("lora_b", names.rows(layer, b))):
            tensors[f"{name}.{half}"] = tensor.float().cpu().contiguous()
    return tensors
