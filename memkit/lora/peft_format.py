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

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from memkit.errors import CorruptFileError, IncompatibleModelError, NonFiniteError
from memkit.lora.layers import Adapter, Factors
from memkit.lora.spec import LoraSpec

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
MANIFEST = "manifest.json"
_PREFIX = "base_model.model."


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
    """
    folder.mkdir(parents=True)
    tensors = {}
    for name, factors in adapter.items():
        tensors[f"{_PREFIX}{name}.lora_A.weight"] = factors.a.cpu().contiguous()
        tensors[f"{_PREFIX}{name}.lora_B.weight"] = factors.b.cpu().contiguous()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
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
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    (folder / MANIFEST).write_text(
        json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False), encoding="utf-8"
    )
    for path in (*folder.iterdir(), folder, folder.parent):
        _flush(path)
    return digest_of(folder), (folder / WEIGHTS).stat().st_size


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
    if (found := digest_of(folder)) != digest:
        raise CorruptFileError(
            f"expected SHA-256 {digest[:12]}… for {path}, the file has {found[:12]}…"
        )
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as exc:
        raise CorruptFileError(f"{path} is no safetensors file: {exc}") from exc
    return _factors(tensors, spec, shapes)


def digest_of(folder: Path) -> str:
    """SHA-256 of an adapter's weights file, in hex."""
    with (folder / WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_of(folder: Path) -> int | None:
    """Size of an adapter's weights file in bytes; None if there is none."""
    path = folder / WEIGHTS
    return path.stat().st_size if path.is_file() else None


def _factors(
    tensors: Mapping[str, torch.Tensor], spec: LoraSpec, shapes: Mapping[str, tuple[int, int]]
) -> dict[str, Factors]:
    names = {key.removeprefix(_PREFIX).rsplit(".lora_", 1)[0] for key in tensors}
    adapter = {}
    for name in sorted(names):
        if name not in shapes:
            raise IncompatibleModelError(f"the adapter has weights for {name!r}, the base has not")
        n_in, n_out = shapes[name]
        factors = Factors(
            a=tensors[f"{_PREFIX}{name}.lora_A.weight"], b=tensors[f"{_PREFIX}{name}.lora_B.weight"]
        )
        came = tuple(factors.a.shape), tuple(factors.b.shape)
        if came != ((spec.rank, n_in), (n_out, spec.rank)):
            raise IncompatibleModelError(
                f"expected shapes {((spec.rank, n_in), (n_out, spec.rank))} for {name}, got {came}"
            )
        if not (factors.a.isfinite().all() and factors.b.isfinite().all()):
            raise NonFiniteError(f"the adapter's weights for {name} hold NaN or infinity")
        adapter[name] = factors
    return adapter


def _flush(path: Path) -> None:
    """Flush a file or directory, so that a commit that names it finds it after a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
