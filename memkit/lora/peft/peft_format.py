"""LoRA adapters in PEFT's own format: for programs that read it, and from those that write it.

One folder per adapter: ``adapter_model.safetensors`` (factors under PEFT's names),
``adapter_config.json`` (PEFT's `LoraConfig`) and, from memkit, ``manifest.json`` (how the adapter
was made). A folder that comes from outside is not trusted:
its files are bounded in size and nothing in it is executed; `memkit.lora.peft.peft_config` checks
its settings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from memkit.errors import (
    CorruptFileError,
    IncompatibleModelError,
    InvalidInputError,
    NonFiniteError,
    storage_errors,
)
from memkit.files import flush, folder_draft, new_file, open_plain, own_folder
from memkit.lora.peft.peft_config import (
    CONFIG,
    as_json_values,
    checked_config,
    config_of,
    scale_of,
)
from memkit.lora.serving.hooks import Adapter, Factors, Scaled
from memkit.types.validate import shown

WEIGHTS = "adapter_model.safetensors"
MANIFEST = "manifest.json"
PICKLED = ("adapter_model.bin", "adapter_model.pt", "adapter_model.pth")

_STEM = "base_model.model."  # what PEFT puts before the name of a layer
_MAX_JSON = 1 << 20  # bytes; PEFT writes about 2 KiB, memkit's manifests grow with their modules
_MAX_HEADER = 4 << 20  # bytes; a model of 80 layers takes 200 KiB
_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class Settings:
    """What the configuration of an adapter says.

    Attributes:
        scale: The factor s in ``W + s B A``.
        base_model: Name or path of the base model that it was trained for, if it names one.
        fingerprint: Of that base model, if memkit wrote the folder.
        invocation: The tokens from which on it acts; None for all tokens.
    """

    rank: int
    scale: float
    base_model: str | None
    fingerprint: str | None
    invocation: tuple[int, ...] | None = None


def write_folder(
    folder: Path,
    part: Scaled,
    manifest: Mapping[str, Any],
    *,
    conv1d: bool,
    invocation: Sequence[int] = (),
) -> None:
    """Write an adapter as a folder that appears whole or not at all.

    Args:
        folder: Must not exist, or be empty.
        part: The adapter; it is written in its own precision.
        manifest: How it was made; JSON values. Its ``base_model`` goes into PEFT's file, too.
        conv1d: Whether the base stores its weights as (in, out), like GPT-2.
        invocation: The tokens from which on it acts; none for all tokens.

    Raises:
        InvalidInputError: If there is something in the folder's place.
        StorageError: If it cannot be written; `DiskFullError` and `ReadOnlyError` say why.
    """
    config = config_of(
        part, base_model=manifest.get("base_model"), conv1d=conv1d, invocation=invocation
    )
    with storage_errors(folder):
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise InvalidInputError(
                f"`folder` must be new or empty, there is something in {str(folder)!r}",
                hint="choose another folder, or remove this one first",
            )
        own_folder(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        contents = {
            WEIGHTS: _pack(part.adapter),
            CONFIG: _json(as_json_values(config)).encode(),
            MANIFEST: _json(manifest).encode(),
        }
        with folder_draft(folder) as draft:
            for name, content in contents.items():
                with new_file(draft / name) as file:
                    file.write(content)
            for path in (*draft.iterdir(), draft):
                flush(path)
            draft.rename(folder)
            flush(folder.parent)


def read_settings(folder: Path) -> Settings:
    """Read and check an adapter's configuration, and memkit's manifest if there is one.

    Raises:
        CorruptFileError: If a file is missing, or is no JSON of the right form.
        InvalidInputError: If it is not plain LoRA, or not in safetensors.
        StorageError: If a file cannot be read.
    """
    values = _read_json(folder / CONFIG)
    if values is None:
        raise CorruptFileError(
            f"expected {CONFIG} in {str(folder)!r}, found none",
            hint="give the folder that PEFT's `save_pretrained` wrote",
        )
    config = checked_config(values)
    _check_safetensors(folder)
    manifest = _read_json(folder / MANIFEST) or {}
    return Settings(
        rank=config.r,
        scale=scale_of(config),
        base_model=_text(config.base_model_name_or_path),
        fingerprint=_text(manifest.get("fingerprint")),
        invocation=tuple(tokens) if (tokens := config.alora_invocation_tokens) else None,
    )


def read_weights(
    folder: Path, rank: int, shapes: Mapping[str, tuple[int, int]]
) -> tuple[dict[str, Factors], str]:
    """Read an adapter's factors and check every shape and value of them, after `read_settings`.

    Returns:
        The factors in float32, in the order of ``shapes``, and the SHA-256 of the file.

    Raises:
        CorruptFileError: If the file is truncated or no safetensors.
        IncompatibleModelError: If a layer or shape is not the base model's.
        NonFiniteError: If a weight is NaN or infinite.
        StorageError: If the file cannot be read.
    """
    path = folder / WEIGHTS
    room = 4 * rank * sum(n_in + n_out for n_in, n_out in shapes.values())
    data = _read_bounded(path, room + _MAX_HEADER)
    header = int.from_bytes(data[:8], "little")
    if header > _MAX_HEADER:
        raise CorruptFileError(f"{path.name} claims a header of {header} bytes")
    try:
        views = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except SafetensorError as exc:
        raise CorruptFileError(f"{path} is no safetensors file: {exc}") from exc
    return _unpack(dict(views), rank, shapes), hashlib.sha256(data).hexdigest()


def state_dict_of(adapter: Adapter) -> dict[str, Tensor]:
    """The factors under PEFT's names; not copied."""
    tensors: dict[str, Tensor] = {}
    for name, factors in adapter.items():
        tensors |= zip(_keys(name), (factors.a, factors.b), strict=True)
    return tensors


def _check_safetensors(folder: Path) -> None:
    if (folder / WEIGHTS).is_file():
        return
    for name in PICKLED:
        if (folder / name).exists():
            raise InvalidInputError(
                f"expected {WEIGHTS} in {str(folder)!r}, found {name}, which can execute code",
                hint="load it in PEFT where you trust it, and save it with "
                "`save_pretrained(folder, safe_serialization=True)`",
            )
    raise CorruptFileError(f"expected the adapter file {WEIGHTS} in {str(folder)!r}, found none")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if there is no file."""
    with storage_errors(path):
        if not path.exists():
            return None
    data = _read_bounded(path, _MAX_JSON)
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise CorruptFileError(f"{path} is no JSON file: {exc}") from exc
    if not isinstance(values, dict):
        raise CorruptFileError(f"expected an object in {path}, got {type(values).__name__}")
    return values


def _read_bounded(path: Path, most: int) -> bytes:
    with storage_errors(path), open_plain(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise CorruptFileError(f"expected at most {most} bytes in {path}, there are more")
    return data


def _pack(adapter: Adapter) -> bytes:
    tensors = {name: factor.cpu().contiguous() for name, factor in state_dict_of(adapter).items()}
    return safetensors.torch.save(tensors, metadata={"format": "pt"})


def _unpack(
    views: dict[str, Any], rank: int, shapes: Mapping[str, tuple[int, int]]
) -> dict[str, Factors]:
    """Factors by layer; ``views`` is emptied."""
    adapter = {}
    for name, (n_in, n_out) in shapes.items():
        a, b = (views.pop(key, None) for key in _keys(name))
        if a is None and b is None:
            continue  # the adapter leaves this layer bare
        expected = [(rank, n_in), (n_out, rank)]
        came = [None if half is None else tuple(half["shape"]) for half in (a, b)]
        if came != expected:
            raise IncompatibleModelError(
                f"expected factors of shapes {expected} for {name}, got {came}"
            )
        adapter[name] = Factors(_tensor(name, a), _tensor(name, b))
    if views:
        raise IncompatibleModelError(
            f"the adapter has weights {min(views)[:200]!r}, the base model has no such layer",
            hint="only linear layers of decoder layers that see every token can be adapted",
        )
    if not adapter:
        raise CorruptFileError(f"{WEIGHTS} holds no weights")
    return adapter


def _tensor(layer: str, view: Mapping[str, Any]) -> Tensor:
    dtype = _DTYPES.get(view["dtype"])
    if dtype is None:
        raise InvalidInputError(
            f"expected weights of a type in {sorted(_DTYPES)} for {layer}, "
            f"got {shown(view['dtype'])}"
        )
    tensor = torch.frombuffer(view["data"], dtype=dtype).reshape(view["shape"]).float()
    if not tensor.isfinite().all():
        raise NonFiniteError(f"the adapter's weights for {layer} hold NaN or infinity")
    return tensor


def _keys(name: str) -> tuple[str, str]:
    """What PEFT calls the factors of a layer."""
    return f"{_STEM}{name}.lora_A.weight", f"{_STEM}{name}.lora_B.weight"


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False)
