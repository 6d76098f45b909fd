"""Adapter files in PEFT's own format, so that any PEFT program can load them.

One directory per adapter: ``adapter_model.safetensors`` (factors under PEFT's names),
``adapter_config.json`` (what PEFT needs to rebuild the layers) and ``manifest.json`` (what
memkit needs to trust it). No pickle is read or written.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from memkit.errors import CorruptFileError, IncompatibleModelError, NonFiniteError
from memkit.ledger.failures import storage_errors
from memkit.lora.layers import Adapter, Factors
from memkit.lora.spec import LoraSpec

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
MANIFEST = "manifest.json"


def save_adapter(
    folder: Path, adapter: Adapter, spec: LoraSpec, manifest: Mapping[str, Any], *, conv1d: bool
) -> tuple[str, int]:
    """Write an adapter and flush it to disk.

    Args:
        folder: Made here; must not exist.
        adapter: Factors by layer name.
        spec: Rank and scale.
        manifest: How the adapter was made; JSON values.
        conv1d: Whether the base stores its weights as (in, out), like GPT-2.

    Returns:
        SHA-256 and size in bytes of the weights file.

    Raises:
        StorageError: If it cannot be written; `DiskFullError` and `ReadOnlyError` say why.
    """
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": manifest.get("base_model"),
        "inference_mode": True,
        "r": spec.rank,
        "lora_alpha": spec.scale * spec.rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": conv1d,
        "target_modules": sorted(adapter),
    }
    weights = _pack(adapter)
    with storage_errors(folder):
        folder.mkdir(parents=True)
        (folder / WEIGHTS).write_bytes(weights)
        (folder / CONFIG).write_text(_json(config), encoding="utf-8")
        (folder / MANIFEST).write_text(_json(manifest), encoding="utf-8")
        for path in (*folder.iterdir(), folder, folder.parent):
            _flush(path)
    return hashlib.sha256(weights).hexdigest(), len(weights)


def load_adapter(
    folder: Path, spec: LoraSpec, shapes: Mapping[str, tuple[int, int]], *, digest: str
) -> dict[str, Factors]:
    """Read an adapter back and check every byte and shape of it.

    Args:
        folder: Where `save_adapter` wrote it.
        spec: Its rank.
        shapes: ``(in, out)`` of the base model's layers.
        digest: SHA-256 that the weights file must have.

    Raises:
        CorruptFileError: If the file is missing, truncated or changed.
        IncompatibleModelError: If a layer or shape is not the base model's.
        NonFiniteError: If a weight is NaN or infinite.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise CorruptFileError(f"expected the adapter file {path.name} in {folder}, found none")
    with storage_errors(path):
        data = path.read_bytes()
    if (found := hashlib.sha256(data).hexdigest()) != digest:
        raise CorruptFileError(
            f"expected SHA-256 {digest[:12]}… for {path}, the file has {found[:12]}…"
        )
    try:
        tensors = safetensors.torch.load(data)
    except SafetensorError as exc:
        raise CorruptFileError(f"{path} is no safetensors file: {exc}") from exc
    return _unpack(tensors, spec, shapes)


def size_of(folder: Path) -> int | None:
    """Size of an adapter's weights file in bytes; None if there is none."""
    path = folder / WEIGHTS
    return path.stat().st_size if path.is_file() else None


def _pack(adapter: Adapter) -> bytes:
    tensors = {}
    for name, factors in adapter.items():
        for key, tensor in zip(_keys(name), (factors.a, factors.b), strict=True):
            tensors[key] = tensor.cpu().contiguous()
    return safetensors.torch.save(tensors, metadata={"format": "pt"})


def _unpack(
    tensors: dict[str, Tensor], spec: LoraSpec, shapes: Mapping[str, tuple[int, int]]
) -> dict[str, Factors]:
    """Factors by layer; ``tensors`` is emptied."""
    adapter = {}
    for name, (n_in, n_out) in shapes.items():
        a, b = (tensors.pop(key, None) for key in _keys(name))
        if a is None and b is None:
            continue  # the adapter leaves this layer bare
        expected = [(spec.rank, n_in), (n_out, spec.rank)]
        came = [None if half is None else tuple(half.shape) for half in (a, b)]
        if a is None or b is None or came != expected:
            raise IncompatibleModelError(
                f"expected factors of shapes {expected} for {name}, got {came}"
            )
        if not (a.isfinite().all() and b.isfinite().all()):
            raise NonFiniteError(f"the adapter's weights for {name} hold NaN or infinity")
        adapter[name] = Factors(a, b)
    if tensors:
        raise IncompatibleModelError(
            f"the adapter has weights {min(tensors)!r}, the base model has no such layer"
        )
    return adapter


def _keys(name: str) -> tuple[str, str]:
    """What PEFT calls the factors of a layer."""
    stem = f"base_model.model.{name}.lora"
    return f"{stem}_A.weight", f"{stem}_B.weight"


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False)


def _flush(path: Path) -> None:
    """Flush a file or directory, so that a commit that names it finds it after a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
