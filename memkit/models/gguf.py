"""GGUF files to folders of safetensors, which load in a second: converted once, then cached."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from filelock import Timeout
from safetensors import SafetensorError
from tqdm import tqdm

from memkit.errors import (
    BusyError,
    CorruptFileError,
    DiskFullError,
    ReadOnlyError,
    StorageError,
    UnsafePathError,
)
from memkit.files import file_lock
from memkit.models.sources import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_LOG = logging.getLogger(__name__)
# What the reader of a GGUF file runs into when the file is damaged.
_STUMBLES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
_ADMINISTRATOR = 0  # the user id of who may have prepared a cache for all
_LOCK_SECONDS = 600.0  # a conversion takes well under a minute; a large model on a slow disk more


def cache_dir() -> Path:
    """Where memkit keeps converted models: ``MEMKIT_CACHE``, else the platform's cache folder."""
    chosen = os.environ.get("MEMKIT_CACHE")
    return (
        Path(chosen).expanduser().absolute()
        if chosen
        else Path(platformdirs.user_cache_dir("memkit"))
    )


def converted_folder(gguf: Path) -> Path:
    """Where `converted` puts what it makes of a file's content; it need not be there yet."""
    with gguf.open("rb") as handle:
        return cache_dir() / "models" / hashlib.file_digest(handle, "sha256").hexdigest()


def converted(gguf: Path) -> Path:
    """Folder with the model and tokenizer of a GGUF file, in float32 safetensors.

    The first call for a file's content takes some 20 s for SmolLM2-135M; later ones hash the
    file. Two processes convert once, and a killed conversion leaves nothing that is taken for
    a model. The file has its tokenizer in it, as llama.cpp writes it.

    Raises:
        CorruptFileError: If the file cannot be read as a model.
        UnsafePathError: If others could have written what is in the cache.
        StorageError: If the cache folder cannot be written to; `ReadOnlyError`,
            `DiskFullError` and `BusyError` say why.
    """
    folder = converted_folder(gguf)
    with _writing(folder.parent):
        if not folder.is_dir():
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with file_lock(Path(f"{folder}.lock"), _LOCK_SECONDS):
                if not folder.is_dir():
                    _convert_into(folder, gguf)
        for path in (folder, *folder.iterdir()):
            _check_owner(path)
    return folder


def _check_owner(path: Path) -> None:
    """Check that nobody else can have put a file into the cache, or can change it.

    Its name says which file it was made of, and nothing about what is in it.
    """
    state = path.lstat()
    if (
        stat.S_ISLNK(state.st_mode)
        or state.st_uid not in {os.geteuid(), _ADMINISTRATOR}
        or (state.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    ):
        raise UnsafePathError(
            f"expected {str(path)!r}, a model that memkit has converted, to be yours or the "
            f"administrator's and for nobody else to write, it is user {state.st_uid}'s with the "
            f"rights {stat.filemode(state.st_mode)}",
            f"If you trust it: `chmod -R go-w {path.parent}`. If not, remove it; or set "
            "MEMKIT_CACHE to a folder of your own.",
        )


def _convert_into(folder: Path, gguf: Path) -> None:
    """Write beside the folder, then rename: the folder is complete from the start."""
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    if unfinished.exists():  # of a run that was killed; the lock is ours now
        shutil.rmtree(unfinished)
    unfinished.mkdir(mode=0o700)
    _LOG.info("converting %s once, into %s; this takes a while", gguf.name, folder)
    try:
        _save(*_read(gguf), unfinished)
        for path in unfinished.iterdir():
            path.chmod(0o600)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _read(gguf: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model in float32 and tokenizer of a GGUF file."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file: dict[str, Any] = {"gguf_file": gguf.name}
    try:
        with quiet(), _bar(f"converting {gguf.name}, once"):
            tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), **file)
            model = AutoModelForCausalLM.from_pretrained(
                str(gguf.parent), dtype=torch.float32, **file
            )
    except _STUMBLES as error:
        raise CorruptFileError(
            f"expected a GGUF model that transformers can read, got {gguf.name!r}: {error}",
            hint="fetch the file again, or give a folder with safetensors",
        ) from error
    return model, tokenizer


@contextmanager
def _bar(title: str) -> Iterator[None]:
    """Show one progress bar, on terminals only, in place of the reader's own."""
    from transformers import modeling_gguf_pytorch_utils

    reader: Any = modeling_gguf_pytorch_utils
    theirs = reader.tqdm
    reader.tqdm = lambda tensors, **_: tqdm(tensors, desc=title, unit=" tensors", disable=None)
    try:
        yield
    finally:
        reader.tqdm = theirs


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    # The weights are plain float32 by now, but the model still takes itself for a quantized
    # one, which save_pretrained refuses.
    model.__dict__["hf_quantizer"] = None
    for mark in ("is_quantized", "quantization_method"):
        model.__dict__.pop(mark, None)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    try:
        with quiet():
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except SafetensorError as error:  # it has the system's error number in its text only
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error)) from error


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Name what may go wrong when the cache is written."""
    hint = "set MEMKIT_CACHE to a folder that can be written to"
    try:
        yield
    except Timeout as error:
        raise BusyError(
            f"another process has been converting in {str(folder)!r} for {_LOCK_SECONDS:.0f} s",
            hint="wait for it, or end it",
        ) from error
    except StorageError:
        raise
    except OSError as error:
        read_only = {errno.EROFS: ReadOnlyError, errno.EACCES: ReadOnlyError}
        kinds = {errno.ENOSPC: DiskFullError, **read_only}
        kind = kinds.get(error.errno or 0, StorageError)
        raise kind(f"the cache folder {str(folder)!r} cannot be written: {error}", hint) from error
