"""How much memory a base model would take, told from its files; its weights are not loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memkit.models.cache_bounds import (
    CacheBounds,
    in_gib,
    room_beside,
    stated_context,
    token_bytes,
)
from memkit.models.gguf import converted_folder
from memkit.models.machine_memory import memory_of
from memkit.models.sources import find_base, quiet

if TYPE_CHECKING:
    from memkit.models.placement import Placement


@dataclass(frozen=True)
class Footprint:
    """What a base model takes on its device, and what is left.

    Attributes:
        name: Of the model.
        computes: Where and in which precision, in words.
        parameters: How many it has.
        weights: Bytes of them.
        bounds: Of its caches.
        room: Bytes that weights and caches leave; below zero if they do not fit.
    """

    name: str
    computes: str
    parameters: int
    weights: int
    bounds: CacheBounds
    room: int

    def __str__(self) -> str:
        prefixes, adapters, activations = (f"{bound / 2**20:.0f} MiB" for bound in self.bounds)
        return (
            f"{self.parameters / 1e6:.0f} million parameters {self.computes}: "
            f"{in_gib(self.weights)}; caches of up to {prefixes} of prefixes, {adapters} of "
            f"adapters, {activations} of activations; {in_gib(self.room)} are left"
        )


def footprint(spec: str | Path | None, placement: Placement) -> Footprint | None:
    """Reckon what a model takes.

    Args:
        spec: Folder, GGUF file or hub id of a model that is on this machine; None for the default.
        placement: Where it would compute, and how.

    Returns:
        None if the model is a GGUF file that was not converted yet.

    Raises:
        InvalidInputError: If its weights would take more than ``placement.max_memory``.
        ModelUnavailableError: If it is not on this machine.
        CorruptFileError: If its files cannot be read.
    """
    from transformers import AutoConfig

    from memkit.models.load_model import stored_parameters

    source = find_base(spec, fetch=False)
    folder = converted_folder(source.path) if source.gguf else source.path
    if not folder.is_dir():
        return None
    device = placement.torch_device()
    dtype = placement.torch_dtype(device)
    with quiet():
        config = AutoConfig.from_pretrained(folder)
    parameters = stored_parameters(folder)
    weights = parameters * dtype.itemsize
    free = memory_of(device).free
    room = room_beside(
        weights, limit=placement.max_memory, free=max(0, free - weights), name=source.name
    )
    bounds = CacheBounds.within(
        room, token=token_bytes(config, dtype.itemsize), context=stated_context(config)
    )
    left = (free if placement.max_memory is None else placement.max_memory) - weights - sum(bounds)
    computes = f"in {str(dtype).removeprefix('torch.')} on {device}"
    return Footprint(source.name, computes, parameters, weights, bounds, left)
