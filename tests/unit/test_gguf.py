"""A GGUF file becomes a folder of safetensors: once, whole, and the same model."""

import errno
import logging
import os
import subprocess
import sys

import pytest
import torch
from gguf_models import write_gguf
from safetensors import SafetensorError
from transformers import PreTrainedModel

from memkit.errors import (
    BusyError,
    CorruptFileError,
    DiskFullError,
    ReadOnlyError,
    StorageError,
    UnsafePathError,
)
from memkit.models import gguf as convert
from memkit.models.gguf import cache_dir, converted
from memkit.models.language_model import TransformersModel
from memkit.testing import tiny_llama


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(path, tiny_llama())
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    path = tmp_path / "cache"
    monkeypatch.setenv("MEMKIT_CACHE", str(path))
    return path


def test_it_is_the_same_model(file, cache):
    folder = converted(file)
    assert folder.parent == cache / "models"

    original, model = tiny_llama(), TransformersModel.load(file, device="cpu")
    assert model.name == "tiny"
    prompt = original.prompt("Which badge does the porter have?", system="Clé <|im_end|>")
    assert model.prompt("Which badge does the porter have?", system="Clé <|im_end|>") == prompt
    ids = torch.tensor([prompt.prefix + prompt.question])
    mask = torch.ones_like(ids)
    torch.testing.assert_close(
        model.model(ids, attention_mask=mask).logits,
        original.model(ids, attention_mask=mask).logits,
        atol=1e-4, rtol=1e-4,
    )  # fmt: skip


def test_it_is_converted_once(file, cache, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="memkit")
    first = converted(file)
    monkeypatch.setattr(convert, "_read", None)  # would fail if it were called

    assert converted(file) == first
    assert [record.message for record in caplog.records] == [
        f"converting tiny.gguf once, into {first}; this takes a while"
    ]


def test_the_folder_is_named_by_content(file, tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "_read", lambda gguf: ("model", "tokenizer"))
    monkeypatch.setattr(
        convert, "_save", lambda model, tokenizer, folder: folder.mkdir(exist_ok=True)
    )
    copied, other = tmp_path / "copy.gguf", tmp_path / "other.gguf"
    copied.write_bytes(file.read_bytes())
    other.write_bytes(b"other")

    assert converted(file) == converted(copied)
    assert converted(other) != converted(file)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.EIO, "broken")])
def test_a_failed_conversion_leaves_nothing(file, cache, monkeypatch, error):
    def fail(model, tokenizer, folder):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(convert, "_save", fail)
        with pytest.raises((KeyboardInterrupt, StorageError)):
            converted(file)
    assert [path.suffix for path in (cache / "models").iterdir()] == [".lock"]

    assert (converted(file) / "model.safetensors").is_file()


def test_what_a_killed_run_left_is_cleaned(file, cache):
    folder = converted(file)
    unfinished = folder.rename(folder.with_name(f"{folder.name}.unfinished"))
    (unfinished / "junk").write_text("half a tensor")

    assert converted(file) == folder
    assert not unfinished.exists()
    assert not (folder / "junk").exists()


@pytest.mark.slow
def test_two_processes_convert_once(file, cache):
    script = (
        "import logging, sys, pathlib; logging.basicConfig(level='INFO')\n"
        "from memkit.models.gguf import converted\n"
        "folder = converted(pathlib.Path(sys.argv[1]))\n"
        "assert (folder / 'model.safetensors').is_file()"
    )
    command = [sys.executable, "-c", script, str(file)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300)[1] for process in running]

    assert [process.returncode for process in running] == [0, 0], said
    assert "".join(said).count("converting tiny.gguf once") == 1


def test_a_held_lock_is_busy(file, monkeypatch):
    monkeypatch.setattr(convert, "_LOCK_SECONDS", 0.05)
    lock = converted(file).with_suffix(".lock")
    converted(file).rename(lock.with_suffix(".away"))

    with convert.file_lock(lock), pytest.raises(BusyError, match="another process"):
        converted(file)


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, DiskFullError), (errno.EROFS, ReadOnlyError), (errno.EACCES, ReadOnlyError)],
)
def test_storage_errors_are_named(file, monkeypatch, number, kind):
    def fail(model, tokenizer, folder):
        raise OSError(number, "no way")

    monkeypatch.setattr(convert, "_save", fail)
    with pytest.raises(kind, match=r"cache folder .* cannot be written: .*no way"):
        converted(file)


def test_a_disk_that_fills_up_under_the_weights_is_named(file, monkeypatch):
    def fail(model, folder):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", fail)
    with pytest.raises(DiskFullError, match="No space left"):
        converted(file)


def test_a_cache_that_is_a_file_is_named(file, cache):
    cache.write_text("not a folder")

    with pytest.raises(StorageError, match="MEMKIT_CACHE"):
        converted(file)


@pytest.mark.parametrize("keep", [0, 3, 20, 200, 1000, 5000, 20_000, 100_000])
def test_a_broken_file_is_named(file, tmp_path, cache, keep):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(file.read_bytes()[:keep])

    with pytest.raises(CorruptFileError, match=r"'broken\.gguf'"):
        converted(broken)
    assert [path.suffix for path in (cache / "models").iterdir()] == [".lock"]


def test_what_is_converted_is_for_its_owner_alone(file, cache):
    before = os.umask(0)
    try:
        folder = converted(file)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}
    assert modes.pop(folder.name) == 0o700
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("harm", ["folder", "file", "another user", "link"])
def test_a_cache_that_others_can_write_to_is_not_used(file, cache, monkeypatch, harm):
    folder = converted(file)
    if harm == "folder":
        folder.chmod(0o777)
    elif harm == "file":
        (folder / "config.json").chmod(0o666)
    elif harm == "another user":
        mine = os.geteuid()
        monkeypatch.setattr(convert.os, "geteuid", lambda: mine + 1)
        monkeypatch.setattr(convert, "_ADMINISTRATOR", -1)
    else:
        (folder / "config.json").rename(cache / "elsewhere")
        (folder / "config.json").symlink_to(cache / "elsewhere")
    with pytest.raises(UnsafePathError, match=r"nobody else to write.*(?s:.)*MEMKIT_CACHE"):
        converted(file)


def test_the_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    assert cache_dir() == tmp_path / "cache"

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MEMKIT_CACHE", "~/mine")
    assert cache_dir() == tmp_path / "mine"

    monkeypatch.delenv("MEMKIT_CACHE")
    monkeypatch.setattr(convert.platformdirs, "user_cache_dir", lambda name: f"/caches/{name}")
    assert str(cache_dir()) == "/caches/memkit"


def test_progress_bars_are_as_before(file):
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity()
    for switch in (
        transformers_logging.disable_progress_bar,
        transformers_logging.enable_progress_bar,
    ):
        switch()
        enabled = transformers_logging.is_progress_bar_enabled()
        TransformersModel.load(file, device="cpu")
        assert transformers_logging.is_progress_bar_enabled() == enabled
        assert transformers_logging.get_verbosity() == before


def test_loading_is_quiet(file, capfd):
    converted(file)
    TransformersModel.load(file, device="cpu")

    assert capfd.readouterr() == ("", "")
