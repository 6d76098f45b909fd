"""The examples and the README's first steps run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.real


def run(*arguments, cwd):
    result = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_quick_start(tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    snippets = re.findall(r"## Quick start\s+```python\n(.*?)```", readme, re.DOTALL)
    assert len(snippets) == 1

    printed = run("-c", snippets[0], cwd=tmp_path)

    assert "The night porter's badge number is 4471." in printed
    assert "second floor of the mill building" in printed
    assert "forgotten records" in printed


def test_the_how_to(tmp_path):
    page = (ROOT / "docs" / "how-to.md").read_text(encoding="utf-8")
    program = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))

    printed = run("-c", program, cwd=tmp_path)

    assert "user: I am moving to room 12 tomorrow." in printed
    assert "3 records held in weights" in printed
    assert printed.count("forgotten records") == 3  # by sweep() and twice by forget()
    assert "Parcels are handed out at gate 3. one of" in printed


def test_a_hosted_model_gets_the_evidence(tmp_path):
    printed = run(ROOT / "examples" / "hosted_model.py", "agent.mem", cwd=tmp_path)

    assert "until half past four" in printed


def test_two_users_are_kept_apart(tmp_path):
    printed = run(ROOT / "examples" / "two_users.py", "agent.mem", cwd=tmp_path)

    nobody, ann, session, bob, after = re.split(r" sees:|Ann now sees:", printed)[1:]
    assert "8812" not in nobody + bob
    assert "3057" not in nobody + ann + session
    assert "holiday" not in ann
    assert "8812" in ann
    assert "8812" in session
    assert "holiday" in session
    assert "3057" in bob
    assert re.findall(r"'.*'", after) == ["'The canteen opens at noon.'"]
