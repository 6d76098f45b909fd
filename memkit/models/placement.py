"""Where models compute and how: checked when a memory is opened, before anything is loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from memkit.errors import InvalidInputError
from memkit.types.validate import check_limit, refuse_part, shown

if TYPE_CHECKING:
    import torch

_DEVICE = re.compile(r"cpu|(?!cpu|meta)[a-z]+(:\d{1,3})?")  # nothing computes on "meta"
_KNOWN = '"cpu", "cuda", "cuda:1" or another device of torch that computes'
DTYPES = ("float32", "bfloat16")
QUANTIZATIONS = ("nf4", "int8")
ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(i?)B|B)?", re.IGNORECASE)
_KERNEL = re.compile(r"[\w.-]+/[\w.-]+(@[\w.-]+)?(:[\w.-]+)?")  # of the hub, as transformers has it


@dataclass(frozen=True)
class Placement:
    """Where models compute, and how; None leaves the choice to memkit.

    Attributes:
        device: In torch's words, such as "cpu", "cuda" or "cuda:1"; None for CUDA if there is
            one, else the CPU.
        dtype: What a language model computes in, "float32" or "bfloat16"; None for bfloat16
            on an accelerator and float32 on the CPU.
        attn_implementation: How a language model computes attention, in transformers' words,
            such as "sdpa" or "eager"; None for what transformers chooses.
        max_memory: Bytes that a language model may take on its device, with its caches; None
            for what is free there.
        quantization: What bitsandbytes makes of a language model's linear layers, "nf4" (4 bits
            a weight) or "int8"; None for none.

    Raises:
        InvalidInputError: If one of them is unknown.
    """

    device: str | None = None
    dtype: str | None = None
    attn_implementation: str | None = None
    max_memory: int | None = None
    quantization: str | None = None

    def __post_init__(self) -> None:
        if self.device is not None:
            _check_device(self.device)
        if self.dtype is not None:
            _check_dtype(self.dtype)
        if self.attn_implementation is not None:
            _check_attention(self.attn_implementation)
        if self.max_memory is not None:
            check_limit("max_memory", self.max_memory)
        if self.quantization is not None:
            _check_quantization(self.quantization)

    @classmethod
    def of(
        cls,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        attn_implementation: str | None = None,
        max_memory: int | str | None = None,
        quantization: str | None = None,
    ) -> Self:
        """The same, of torch's own values and of a size in words, such as "8GiB", as well."""
        return cls(
            _worded(device, "device"),
            _worded(dtype, "dtype"),
            attn_implementation,
            size_in_bytes(max_memory) if isinstance(max_memory, str) else max_memory,
            quantization,
        )

    def check_here(self) -> None:
        """Refuse a device that this machine does not have; torch is loaded only to look for one.

        Raises:
            InvalidInputError: If it is not there.
        """
        if self.device is not None and self.device != "cpu":
            self.torch_device()

    def torch_device(self) -> torch.device:
        """The device, which is there.

        Raises:
            InvalidInputError: If it is not.
        """
        import torch

        if self.device is None:
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
        except RuntimeError:
            raise InvalidInputError(
                f"`device` must be {_KNOWN}, got {shown(self.device)}"
            ) from None
        if device.type != "cpu":
            _check_present(device)
        return device

    def torch_dtype(self, device: torch.device) -> torch.dtype:
        """What a language model computes in on a device."""
        import torch

        if self.dtype is None:
            return torch.float32 if device.type == "cpu" else torch.bfloat16
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype


def size_in_bytes(text: str) -> int:
    """Bytes of a size in words, such as "8GiB", "500 MB" or "1073741824".

    Raises:
        InvalidInputError: If the text is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidInputError(
            f"`max_memory` must be bytes, or a size such as '8GiB' or '500MB', got {shown(text)}"
        )
    number, prefix, binary = match.groups()
    power = " KMGT".index((prefix or " ").upper())
    return int(float(number) * (1024 if binary else 1000) ** power)


def _worded(value: object, name: str) -> str | None:
    """A device or dtype in torch's words."""
    if value is None or isinstance(value, str):
        return value
    if (type(value).__module__, type(value).__name__) != ("torch", name):
        refuse_part(name, value, f"a string or a `torch.{name}`")
    # There is one processor, whether torch counts it or not.
    return "cpu" if str(value) == "cpu:0" else str(value).removeprefix("torch.")


def _check_device(device: object) -> None:
    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        raise InvalidInputError(f"`device` must be {_KNOWN}, got {shown(device)}")


def _check_dtype(dtype: object) -> None:
    if not isinstance(dtype, str) or dtype not in DTYPES:
        half = isinstance(dtype, str) and dtype in {"float16", "half", "fp16"}
        raise InvalidInputError(
            f"`dtype` must be one of {DTYPES}, got {shown(dtype)}",
            hint="the gradients of adapters leave the range of float16; bfloat16 is as small"
            if half
            else "",
        )


def _check_attention(name: object) -> None:
    known = isinstance(name, str) and (name in ATTENTION or _KERNEL.fullmatch(name))
    if not known:
        raise InvalidInputError(
            f"`attn_implementation` must be one of {ATTENTION} or a kernel of the hub, "
            f"got {shown(name)}"
        )


def _check_quantization(name: object) -> None:
    if not isinstance(name, str) or name not in QUANTIZATIONS:
        raise InvalidInputError(
            f"`quantization` must be one of {QUANTIZATIONS}, got {shown(name)}",
            hint="a GGUF file is read as it is, without this",
        )


def _check_present(device: torch.device) -> None:
    """Check that this machine has a device, and torch what it takes to use it."""
    import torch

    backend = getattr(torch, device.type, None)
    if backend is None or not hasattr(backend, "is_available"):
        raise InvalidInputError(f"`device` must be {_KNOWN}, got {str(device)!r}")
    if not backend.is_available():
        raise InvalidInputError(
            f"`device` is {str(device)!r}, torch {torch.__version__} finds no {device.type} here",
            hint="leave `device` out for what there is, or say 'cpu'; `memkit doctor` says what "
            "torch finds",
        )
    count = backend.device_count() if hasattr(backend, "device_count") else 1
    if device.index is not None and device.index >= count:
        raise InvalidInputError(
            f"`device` is {str(device)!r}, there are {count} of them, counted from 0"
        )
