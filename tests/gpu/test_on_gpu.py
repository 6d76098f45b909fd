"""The checks of `python tests/gpu`: whole where there is CUDA, in miniature anywhere."""

import json

import pytest
import torch

from gpu import run_checks
from gpu.checks import CHECKS, Figure


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.slow
@pytest.mark.real
def test_all_checks_hold_on_a_gpu(tmp_path, capsys):
    status = run_checks.main(["--device", "cuda", "--json", str(tmp_path / "gpu.json")])
    assert status == 0, capsys.readouterr().out


def test_all_checks_run_in_miniature_on_a_processor(tmp_path, capsys):
    file = tmp_path / "gpu.json"
    status = run_checks.main(["--device", "cpu", "--json", str(file)])
    shown = capsys.readouterr().out
    written = json.loads(file.read_text())

    assert status == 0, shown
    assert written["errors"] == {}
    assert written["figures"].keys() == CHECKS.keys()
    for name, figures in written["figures"].items():
        assert figures, name
        for figure in figures:
            assert figure["name"] in shown
            assert figure["holds"]


def test_a_figure_beyond_its_bound_and_a_check_that_fails_are_told(monkeypatch, capsys):
    def broken(device, size):
        yield Figure("too much", 2.0, "s", 1.0)
        yield Figure("too little", 0.5, "share", 0.9, upper=False)

    def failing(device, size):
        yield Figure("first", 1.0, "s")
        raise RuntimeError("no kernel")

    monkeypatch.setattr(run_checks, "CHECKS", {"broken": broken, "failing": failing})
    assert run_checks.main(["--device", "cpu"]) == 1

    shown = capsys.readouterr().out
    assert "<= 1 BROKEN" in shown
    assert ">= 0.9 BROKEN" in shown
    assert "FAILED: RuntimeError: no kernel" in shown
    assert "2 beyond their bounds, 1 failed" in shown


def test_without_the_device_nothing_is_checked(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run_checks.main([]) == 2
    assert "finds no cuda here" in capsys.readouterr().err
