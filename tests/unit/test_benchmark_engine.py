"""The measurements of mixing on a tiny model: they run, and say what they have to."""

import json
import sys
from pathlib import Path

import pytest
import torch
from benchmarks import command
from benchmarks.engine import bank, mix, model_shapes, shapes

from memkit.errors import UnsupportedOperationError
from memkit.models.language_model import TransformersModel
from memkit.testing import tiny_llama


@pytest.fixture
def tiny_default(monkeypatch):
    """Stands for the default base model; a new one, as hooks stay on it."""
    base = tiny_llama()
    monkeypatch.setattr(TransformersModel, "load", lambda *_, **__: base)
    return base


def report(capsys, arguments):
    assert command.main(arguments) == 0
    shown = capsys.readouterr().out
    written = json.loads(Path(arguments[-1]).read_text(encoding="utf-8"))
    assert written["command"].startswith("python tests/benchmarks")
    for result in written["results"]:
        assert result["metric"] in shown
        assert result["low"] <= result["value"] <= result["high"]
    assert all(name in shown for name in written["ratios"])
    return written


@pytest.mark.slow
def test_mixing(tiny_default, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(mix, "IN_MEMORY", 4)
    monkeypatch.setattr(mix, "MODULES", 150)
    monkeypatch.setattr(mix.main, "__kwdefaults__", {"modules": 150})

    written = report(capsys, ["mix", "--json", str(tmp_path / "mix.json")])

    assert written["name"] == "mix"
    assert {
        "mix_vs_peft", "mix_error", "decode_vs_base", "batch_vs_base", "batch_vs_adapter_names",
    } <= set(written["ratios"])  # fmt: skip
    assert written["ratios"]["mix_error"] < 1e-5
    assert all(value > 0 for value in written["ratios"].values())


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_the_cost_of_modules(tiny_default, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bank, "COUNTS", (2, 4, 8))
    monkeypatch.setattr(bank, "MIXTURES", 3)
    monkeypatch.setattr(bank, "REPEATS", 1)

    def probed(directory):
        bank.probe(str(directory))
        return json.loads(capsys.readouterr().out)

    monkeypatch.setattr(bank, "_probed", probed)
    written = report(capsys, ["bank", "--json", str(tmp_path / "bank.json")])

    assert set(written["ratios"]) == {"rss_growth_mb_per_100_adapters"}
    assert {result["case"] for result in written["results"]} == {
        f"{count} modules, rank 4" for count in (2, 4, 8)
    }


def test_resident_memory_is_linux_only(monkeypatch):
    monkeypatch.setattr(bank.Path, "exists", lambda _: False)
    with pytest.raises(UnsupportedOperationError, match="which only Linux has"):
        bank._resident()


def test_shapes_in_miniature(tmp_path, capsys, monkeypatch):
    def probed(function, *arguments):
        function(*arguments)
        return capsys.readouterr().out

    monkeypatch.setattr(shapes, "output_of", probed)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    given = ["shapes", "--shape", "tiny", "--dtypes", "float32"]
    written = report(capsys, [*given, "--json", str(tmp_path / "shapes.json")])

    values = {(r["case"], r["metric"]): r["value"] for r in written["results"]}
    case = "tiny in float32 on cpu"
    assert values[case, "fingerprint"] > 0
    assert values[case, "training step"] > 0
    assert values[case, "training step, layers computed again"] > 0
    assert values[case, "decode 8, mixture of 3"] > 0
    assert values[case, "memory, peak of training"] > 0


@pytest.mark.parametrize(
    ("shape", "parameters", "token"),
    # As published: 1.24 and 8.03 billion; 2 * layers * 8 heads * width * 2 bytes.
    [("1b", 1_235_814_400, 2 * 16 * 8 * 64 * 2), ("8b", 8_030_261_248, 2 * 32 * 8 * 128 * 2)],
)
def test_what_larger_shapes_take_is_reckoned(shape, parameters, token):
    sizes = model_shapes.reckon(shape, torch.bfloat16)

    assert sizes.parameters == parameters
    assert sizes.weights == 2 * parameters
    assert sizes.token == token


def test_an_adapter_of_the_larger_shape_is_as_wide_as_its_layers():
    # A layer of Llama 3.1 8B: q and o, k and v, and three between 4,096 and 14,336.
    widths = 2 * 8192 + 2 * 5120 + 3 * 18_432
    assert model_shapes.reckon("8b", torch.bfloat16).row == 2 * 8 * 32 * widths
