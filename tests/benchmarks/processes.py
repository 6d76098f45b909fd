"""Functions of the benchmarks that run in a Python process of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_CODE = """
import sys
from importlib import import_module
_, folder, module, name, *arguments = sys.argv
sys.path.insert(0, folder)
getattr(import_module(module), name)(*arguments)
"""


def start(function: Callable[..., None], *arguments: object) -> subprocess.Popen[str]:
    """Call a function in a new process.

    Args:
        function: At the top of a module below `benchmarks`.
        arguments: It gets them as strings.

    Returns:
        The process; its standard output is a pipe.
    """
    tests = Path(__file__).resolve().parents[1]
    return subprocess.Popen(
        [
            sys.executable, "-c", _CODE,
            str(tests), function.__module__, function.__name__, *map(str, arguments),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def output_of(function: Callable[..., None], *arguments: object) -> str:
    """Call a function in a new process, and return what it wrote to its standard output.

    Raises:
        subprocess.CalledProcessError: If it failed.
    """
    process = start(function, *arguments)
    output, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args, output)
    return output
