"""The measurements of mixing on a tiny model: they run, and say what they have to."""

import json
import sys
from pathlib import Path

import pytest
from benchmarks import command
from benchmarks.engine import bank, mix

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
