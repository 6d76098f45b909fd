"""Whether this machine has what memkit needs: findings, each with its remedy."""

from __future__ import annotations

import locale
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from memkit.cli.placing import placed
from memkit.errors import MemkitError, ModelUnavailableError
from memkit.ledger import is_address
from memkit.ledger.engine import full_text
from memkit.memory.place import shown_place
from memkit.models.gguf import cache_dir
from memkit.models.machine_memory import machine_memory
from memkit.models.placement import Placement
from memkit.models.sources import find_base, find_embedder
from memkit.types import Value
from memkit.version import __version__

GIB = 2**30
LOW_DISK, LOW_MEMORY = 2 * GIB, 2 * GIB  # a set-up with models takes 1.7 GB, training a few
DISTRIBUTION = "memkit-sdk"
_OF_DEVELOPERS = {"bench", "dev", "docs", "test"}  # extras


@dataclass(frozen=True)
class Health(Value):
    """One thing that was looked at."""

    state: Literal["ok", "note", "problem"]  # memkit can do less after a note, or is slower
    what: str
    found: str
    remedy: str = ""


def examine(path: str | Path | None, base_model: str | None = None) -> Iterator[Health]:
    """Look at the environment, then at a memory if one is named.

    Args:
        path: A memory's directory, or its URL; None for none.
        base_model: Folder, GGUF file or hub id of the language model; None for the default.
    """
    yield Health("ok", "memkit", f"{__version__}, Python {platform.python_version()}")
    yield from _libraries()
    yield _sqlite()
    yield _model("language model", partial(find_base, base_model))
    yield _model("embedder", find_embedder)
    yield _cache()
    yield _processor()
    yield _memory()
    yield from _footprint(base_model)
    yield _disk(Path.cwd() if path is None or is_address(path) else Path(path))
    yield _gpu()
    yield _encoding()
    if path is not None:
        yield from _examined(path)


def _libraries() -> Iterator[Health]:
    """What memkit requires, and whether it is there in a version that it works with."""
    try:
        texts = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield Health(
            "note", "libraries", f"{DISTRIBUTION} is not installed; its sources are used",
            "pip install it, or a clone of it, to have its requirements looked at",
        )  # fmt: skip
        return
    required = [Requirement(text) for text in texts]
    wrong = [lack for each in required if _is_needed(each) for lack in [_lack(each)] if lack]
    if wrong:
        remedy = f"pip install '{DISTRIBUTION}'"
        yield Health("problem", "libraries", "; ".join(wrong), remedy)
    else:
        named = ("torch", "transformers", "sentence-transformers", "faiss-cpu", "peft")
        versions = ", ".join(f"{name} {metadata.version(name)}" for name in named)
        yield Health("ok", "libraries", versions)
    for extra in metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []:
        if extra not in _OF_DEVELOPERS:
            yield _extra(extra, [each for each in required if _is_of(each, extra)])


def _extra(extra: str, required: Sequence[Requirement]) -> Health:
    """Whether the libraries of an extra are there; what does not need them works without."""
    lacking = "; ".join(lack for each in required for lack in [_lack(each)] if lack)
    if lacking:
        return Health("note", f"extra {extra}", lacking, f"pip install '{DISTRIBUTION}[{extra}]'")
    versions = ", ".join(f"{each.name} {metadata.version(each.name)}" for each in required)
    return Health("ok", f"extra {extra}", versions)


def _is_needed(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _is_of(requirement: Requirement, extra: str) -> bool:
    return not _is_needed(requirement) and bool(
        requirement.marker and requirement.marker.evaluate({"extra": extra})
    )


def _lack(requirement: Requirement) -> str:
    """What is wrong with an installed library; empty if nothing."""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    fits = requirement.specifier.contains(version, prereleases=True)
    return "" if fits else f"{requirement.name} is {version}, expected {requirement.specifier}"


def _sqlite() -> Health:
    fault = full_text.missing()
    if fault:
        remedy = "use a Python whose SQLite has FTS5, such as that of python.org or of conda"
        found = f"{full_text.SQLITE} without full-text search: {fault}"
        return Health("problem", "SQLite", found, remedy)
    return Health("ok", "SQLite", f"{full_text.SQLITE} with full-text search")


def _model(what: str, find: Callable[..., object]) -> Health:
    try:
        source = find(fetch=False)
    except ModelUnavailableError as error:
        return Health("problem", what, error.message, error.hint)
    name, origin, path = (getattr(source, part) for part in ("name", "origin", "path"))
    return Health("ok", what, f"{name}, from the {origin} at {path}")


def _cache() -> Health:
    folder = cache_dir()
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(place, os.W_OK):
        remedy = "set MEMKIT_CACHE to a folder that you can write to"
        return Health("problem", "cache", f"{folder} cannot be written", remedy)
    return Health("ok", "cache", str(folder))


def _processor() -> Health:
    from memkit.cli.threads import cores, others

    busy = others()
    threads = os.environ.get("OMP_NUM_THREADS", f"{cores():g}")
    found = f"{cores():g} cores, threads for memkit: {threads}"
    if busy >= cores() / 2:
        found += f"; other programs keep {busy:.1f} of them busy"
        return Health("note", "processor", found, "training takes longer until they are done")
    return Health("ok", "processor", found)


def _memory() -> Health:
    free, total = machine_memory()
    found = f"{free / GIB:.1f} of {total / GIB:.1f} GiB are free"
    if free < LOW_MEMORY:
        return Health("note", "memory", found, "close other programs before you consolidate")
    return Health("ok", "memory", found)


def _footprint(base_model: str | None) -> Iterator[Health]:
    """What the language model takes of the memory, its caches included."""
    from memkit.models.footprint import footprint

    try:
        found = footprint(base_model, Placement.of(**placed()))
    except ModelUnavailableError:
        return  # which is said already
    except (MemkitError, ImportError, OSError, ValueError) as error:
        hint = error.hint if isinstance(error, MemkitError) else ""
        message = error.message if isinstance(error, MemkitError) else str(error)
        yield Health("problem", "model's memory", message, hint)
        return
    if found is None:
        remedy = "memkit prepare"
        yield Health("note", "model's memory", "not known before it is converted", remedy)
    elif found.room < 0:
        remedy = "close other programs, take --dtype bfloat16, or a smaller base model"
        yield Health("note", "model's memory", str(found), remedy)
    else:
        yield Health("ok", "model's memory", str(found))


def _disk(path: Path) -> Health:
    place = next(
        parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists()
    )
    free = shutil.disk_usage(place).free
    found = f"{free / GIB:.1f} GiB are free at {place}"
    if free < LOW_DISK:
        return Health("note", "disk", found, "make room before you set up models or consolidate")
    return Health("ok", "disk", found)


def _gpu() -> Health:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Health("problem", "GPU", f"torch cannot be loaded: {error}", "install torch anew")
    if torch.cuda.is_available():
        device = torch.cuda.get_device_properties(0)
        found = f"{device.name}, {device.total_memory / GIB:.0f} GiB"
        return Health("ok", "GPU", found)
    if shutil.which("nvidia-smi"):
        remedy = "install a torch that is built for your CUDA; see pytorch.org"
        return Health("note", "GPU", f"torch {torch.__version__} finds none to use", remedy)
    return Health("ok", "GPU", "none; models run on the processor")


def _encoding() -> Health:
    used = {sys.stdout.encoding or "", locale.getpreferredencoding(do_setlocale=False)}
    if any(name.lower().replace("-", "") != "utf8" for name in used):
        remedy = "set PYTHONUTF8=1, or a locale such as C.UTF-8"
        return Health("note", "text", f"printed as {', '.join(sorted(used))}", remedy)
    return Health("ok", "text", "UTF-8")


def _examined(path: str | Path) -> Iterator[Health]:
    """A memory: whether it opens, is sound, and has the models that it was made with."""
    from memkit import Memory
    from memkit.memory.check import check

    try:
        with Memory.open(path, create=False) as memory:
            stats = memory.stats()
        report = check(path)
    except MemkitError as error:
        yield Health("problem", "this memory", error.message, error.hint)
        return
    if report.sound:
        yield Health("ok", "this memory", str(stats))
    else:
        remedy = f"memkit check {shown_place(path)} --repair"
        yield Health("problem", "this memory", "; ".join(report.problems), remedy)
    if not (is_address(path) or os.access(path, os.W_OK)):
        remedy = "it can be read; to write, give yourself the right to"
        yield Health("note", "this memory", f"{path} cannot be written to", remedy)
