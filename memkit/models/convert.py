"""GGUF files to folders of safetensors, once."""

from __future__ import annotations

from pathlib import Path


def converted(gguf: Path) -> Path:
    raise NotImplementedError
