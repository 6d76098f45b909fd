"""Use an installed memkit as a stranger would; run by the interpreter of a fresh environment.

`python smoke.py core` with memkit-sdk and the default models alone, `python smoke.py extras` with
its extras and langchain-memkit besides. Works in the current directory, which should be empty.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

BADGE = "The night porter's badge number is 4471."
EXTRAS = {"serve": "fastapi", "mcp": "mcp"}  # command, which is its extra's name too: a library


def run(*command: str, status: int = 0) -> str:
    """What a command prints; its exit status must be the expected one."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    printed = done.stdout + done.stderr
    print("$", *command)
    if done.returncode != status:
        sys.exit(f"expected exit status {status}, got {done.returncode}:\n{printed}")
    return printed


def expect(true: bool, what: str) -> None:
    """End with an error unless it is true."""
    if not true:
        sys.exit(f"expected {what}")


def memkit(*arguments: str, status: int = 0) -> str:
    """What the installed command line prints."""
    return run(str(Path(sys.executable).with_name("memkit")), *arguments, status=status)


def import_quietly(name: str) -> None:
    """Import a package with warnings as errors, from the environment and nowhere else."""
    print(f"import {name}")
    run(sys.executable, "-W", "error", "-c", f"import {name}")
    place = Path(importlib.import_module(name).__file__ or "")
    expect(place.is_relative_to(sys.prefix), f"{name} in {sys.prefix}, got {place}")


def remember(path: str) -> None:
    """Write a memory and find in it, in Python and without a model."""
    from memkit import Memory
    from memkit.testing import HashingEmbedder

    with Memory.open(path, backends=["rag"], embedder=HashingEmbedder()) as memory:
        memory.add([BADGE, "The archive is on the second floor."])
        expect(memory.search("porter's badge", k=1)[0].text == BADGE, "the porter's badge first")


def core() -> None:
    """What memkit-sdk has to do without any extra."""
    import_quietly("memkit")
    remember("hashing.mem")
    expect(version("memkit-sdk") in memkit("--version"), "the version of the wheel")
    memkit("add", "agent.mem", BADGE)
    expect(BADGE in memkit("search", "agent.mem", "porter's badge"), "what was added")
    stats = json.loads(memkit("stats", "agent.mem", "--json"))
    expect(stats["records"] == 1, f"one record, got {stats}")
    for extra, library in EXTRAS.items():
        printed = memkit(extra, "agent.mem", status=1)
        expect(f"memkit-sdk[{extra}]" in printed, f"a word on how to get {library}: {printed}")


def extras() -> None:
    """What the extras add, and langchain-memkit."""
    from memkit import Memory
    from memkit.testing import HashingEmbedder

    import_quietly("langchain_memkit")
    from langchain_memkit import MemkitRetriever

    with Memory.open("hashing.mem", backends=["rag"], embedder=HashingEmbedder()) as memory:
        found = MemkitRetriever(memory=memory, k=1).invoke("porter's badge")
    expect([one.page_content for one in found] == [BADGE], "the porter's badge, as a document")
    for extra in EXTRAS:
        memkit(extra, "--help")


if __name__ == "__main__":
    {"core": core, "extras": extras}[sys.argv[1]]()
