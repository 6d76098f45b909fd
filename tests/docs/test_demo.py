"""The demo runs, shows what it says it shows, and leaves nothing behind."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.real
def test_the_quick_demo_shows_everything(tmp_path):
    figures = tmp_path / "demo.json"
    done = subprocess.run(
        [sys.executable, "-m", "memkit", "demo", "--json", str(figures)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "DID NOT HAPPEN" not in done.stdout

    report = json.loads(figures.read_text())
    exact = {r["case"]: r["value"] for r in report["results"] if r["metric"] == "exact_match"}
    assert {"base", "rag", "LoRA routed", "LoRA oracle", "LoRA + rag"} <= exact.keys()
    assert exact["LoRA routed"] >= 0.9
    assert exact["base"] <= 0.1
    assert not list(tmp_path.glob("memkit-demo-*"))
