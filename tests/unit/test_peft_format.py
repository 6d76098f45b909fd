"""Adapter files: read back to the bit, and refused when anything about them is wrong."""

import errno
import hashlib
import json
import pickle
import stat
from pathlib import Path

import pytest
import safetensors.torch
import torch

from memkit.errors import (
    CorruptFileError,
    DiskFullError,
    IncompatibleModelError,
    NonFiniteError,
    StorageError,
)
from memkit.lora.layers import Factors
from memkit.lora.peft_format import CONFIG, MANIFEST, WEIGHTS, load_adapter, save_adapter, size_of
from memkit.lora.spec import LoraSpec

SPEC = LoraSpec(rank=2, alpha=3.0)
SHAPES = {"model.layers.0.up": (5, 4), "model.layers.1.down": (4, 6), "model.layers.1.up": (5, 4)}
MANIFEST_VALUES = {"base_model": "tiny", "fingerprint": "f" * 64, "recall": 1.0, "name": "größe"}


def adapter():
    random = torch.Generator().manual_seed(0)
    return {
        name: Factors(
            torch.randn(2, n_in, generator=random), torch.randn(n_out, 2, generator=random)
        )
        for name, (n_in, n_out) in list(SHAPES.items())[:2]
    }


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "adapters" / "m0001"


@pytest.fixture
def digest(folder):
    """Of an adapter that is saved in the folder."""
    return save_adapter(folder, adapter(), SPEC, MANIFEST_VALUES, conv1d=False)[0]


def load(folder, digest, *, shapes=SHAPES, spec=SPEC):
    return load_adapter(folder, spec, shapes, digest=digest)


def rewrite(folder, change):
    """Change the stored tensors; returns the digest of the new file, as if it were trusted."""
    tensors = safetensors.torch.load_file(folder / WEIGHTS)
    change(tensors)
    data = safetensors.torch.save(tensors)
    (folder / WEIGHTS).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


A_OF_UP = "base_model.model.model.layers.0.up.lora_A.weight"
B_OF_UP = "base_model.model.model.layers.0.up.lora_B.weight"


# -- what is written -------------------------------------------------------------------------


def test_an_adapter_is_read_back_to_the_bit(folder, digest):
    read = load(folder, digest)

    assert read.keys() == adapter().keys()
    for name, factors in adapter().items():
        assert torch.equal(read[name].a, factors.a)
        assert torch.equal(read[name].b, factors.b)


def test_digest_and_size_are_the_files(folder):
    digest, size = save_adapter(folder, adapter(), SPEC, MANIFEST_VALUES, conv1d=False)
    data = (folder / WEIGHTS).read_bytes()

    assert digest == hashlib.sha256(data).hexdigest()
    assert size == len(data) == size_of(folder)


def test_the_same_adapter_gives_the_same_bytes(tmp_path):
    saved = [
        save_adapter(tmp_path / name, adapter(), SPEC, MANIFEST_VALUES, conv1d=False)
        for name in ("one", "two")
    ]

    assert saved[0] == saved[1]


def test_names_and_settings_are_pefts(folder, digest):
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))

    assert sorted(safetensors.torch.load_file(folder / WEIGHTS)) == [
        "base_model.model.model.layers.0.up.lora_A.weight",
        "base_model.model.model.layers.0.up.lora_B.weight",
        "base_model.model.model.layers.1.down.lora_A.weight",
        "base_model.model.model.layers.1.down.lora_B.weight",
    ]
    assert config == {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "tiny",
        "inference_mode": True,
        "r": 2,
        "lora_alpha": 3.0,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "target_modules": ["model.layers.0.up", "model.layers.1.down"],
    }


def test_the_manifest_is_kept_beside_the_weights(folder, digest):
    text = (folder / MANIFEST).read_text(encoding="utf-8")

    assert json.loads(text) == MANIFEST_VALUES
    assert "größe" in text
    assert sorted(path.name for path in folder.iterdir()) == sorted([WEIGHTS, CONFIG, MANIFEST])


def test_a_folder_that_exists_is_not_written_into(folder, digest):
    with pytest.raises(StorageError, match=r"could not access .*m0001"):
        save_adapter(folder, adapter(), SPEC, {}, conv1d=False)

    assert load(folder, digest)


def test_a_full_disk_is_named(folder, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskFullError, match="m0001"):
        save_adapter(folder, adapter(), SPEC, {}, conv1d=False)


# -- what is refused -------------------------------------------------------------------------


def test_a_missing_file_is_refused(folder, digest, tmp_path):
    (folder / WEIGHTS).unlink()

    with pytest.raises(CorruptFileError, match=f"expected the adapter file {WEIGHTS}"):
        load(folder, digest)
    with pytest.raises(CorruptFileError, match="found none"):
        load(tmp_path / "nowhere", digest)
    assert size_of(folder) is None


@pytest.mark.parametrize("keep", [0, 1, 7, 100, -1])
def test_a_truncated_file_is_refused(folder, digest, keep):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:keep])

    with pytest.raises(CorruptFileError, match=f"expected SHA-256 {digest[:12]}"):
        load(folder, digest)


@pytest.mark.parametrize("at", [0, 9, -1])
def test_a_flipped_bit_is_refused(folder, digest, at):
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[at] ^= 1
    (folder / WEIGHTS).write_bytes(bytes(data))

    with pytest.raises(CorruptFileError, match="expected SHA-256"):
        load(folder, digest)


def test_another_digest_is_refused(folder, digest):
    with pytest.raises(CorruptFileError, match=f"expected SHA-256 000000000000.*{digest[:12]}"):
        load(folder, "0" * 64)


@pytest.mark.parametrize("data", [b"", b"no tensors", b"\xff" * 64])
def test_a_file_of_another_kind_is_refused(folder, digest, data):
    (folder / WEIGHTS).write_bytes(data)

    with pytest.raises(CorruptFileError, match="is no safetensors file"):
        load(folder, hashlib.sha256(data).hexdigest())


class Exploit:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", [WEIGHTS, "adapter_model.bin", "pytorch_model.bin"])
def test_no_pickle_is_loaded(folder, digest, tmp_path, name):
    data = pickle.dumps(Exploit(tmp_path / "executed"))
    (folder / WEIGHTS).unlink()
    (folder / name).write_bytes(data)

    with pytest.raises(CorruptFileError, match=r"no safetensors file|found none"):
        load(folder, hashlib.sha256(data).hexdigest())

    assert not (tmp_path / "executed").exists()


def test_a_layer_that_the_base_does_not_have_is_refused(folder, digest):
    shapes = {"model.layers.1.down": SHAPES["model.layers.1.down"]}

    with pytest.raises(IncompatibleModelError, match=r"layers\.0\.up.* no such layer"):
        load(folder, digest, shapes=shapes)


def test_weights_that_are_no_factors_are_refused(folder, digest):
    magnitude = "base_model.model.model.layers.0.up.lora_magnitude_vector"

    digest = rewrite(folder, lambda tensors: tensors.update({magnitude: torch.ones(4)}))

    with pytest.raises(IncompatibleModelError, match=r"lora_magnitude_vector.* no such layer"):
        load(folder, digest)


@pytest.mark.parametrize("key", [A_OF_UP, B_OF_UP])
def test_half_a_layer_is_refused(folder, digest, key):
    digest = rewrite(folder, lambda tensors: tensors.pop(key))

    with pytest.raises(IncompatibleModelError, match=r"model\.layers\.0\.up, got .*None"):
        load(folder, digest)


@pytest.mark.parametrize(
    ("key", "shape"),
    [(A_OF_UP, (2, 6)), (A_OF_UP, (3, 5)), (B_OF_UP, (4, 3)), (B_OF_UP, (2, 4)), (A_OF_UP, (10,))],
)
def test_another_shape_is_refused(folder, digest, key, shape):
    digest = rewrite(folder, lambda tensors: tensors.update({key: torch.zeros(shape)}))

    with pytest.raises(IncompatibleModelError, match=r"expected factors of shapes .*\(2, 5\)"):
        load(folder, digest)


def test_another_rank_is_refused(folder, digest):
    with pytest.raises(IncompatibleModelError, match="expected factors of shapes"):
        load(folder, digest, spec=LoraSpec(rank=4))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("key", [A_OF_UP, B_OF_UP])
def test_weights_that_are_not_finite_are_refused(folder, digest, key, value):
    def spoil(tensors):
        tensors[key][0, 0] = value

    digest = rewrite(folder, spoil)

    with pytest.raises(NonFiniteError, match=r"model\.layers\.0\.up hold NaN or infinity"):
        load(folder, digest)


def test_reading_changes_nothing(folder, digest):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    for path in folder.iterdir():
        path.chmod(stat.S_IRUSR)

    load(folder, digest)

    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}
