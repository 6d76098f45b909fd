"""Where a model comes from: a path, a package, the hub's cache or the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    name: str
    path: Path
    origin: str
    gguf: bool


def find_base(spec: str | Path | None) -> Source:
    raise NotImplementedError
