"""How much memory a device has, and how much of it is free."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

if TYPE_CHECKING:
    import torch

_GROUP = Path("/sys/fs/cgroup")  # of this process, inside of a container


class DeviceMemory(NamedTuple):
    """Bytes of memory."""

    free: int
    total: int


def memory_of(device: torch.device) -> DeviceMemory:
    """What a device has; of the machine where it shares the machine's memory."""
    if device.type == "cuda":
        import torch

        free, total = torch.cuda.mem_get_info(device)
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return DeviceMemory(free + reserved, total)  # what torch holds and does not use is ours
    return machine_memory()


def machine_memory() -> DeviceMemory:
    """What the machine has, or what a container may take of it."""
    machine = psutil.virtual_memory()
    free, total = machine.available, machine.total
    with suppress(OSError, ValueError):  # no control groups, or no limit ("max")
        limit = int((_GROUP / "memory.max").read_text(encoding="ascii"))
        used = int((_GROUP / "memory.current").read_text(encoding="ascii"))
        files = _inactive_files()  # pages of files, which give way
        free, total = min(free, max(0, limit - used + files)), min(total, limit)
    return DeviceMemory(int(free), int(total))


def _inactive_files() -> int:
    for line in (_GROUP / "memory.stat").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            return int(value)
    return 0
