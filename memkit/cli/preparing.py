"""Getting the models ready: found or fetched, converted, loaded once, and tried."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memkit.cli.machine_commands import size_of_files
from memkit.cli.placing import placed, placed_embedder
from memkit.errors import IncompatibleModelError

TEXT = "Where is the archive?"


def prepared(base_model: str | None, embedder: str | None) -> Iterator[dict[str, Any]]:
    """Prepare the language model, then the embedder; tell of each where it is and how it does.

    The seconds are what whoever opens a memory will wait for: those of loading, without what is
    done once.

    Args:
        base_model: Folder, GGUF file or hub id; None for the default.
        embedder: Folder or hub id; None for the default.

    Raises:
        ModelUnavailableError: If a model is nowhere.
        IncompatibleModelError: If it is no such model, or computes nothing that makes sense.
        CorruptFileError: If its files cannot be read.
    """
    yield _language_model(base_model)
    yield _embedder(embedder)


def _language_model(spec: str | None) -> dict[str, Any]:
    from memkit.models.gguf import converted
    from memkit.models.language_model import TransformersModel
    from memkit.models.sources import find_base
    from memkit.types import Sampling

    source = find_base(spec)
    folder = converted(source.path) if source.gguf else source.path
    started = time.perf_counter()
    model = TransformersModel.load(spec, **placed())
    seconds = time.perf_counter() - started
    with model.hold():
        (answer,) = model.generate([model.prompt(TEXT)], Sampling(max_new_tokens=4))
    if not answer.ids:
        raise IncompatibleModelError(f"expected {model.name} to answer something, got nothing")
    how = model.computes
    return {
        **_entry("language model", source.name, source.origin, folder),
        "computes": f"{how['dtype']} on {model.device}, attention by {how['attn_implementation']}",
        "seconds": seconds,
        "parameters": model.size,
        "weight_bytes": model.weight_bytes,
        "cache_bounds": model.bounds._asdict(),
        "fingerprint": model.fingerprint,
    }


def _embedder(spec: str | None) -> dict[str, Any]:
    from memkit.models.embedder import SentenceEmbedder
    from memkit.models.sources import find_embedder

    source = find_embedder(spec)
    started = time.perf_counter()
    embedder = SentenceEmbedder.load(spec, **placed_embedder())
    seconds = time.perf_counter() - started
    embedder.encode_query([TEXT])  # raises if it makes no finite numbers of it
    return {
        **_entry("embedder", source.name, source.origin, source.path),
        "computes": f"{embedder.dim} numbers on {embedder.device}",
        "seconds": seconds,
    }


def _entry(use: str, name: str, origin: str, path: Path) -> dict[str, Any]:
    return {
        "use": use,
        "name": name,
        "origin": origin,
        "bytes": size_of_files(path),
        "path": str(path),
    }
