"""Modules of a memory as adapters of vLLM's, written when they are first asked for."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from vllm.lora.request import LoRARequest
from vllm.lora.resolver import LoRAResolver

from memkit import Memory
from memkit.lora.peft.peft_format import MANIFEST
from memkit.lora.store.adapter_files import destroy_folder
from memkit.types import Module

_PART = re.compile(r"(?:(?P<weight>\d+(?:\.\d+)?|\.\d+)\*)?(?P<name>[^*+\s]+)")
_FOLDER = re.compile(r"memkit-[0-9a-f]{32}")


class MemkitResolver(LoRAResolver):  # type: ignore[misc]  # vLLM need not be installed here
    """Finds the modules of a memory by name; ``0.75*m0001+0.25*m0002`` is a mixture.

    Args:
        memory: The memory's directory.
        folder: Where adapters are written for vLLM, a folder for each.
        scope: Modules of this scope are given besides those of shared records.
        options: For `Memory.open`, when an adapter is written; without a ``base_model`` it is
            opened with vLLM's.
    """

    def __init__(
        self,
        memory: Path,
        folder: Path,
        *,
        scope: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._memory = memory
        self._folder = folder
        self._scope = dict(scope or {})
        self._options = dict(options or {})
        self._turn = Lock()  # the base model is loaded once, whoever asks

    async def resolve_lora(self, base_model_name: str, lora_name: str) -> LoRARequest | None:
        """Give a module, or a mixture as one adapter; None if the memory has no such modules.

        Raises:
            IncompatibleModelError: If the modules were trained for another base model.
            MemkitError: If the memory cannot be read, or the adapter not be written.
        """
        weights = parsed(lora_name)
        if weights is None:
            return None
        path = await asyncio.to_thread(self._path, base_model_name, weights)
        if path is None:
            return None
        # Of the folder, not the name: vLLM would go on with what it has loaded under a number.
        number = int(hashlib.sha256(path.name.encode()).hexdigest()[:7], 16)
        return LoRARequest(lora_name=lora_name, lora_int_id=1 + number, lora_path=str(path))

    def _path(self, base_model: str, weights: Mapping[str, float]) -> Path | None:
        with self._turn:
            modules = self._modules()
            self._destroy_stale(modules)
            if not weights.keys() <= modules.keys():
                return None
            versions = [[name, modules[name].version, weight] for name, weight in weights.items()]
            digest = hashlib.sha256(json.dumps([base_model, versions]).encode()).hexdigest()
            path = self._folder / f"memkit-{digest[:32]}"
            if not path.exists():
                self._write(base_model, weights, path)
            return path

    def _modules(self) -> dict[str, Module]:
        """Those that may be given, by name; no model is loaded."""
        with Memory.open(self._memory, backends=["buffer"]) as memory:
            modules = memory.modules.list()
        return {m.name: m for m in modules if m.scope.items() <= self._scope.items()}

    def _write(self, base_model: str, weights: Mapping[str, float], path: Path) -> None:
        theirs = (
            {} if "base_model" in self._options else {"base_model": base_model, "device": "cpu"}
        )
        with Memory.open(self._memory, **(theirs | self._options)) as memory:
            # vLLM refuses an adapter that says from where on it acts.
            memory.modules.export(weights, path, activated=False)

    def _destroy_stale(self, modules: Mapping[str, Module]) -> None:
        """Destroy what was written of modules that are not in service any more."""
        folders = self._folder.iterdir() if self._folder.is_dir() else ()
        for folder in folders:
            if _FOLDER.fullmatch(folder.name) and not _in_service(_parts_of(folder), modules):
                destroy_folder(folder)


def parsed(name: str) -> dict[str, float] | None:
    """The modules and weights that a name asks for; None if it is no such name."""
    weights: dict[str, float] = {}
    for part in name.split("+"):
        match = _PART.fullmatch(part)
        if match is None or match["name"] in weights:
            return None
        weights[match["name"]] = float(match["weight"] or 1.0)
    return weights


def _parts_of(folder: Path) -> list[tuple[str, int]]:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return [(module["name"], module["version"]) for module in manifest["modules"]]


def _in_service(parts: Sequence[tuple[str, int]], modules: Mapping[str, Module]) -> bool:
    return all(name in modules and modules[name].version == version for name, version in parts)
