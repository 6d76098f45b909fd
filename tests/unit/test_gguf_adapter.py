"""Modules leave a memory as GGUF files of llama.cpp's: whole, or not at all."""

import errno
import json
import os
import stat

import gguf
import numpy as np
import pytest
import torch
from gguf_models import interleaved

from memkit import InvalidInputError, UnsupportedOperationError
from memkit.errors import DiskFullError, UnsafePathError
from memkit.lora.llama_cpp import gguf_adapter
from memkit.lora.llama_cpp.gguf_adapter import MANIFEST, llama_cpp_invocation
from memkit.lora.llama_cpp.gguf_names import GGUFNames
from memkit.lora.module_export import Export
from memkit.models.invocation import invocation_tokens
from memkit.testing import tiny_gpt2, tiny_llama, tiny_qwen2

FIRST = "model.layers.0.self_attn.{}_proj"


@pytest.fixture
def exported(trained, tmp_path):
    """m0001 as a file, read by gguf's own reader, and what it was made of."""
    path = trained.modules.export("m0001", tmp_path / "m0001.gguf", format="gguf")
    assert path == tmp_path / "m0001.gguf"
    return gguf.GGUFReader(path), trained._engine.lora.stored(trained.modules.list()[0])


def tensors_of(reader):
    return {tensor.name: tensor.data for tensor in reader.tensors}


def value(reader, key):
    return reader.fields[key].contents()


def test_it_says_what_it_is(exported, tiny):
    reader, part = exported
    assert value(reader, "general.architecture") == "llama"
    assert value(reader, "general.type") == "adapter"
    assert value(reader, "general.base_model.0.name") == tiny.name
    assert value(reader, "adapter.type") == "lora"
    assert value(reader, "adapter.lora.alpha") == part.scale * part.rank
    opening = tiny.tokenizer.encode("user\n")
    assert value(reader, "adapter.alora.invocation_tokens") == opening
    assert reader.fields["adapter.alora.invocation_tokens"].types[-1] == gguf.GGUFValueType.UINT32


def test_its_manifest_is_that_of_a_folder(exported, trained, tmp_path):
    trained.modules.export("m0001", tmp_path / "folder")
    folder = json.loads((tmp_path / "folder" / "manifest.json").read_text(encoding="utf-8"))
    assert json.loads(value(exported[0], MANIFEST)) == folder
    assert folder["activated"] is True
    for text in (b"Nora", b"4471", b"Owen"):
        assert text not in (tmp_path / "m0001.gguf").read_bytes()


def test_its_tensors_are_the_factors(exported):
    reader, part = exported
    tensors = tensors_of(reader)
    assert len(tensors) == 2 * len(part.adapter)
    down = part.adapter["model.layers.1.mlp.down_proj"]
    np.testing.assert_array_equal(tensors["blk.1.ffn_down.weight.lora_a"], down.a.numpy())
    np.testing.assert_array_equal(tensors["blk.1.ffn_down.weight.lora_b"], down.b.numpy())


def test_queries_and_keys_have_the_order_of_llama_cpp(exported):
    reader, part = exported
    tensors = tensors_of(reader)
    for leaf, heads in (("q", 4), ("k", 2)):
        factors = part.adapter[FIRST.format(leaf)]
        stem = f"blk.0.attn_{leaf}.weight"
        np.testing.assert_array_equal(tensors[f"{stem}.lora_a"], factors.a.numpy())
        np.testing.assert_array_equal(
            tensors[f"{stem}.lora_b"], interleaved(factors.b.numpy(), heads)
        )
    value = part.adapter[FIRST.format("v")]
    np.testing.assert_array_equal(tensors["blk.0.attn_v.weight.lora_b"], value.b.numpy())


def test_rows_change_places_by_pairs():
    """By hand: in a head of 16, dimensions 0 and 8 are a pair, and come side by side."""
    names = GGUFNames(tiny_llama().model.config)
    rows = torch.arange(64)[:, None]
    changed = names.rows(FIRST.format("q"), rows).flatten().tolist()
    assert changed[:6] == [0, 8, 1, 9, 2, 10]
    assert changed[16:20] == [16, 24, 17, 25]
    same = GGUFNames(tiny_qwen2().model.config).rows(FIRST.format("q"), rows)
    assert same.flatten().tolist() == list(range(64))


def test_a_mixture_is_one_adapter(trained, tmp_path):
    mixture = {"m0001": 0.75, "m0002": 0.25}
    trained.modules.export(mixture, tmp_path / "both.gguf", format="gguf", activated=False)
    reader = gguf.GGUFReader(tmp_path / "both.gguf")
    tensors = tensors_of(reader)
    name, layer = "blk.1.ffn_up.weight", "model.layers.1.mlp.up_proj"
    assert "adapter.alora.invocation_tokens" not in reader.fields
    delta = tensors[f"{name}.lora_b"] @ tensors[f"{name}.lora_a"]
    scale = value(reader, "adapter.lora.alpha") / len(tensors[f"{name}.lora_a"])
    parts = [trained._engine.lora.stored(module) for module in trained.modules.list()]
    expected = sum(
        weight * part.scale * part.adapter[layer].b @ part.adapter[layer].a
        for weight, part in zip(mixture.values(), parts, strict=True)
    )
    np.testing.assert_allclose(scale * delta, expected.numpy(), atol=1e-5)


def test_a_weight_of_nothing_adds_nothing(trained, tmp_path):
    """llama.cpp would take an alpha of 0 for a scale of 1."""
    trained.modules.export({"m0001": 0.0}, tmp_path / "none.gguf", format="gguf")
    reader = gguf.GGUFReader(tmp_path / "none.gguf")
    assert value(reader, "adapter.lora.alpha") != 0
    assert not any(t.data.any() for t in reader.tensors if t.name.endswith("lora_b"))


def test_what_is_there_stays(trained, tmp_path):
    (tmp_path / "mine.gguf").write_text("mine")
    (tmp_path / "link.gguf").symlink_to(tmp_path / "nowhere.gguf")
    for name in ("mine.gguf", "link.gguf", "."):
        with pytest.raises(InvalidInputError, match="`path` must be that of a new file"):
            trained.modules.export("m0001", tmp_path / name, format="gguf")
    assert (tmp_path / "mine.gguf").read_text() == "mine"
    assert not (tmp_path / "nowhere.gguf").exists()


@pytest.mark.parametrize("links", [True, False])
def test_what_comes_while_a_file_is_written_stays_too(trained, tmp_path, monkeypatch, links):
    path, flushed = tmp_path / "m.gguf", gguf_adapter.flush

    def flush(draft):
        if not path.exists():
            path.write_text("mine")
        flushed(draft)

    def refuse(*_):
        raise PermissionError(errno.EPERM, "no hard links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(gguf_adapter, "flush", flush)
    with pytest.raises(InvalidInputError, match="there is something at"):
        trained.modules.export("m0001", path, format="gguf")
    assert [(p.name, p.read_text()) for p in tmp_path.glob("*.gguf")] == [("m.gguf", "mine")]
    monkeypatch.setattr(gguf_adapter, "flush", flushed)
    trained.modules.export("m0001", tmp_path / "other.gguf", format="gguf")
    assert (tmp_path / "other.gguf").stat().st_nlink == 1
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_file_that_cannot_be_written_leaves_nothing(trained, tmp_path, monkeypatch):
    def fail(path):
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(gguf_adapter, "flush", fail)
    with pytest.raises(DiskFullError, match="no room"):
        trained.modules.export("m0001", tmp_path / "out" / "m.gguf", format="gguf")
    assert not any((tmp_path / "out").iterdir())


def test_a_folder_that_is_a_link_is_refused(trained, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(UnsafePathError, match="symbolic link"):
        trained.modules.export("m0001", tmp_path / "link" / "m.gguf", format="gguf")
    assert not any((tmp_path / "real").iterdir())


def test_it_is_for_its_owner_alone(exported, tmp_path):
    assert stat.S_IMODE((tmp_path / "m0001.gguf").stat().st_mode) == 0o600


def test_a_model_that_llama_cpp_names_otherwise_is_refused():
    with pytest.raises(UnsupportedOperationError, match=r"'llama'.*got one of type 'gpt2'"):
        GGUFNames(tiny_gpt2().model.config)
    names = GGUFNames(tiny_llama().model.config)
    with pytest.raises(UnsupportedOperationError, match=r"adapter of 'model\.layers\.0\.extra'"):
        names.tensor("model.layers.0.extra")


def test_an_unknown_format_is_refused(trained, tmp_path):
    with pytest.raises(InvalidInputError, match=r"`format` must be one of .*got 'onnx'"):
        trained.modules.export("m0001", tmp_path / "x", format="onnx")
    with pytest.raises(InvalidInputError, match="`format`"):
        Export(format=["gguf"])


# -- where adapters begin to act -----------------------------------------------------------------


def test_questions_begin_with_the_invocation(tiny):
    tokens = invocation_tokens(tiny)
    assert tokens == tuple(tiny.tokenizer.encode("<|im_start|>user\n"))
    for prompt in (
        tiny.prompt("Who has <|im_start|>user\n badge 7?"),  # a text, no tokens of the template
        tiny.prompt("7", system="Be brief.", history=[("user", "Who?"), ("assistant", "Ada.")]),
    ):
        ids = (*prompt.prefix, *prompt.question)
        found = [at for at in range(len(ids)) if ids[at : at + len(tokens)] == tokens]
        assert found[-1] == len(prompt.prefix)


def test_without_a_template_nothing_invokes():
    assert invocation_tokens(tiny_gpt2()) == ()


def test_llama_cpp_begins_one_token_early():
    assert llama_cpp_invocation((1, 2, 3)) == (2, 3)
    assert llama_cpp_invocation((1,)) == ()


def test_activation_that_cannot_be_said_is_refused(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("memkit.lora.module_export.invocation_tokens", lambda base: (1,))
    with pytest.raises(UnsupportedOperationError, match="activated=False"):
        trained.modules.export("m0001", tmp_path / "a.gguf", format="gguf", activated=True)
    assert not (tmp_path / "a.gguf").exists()
    trained.modules.export("m0001", tmp_path / "a.gguf", format="gguf")
    reader = gguf.GGUFReader(tmp_path / "a.gguf")
    assert json.loads(value(reader, MANIFEST))["activated"] is False
