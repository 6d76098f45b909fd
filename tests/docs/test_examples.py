"""The examples run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments, cwd):
    result = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.real
def test_a_hosted_model_gets_the_evidence(tmp_path):
    printed = run(ROOT / "examples" / "hosted_model.py", "agent.mem", cwd=tmp_path)

    assert "until half past four" in printed


@pytest.mark.real
@pytest.mark.parametrize("name", ["hosted_model", "two_users"])
def test_without_a_directory_nothing_stays(name, tmp_path):
    assert run(ROOT / "examples" / f"{name}.py", cwd=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.real
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


def test_a_backend_of_ones_own_finds_what_the_index_cannot(tmp_path):
    printed = run(ROOT / "examples" / "own_backend.py", cwd=tmp_path)

    assert printed == "Facts:\n- A response is owed within four hours.\n"


def test_a_router_of_ones_own_decides(tmp_path):
    printed = run(ROOT / "examples" / "own_router.py", cwd=tmp_path)

    assert "2 records held in weights" in printed
    assert re.search(r"Which badge has Nora\? route: m0001 x 1\.00", printed)
    assert re.search(r"Which badge has Ada\? route: none", printed)


def test_a_synthesizer_of_ones_own_is_asked_once_for_each_record(tmp_path):
    printed = run(ROOT / "examples" / "own_synthesizer.py", cwd=tmp_path)

    assert printed.count("the hosted model is asked") == 2
    assert printed.count("2 records held in weights") == 2  # trained, then trained again
    assert "\n4471\n" in printed


def test_a_vector_index_of_ones_own_is_searched(tmp_path):
    printed = run(ROOT / "examples" / "own_vector_index.py", cwd=tmp_path)

    assert printed.startswith("Nora has badge 4471.\n")


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("own_*.py")), ids=lambda p: p.stem)
def test_what_is_to_be_copied_is_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60
