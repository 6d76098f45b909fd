"""Adapter folders in PEFT's format: written whole, read to the bit, refused if anything is off."""

import errno
import hashlib
import json
import math
import pickle
import stat
import struct
from contextlib import suppress
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig

from memkit.errors import (
    CorruptFileError,
    DiskFullError,
    IncompatibleModelError,
    InvalidInputError,
    MemkitError,
    NonFiniteError,
    StorageError,
    UnsafePathError,
)
from memkit.lora.peft.peft_config import CONFIG, MAX_RANK
from memkit.lora.peft.peft_format import (
    MANIFEST,
    WEIGHTS,
    read_settings,
    read_weights,
    write_folder,
)
from memkit.lora.serving.hooks import Factors, Scaled

SHAPES = {"model.layers.0.up": (5, 4), "model.layers.1.down": (4, 6), "model.layers.1.up": (5, 4)}
MANIFEST_VALUES = {"base_model": "tiny", "fingerprint": "f" * 64, "recall": 1.0, "name": "größe"}
A_OF_UP = "base_model.model.model.layers.0.up.lora_A.weight"
B_OF_UP = "base_model.model.model.layers.0.up.lora_B.weight"


def adapter(rank=2):
    random = torch.Generator().manual_seed(0)
    return {
        name: Factors(
            torch.randn(rank, n_in, generator=random), torch.randn(n_out, rank, generator=random)
        )
        for name, (n_in, n_out) in list(SHAPES.items())[:2]
    }


def write(folder, manifest=MANIFEST_VALUES, *, conv1d=False):
    write_folder(folder, Scaled(adapter(), 2, 1.5), manifest, conv1d=conv1d)


@pytest.fixture
def folder(tmp_path):
    """An adapter's folder."""
    write(tmp_path / "adapter")
    return tmp_path / "adapter"


def read(folder, shapes=SHAPES):
    return read_weights(folder, read_settings(folder).rank, shapes)[0]


def configure(folder, **values):
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values))


def reweigh(folder, change):
    tensors = safetensors.torch.load_file(folder / WEIGHTS)
    change(tensors)
    safetensors.torch.save_file(tensors, folder / WEIGHTS)


# -- what is written -------------------------------------------------------------------------


def test_an_adapter_is_read_back_to_the_bit(folder):
    factors, digest = read_weights(folder, 2, SHAPES)

    assert list(factors) == list(adapter())
    for name, expected in adapter().items():
        assert torch.equal(factors[name].a, expected.a)
        assert torch.equal(factors[name].b, expected.b)
    assert digest == hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def test_the_settings_are_read_back(folder):
    read = read_settings(folder)

    assert (read.rank, read.scale) == (2, 1.5)
    assert (read.base_model, read.fingerprint) == ("tiny", "f" * 64)


def test_the_same_adapter_gives_the_same_bytes(folder, tmp_path):
    write(tmp_path / "again")

    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_names_and_settings_are_pefts(folder):
    assert sorted(safetensors.torch.load_file(folder / WEIGHTS)) == [
        "base_model.model.model.layers.0.up.lora_A.weight",
        "base_model.model.model.layers.0.up.lora_B.weight",
        "base_model.model.model.layers.1.down.lora_A.weight",
        "base_model.model.model.layers.1.down.lora_B.weight",
    ]
    assert LoraConfig.from_pretrained(folder) == LoraConfig(
        task_type="CAUSAL_LM",
        base_model_name_or_path="tiny",
        inference_mode=True,
        r=2,
        lora_alpha=3.0,
        target_modules=["model.layers.0.up", "model.layers.1.down"],
    )


def test_the_manifest_is_kept_beside_the_weights(folder):
    text = (folder / MANIFEST).read_text(encoding="utf-8")

    assert json.loads(text) == MANIFEST_VALUES
    assert "größe" in text
    assert sorted(path.name for path in folder.iterdir()) == sorted([WEIGHTS, CONFIG, MANIFEST])


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "adapter").mkdir()
    write(tmp_path / "adapter")

    assert read(tmp_path / "adapter")


def test_missing_parents_are_made(tmp_path):
    write(tmp_path / "a" / "b" / "adapter")

    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["adapter"]


def test_what_a_link_leads_to_stays_as_it_is(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with pytest.raises(UnsafePathError, match="found a symbolic link"):
        write(tmp_path / "link")

    assert not any((tmp_path / "there").iterdir())


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_nothing_is_written_over(tmp_path, kind):
    place = tmp_path / "adapter"
    if kind == "folder":
        place.mkdir()
        (place / "notes.txt").write_text("mine")
    else:
        place.write_text("mine")

    with pytest.raises(InvalidInputError, match=r"must be new or empty, .*adapter'\nHint"):
        write(place)

    assert (place / "notes.txt" if kind == "folder" else place).read_text() == "mine"
    assert list(tmp_path.iterdir()) == [place]


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path, monkeypatch):
    def full(path, *_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("memkit.lora.peft.peft_format.flush", full)
    with pytest.raises(DiskFullError, match="adapter"):
        write(tmp_path / "adapter")

    assert list(tmp_path.iterdir()) == []


# -- what PEFT may write ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ({"lora_alpha": 8}, 4.0),
        ({"lora_alpha": -1}, -0.5),
        ({"lora_alpha": 8, "use_rslora": True}, 8 / math.sqrt(2)),
    ],
)
def test_the_scale_is_pefts(folder, values, scale):
    configure(folder, **values)

    assert read_settings(folder).scale == scale


@pytest.mark.parametrize(
    "values",
    [
        {"target_modules": ["up", "down"], "exclude_modules": "x", "layers_to_transform": [0]},
        {"target_modules": ".*up"},
        {"fan_in_fan_out": True},
        {"lora_dropout": 0.1, "task_type": None, "peft_version": "9", "inference_mode": False},
        {"rank_pattern": {}, "modules_to_save": None, "use_dora": False, "lora_bias": False},
        {"init_lora_weights": True},
        {"init_lora_weights": "gaussian"},
    ],
    ids=str,
)
def test_settings_without_effect_are_read_over(folder, values):
    configure(folder, **values)

    assert read(folder).keys() == adapter().keys()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_other_precisions_become_float32(folder, dtype):
    def halve(tensors):
        tensors.update({key: tensor.to(dtype) for key, tensor in tensors.items()})

    reweigh(folder, halve)

    factors = read(folder)["model.layers.0.up"]
    assert torch.equal(factors.a, adapter()["model.layers.0.up"].a.to(dtype).float())
    assert factors.b.dtype == torch.float32


def test_reading_changes_nothing(folder):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    for path in folder.iterdir():
        path.chmod(stat.S_IRUSR)

    read(folder)

    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}


# -- settings that are refused ---------------------------------------------------------------


@pytest.mark.parametrize(
    "setting",
    [
        {"use_dora": True},
        {"lora_bias": True},
        {"bias": "all"},
        {"rank_pattern": {"up": 4}},
        {"alpha_pattern": {"up": 4}},
        {"modules_to_save": ["lm_head"]},
        {"trainable_token_indices": [1]},
        {"layer_replication": [[0, 1]]},
        {"target_parameters": ["experts"]},
        {"use_qalora": True},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "loftq"},
        {"a_setting_of_a_later_peft": 1},
    ],
    ids=str,
)
def test_more_than_plain_lora_is_refused_by_name(folder, setting):
    configure(folder, **setting)

    with pytest.raises(InvalidInputError, match=rf"plain LoRA.*sets `{next(iter(setting))}`\nHint"):
        read_settings(folder)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"task_type": "POETRY"}, "Invalid task type: 'POETRY'"),
        ({"target_modules": ".*up", "layers_to_transform": [0]}, "`layers_to_transform` cannot"),
        ({"target_modules": [["up"]]}, "unhashable type"),
    ],
    ids=str,
)
def test_what_peft_refuses_is_refused_in_its_words(folder, setting, reason):
    configure(folder, **setting)

    with pytest.raises(InvalidInputError, match=rf"that PEFT accepts.*says: .*{reason}") as refused:
        read_settings(folder)

    assert refused.value.hint == "save the adapter again with `save_pretrained`"


@pytest.mark.parametrize("kind", ["LOHA", "PROMPT_TUNING", None, ["LORA"]])
def test_another_method_is_refused(folder, kind):
    configure(folder, peft_type=kind)

    with pytest.raises(InvalidInputError, match="expected an adapter of `peft_type` 'LORA', got"):
        read_settings(folder)


@pytest.mark.parametrize("rank", [0, -1, MAX_RANK + 1, 10**400, 2.0, "2", True, None, [2]])
def test_a_rank_that_is_none_is_refused(folder, rank):
    configure(folder, r=rank)

    with pytest.raises(InvalidInputError, match=rf"expected `r` in 1..{MAX_RANK} in {CONFIG}, got"):
        read_settings(folder)


@pytest.mark.parametrize("alpha", [math.nan, math.inf, 10**400, "8", False, None, {}])
def test_an_alpha_that_is_none_is_refused(folder, alpha):
    configure(folder, lora_alpha=alpha)

    with pytest.raises(InvalidInputError, match="expected `lora_alpha` to be a finite number"):
        read_settings(folder)


def test_rslora_has_to_be_a_boolean(folder):
    configure(folder, use_rslora="yes")

    with pytest.raises(InvalidInputError, match="expected `use_rslora` to be a boolean"):
        read_settings(folder)


@pytest.mark.parametrize("name", [CONFIG, MANIFEST])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "is no JSON file"),
        (b"\xff\xfe{}", "is no JSON file"),
        (b'{"r": ' + b"9" * 5000 + b"}", "is no JSON file"),
        (b"[" * 100_000, "is no JSON file"),
        (b"[]", "expected an object in .*got list"),
        (b" " * (1 << 20) + b"{}", "expected at most 1048576 bytes"),
    ],
    ids=["cut", "utf-16", "digits", "depth", "list", "size"],
)
def test_a_damaged_json_file_is_refused(folder, name, data, message):
    (folder / name).write_bytes(data)

    with pytest.raises(CorruptFileError, match=message):
        read_settings(folder)


def test_a_folder_without_configuration_is_refused(folder, tmp_path):
    (folder / CONFIG).unlink()

    for place in (folder, tmp_path / "nowhere", folder / WEIGHTS):
        with pytest.raises(CorruptFileError, match=rf"expected {CONFIG} in .*none\nHint"):
            read_settings(place)


# -- weights that are refused ----------------------------------------------------------------


class Exploit:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.pt", "adapter_model.pth"])
def test_a_pickle_is_refused_by_name(folder, tmp_path, name):
    (folder / WEIGHTS).unlink()
    (folder / name).write_bytes(pickle.dumps(Exploit(tmp_path / "executed")))

    with pytest.raises(InvalidInputError, match=rf"found {name}, which .* code\nHint: .*safe_ser"):
        read_settings(folder)

    assert not (tmp_path / "executed").exists()


def test_a_pickle_under_another_name_is_not_loaded(folder, tmp_path):
    (folder / WEIGHTS).write_bytes(pickle.dumps(Exploit(tmp_path / "executed")))

    with pytest.raises(CorruptFileError, match=r"claims a header of|is no safetensors file"):
        read(folder)

    assert not (tmp_path / "executed").exists()


def test_missing_weights_are_refused(folder):
    (folder / WEIGHTS).unlink()

    with pytest.raises(CorruptFileError, match=rf"expected the adapter file {WEIGHTS}.*none"):
        read_settings(folder)
    with pytest.raises(StorageError, match=WEIGHTS):
        read_weights(folder, 2, SHAPES)


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, -1])
def test_truncated_weights_are_refused(folder, keep):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:keep])

    with pytest.raises(CorruptFileError, match="is no safetensors file"):
        read(folder)


@pytest.mark.parametrize("header", [2**63, 2**32, (4 << 20) + 1])
def test_a_header_bomb_is_refused(folder, header):
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", header) + b"{}")

    with pytest.raises(CorruptFileError, match=f"claims a header of {header} bytes"):
        read(folder)


def test_more_weights_than_the_base_has_room_for_are_not_read(folder):
    with (folder / WEIGHTS).open("r+b") as file:
        file.truncate(1 << 40)  # sparse

    with pytest.raises(CorruptFileError, match=r"expected at most \d+ bytes in .*there are more"):
        read(folder)


def test_a_header_that_lies_about_sizes_is_refused(folder):
    header = json.dumps(
        {A_OF_UP: {"dtype": "F32", "shape": [2, 2**40], "data_offsets": [0, 2**43]}}
    ).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(header)) + header)

    with pytest.raises(CorruptFileError, match="is no safetensors file"):
        read(folder)


def test_a_layer_that_the_base_does_not_have_is_refused(folder):
    shapes = {"model.layers.1.down": SHAPES["model.layers.1.down"]}

    with pytest.raises(IncompatibleModelError, match=r"layers\.0\.up.* no such layer\nHint"):
        read(folder, shapes)


@pytest.mark.parametrize(
    "key",
    [
        "base_model.model.model.layers.0.up.lora_magnitude_vector",
        "base_model.model.model.embed_tokens.lora_embedding_A",
        "base_model.model.lm_head.weight",
    ],
)
def test_weights_that_are_no_factors_are_refused(folder, key):
    reweigh(folder, lambda tensors: tensors.update({key: torch.ones(4)}))

    with pytest.raises(IncompatibleModelError, match=rf"{key}.* no such layer"):
        read(folder)


@pytest.mark.parametrize("key", [A_OF_UP, B_OF_UP])
def test_half_a_layer_is_refused(folder, key):
    reweigh(folder, lambda tensors: tensors.pop(key))

    with pytest.raises(IncompatibleModelError, match=r"model\.layers\.0\.up, got .*None"):
        read(folder)


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        (A_OF_UP, (2, 6)),
        (A_OF_UP, (3, 5)),
        (B_OF_UP, (4, 3)),
        (B_OF_UP, (2, 4)),
        (A_OF_UP, (10,)),
        (A_OF_UP, ()),
        (A_OF_UP, (0, 5)),
    ],
)
def test_another_shape_is_refused(folder, key, shape):
    reweigh(folder, lambda tensors: tensors.update({key: torch.zeros(shape)}))

    with pytest.raises(IncompatibleModelError, match=r"expected factors of shapes .*\(2, 5\)"):
        read(folder)


def test_another_rank_than_the_settings_say_is_refused(folder):
    configure(folder, r=4)

    with pytest.raises(IncompatibleModelError, match=r"shapes \[\(4, 5\), \(4, 4\)\].*got \[\(2"):
        read(folder)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float64, torch.float8_e4m3fn])
def test_other_types_are_refused(folder, dtype):
    reweigh(folder, lambda tensors: tensors.update({A_OF_UP: tensors[A_OF_UP].to(dtype)}))

    with pytest.raises(InvalidInputError, match=r"type in \['BF16', 'F16', 'F32'\] .*got '[FI]"):
        read(folder)


def test_a_file_without_weights_is_refused(folder):
    reweigh(folder, lambda tensors: tensors.clear())

    with pytest.raises(CorruptFileError, match="holds no weights"):
        read(folder)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("key", [A_OF_UP, B_OF_UP])
def test_weights_that_are_not_finite_are_refused(folder, key, value):
    def spoil(tensors):
        tensors[key][0, 0] = value

    reweigh(folder, spoil)

    with pytest.raises(NonFiniteError, match=r"model\.layers\.0\.up hold NaN or infinity"):
        read(folder)


# -- anything ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    """A folder to be damaged over and over, and what was in it."""
    folder = tmp_path_factory.mktemp("fuzzed") / "adapter"
    write(folder)
    return folder, {path.name: path.read_bytes() for path in folder.iterdir()}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
SETTING = st.sampled_from(
    "peft_type r lora_alpha use_rslora bias init_lora_weights target_modules use_dora "
    "fingerprint base_model_name_or_path".split()
)


def refused_or_read(folder):
    with suppress(MemkitError):  # any other error fails the test
        read(folder)


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from([WEIGHTS, CONFIG, MANIFEST]), data=st.data())
def test_any_damage_is_refused_with_an_error_of_memkit(fuzzed, name, data):
    folder, contents = fuzzed
    for path, content in contents.items():
        (folder / path).write_bytes(content)
    damaged = bytearray(contents[name])
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=4), label="at"):
        damaged[at] = data.draw(st.integers(0, 255), label="byte")
    cut = data.draw(st.integers(0, len(damaged)) | st.just(len(damaged)), label="cut")
    (folder / name).write_bytes(damaged[:cut])

    refused_or_read(folder)


@settings(max_examples=100, deadline=None)
@given(
    name=st.sampled_from([CONFIG, MANIFEST]),
    values=st.dictionaries(SETTING, JSON, min_size=1, max_size=3),
)
def test_any_setting_is_read_or_refused(fuzzed, name, values):
    folder, contents = fuzzed
    for path, content in contents.items():
        (folder / path).write_bytes(content)
    (folder / name).write_text(json.dumps(json.loads(contents[name]) | values))

    refused_or_read(folder)


HEADER_VALUE = JSON | st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F4", "C64", "X"]) | JSON,
        "shape": st.lists(st.integers(0, 2**70), max_size=3) | JSON,
        "data_offsets": st.lists(st.integers(0, 200), min_size=2, max_size=2) | JSON,
    },
)


@settings(max_examples=100, deadline=None)
@given(
    header=st.dictionaries(st.sampled_from([A_OF_UP, B_OF_UP, "__metadata__"]), HEADER_VALUE),
    tail=st.binary(max_size=200),
)
def test_any_header_is_read_or_refused(fuzzed, header, tail):
    folder, contents = fuzzed
    for path, content in contents.items():
        (folder / path).write_bytes(content)
    head = json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(head)) + head + tail)

    refused_or_read(folder)
