"""What ``import memkit`` gives, and what it does not drag in."""

import logging
import subprocess
import sys

import pytest

import memkit

HEAVY = {"torch", "faiss", "transformers", "sentence_transformers", "peft"}


@pytest.mark.parametrize(
    "statement", ["import memkit", "from memkit import *", "import memkit.cli.main"]
)
def test_no_heavy_library_comes_along(statement):
    assert HEAVY & loaded_by(statement) == set()


def test_the_help_and_completion_open_no_memory():
    assert {"numpy", "sqlite3", "pydantic"} & loaded_by("import memkit.cli.app") == set()


def loaded_by(statement):
    script = f"{statement}\nimport sys\nprint(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def test_the_names_are_few_sorted_and_real():
    names = memkit.__all__

    assert names == sorted(names)
    assert len(names) <= 25
    assert dir(memkit) == names
    for name in names:
        value = getattr(memkit, name)
        assert name in {"__version__", getattr(value, "__name__", None)}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'memkit' has no attribute 'Memroy'"):
        memkit.Memroy  # noqa: B018


def test_memkit_logs_nothing_unless_asked():
    handlers = logging.getLogger("memkit").handlers

    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)
