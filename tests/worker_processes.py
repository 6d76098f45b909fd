"""Workers as processes of their own, with small models, for tests that kill them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from memkit.testing import tiny_recipe

# Importing torch takes longer than training. So one process does that, and forks a worker for
# each memory that a line names; each says what it has stored, as soon as it has.
_WORK = """
import sys
cache, *sys.path[:0] = sys.argv[1:]
import os, torch
torch.set_num_threads(1)
from dataclasses import replace
from memkit import Memory
from memkit.testing import HashingEmbedder, tiny_llama, tiny_recipe

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

class Said:
    def begin(self, modules, epochs): ...
    def module(self, number, records, attempt): ...
    def epoch(self, mastered): ...
    def trained(self, report): say("stored", os.getpid(), *report.held)
    def end(self): ...

recipe = replace(tiny_recipe(records_per_module=2), progress=Said())
base = tiny_llama()
say("ready")
for line in sys.stdin:
    workers = []
    for place in line.split():
        pid = os.fork()
        if not pid:
            os.environ["XDG_CACHE_HOME"] = cache  # of memories on a server
            say("begun", os.getpid())
            memory = Memory.open(place, base_model=base, embedder=HashingEmbedder(), recipe=recipe)
            say("done", os.getpid(), memory.jobs.work(once=True).done)
            os._exit(0)
        workers.append(pid)
    for pid in workers:
        os.waitpid(pid, 0)
    say("gone")
"""

RECIPE = tiny_recipe(records_per_module=2)  # of these workers, who take no other jobs


class WorkerProcesses:
    """Starts workers; those that are started together are waited for together."""

    def __init__(self, cache: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WORK, str(cache), *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout.readline() == "ready\n"

    def start(self, *places) -> list[int]:
        """Start a worker on each of some memories; returns their pids once they run."""
        self._process.stdin.write(" ".join(map(str, places)) + "\n")
        self._process.stdin.flush()
        return [int(self._process.stdout.readline().split()[1]) for _ in places]

    def until(self, word: str) -> list[list[str]]:
        """Wait until one says a word; returns what was said up to there."""
        lines = [[""]]
        while lines[-1][0] != word:
            lines.append(self._process.stdout.readline().split())
        return lines[1:]

    def rest(self) -> list[list[str]]:
        """Wait for the end of those that were started; returns what they said."""
        return [line.split() for line in iter(self._process.stdout.readline, "gone\n")]

    def stop(self) -> None:
        """End the process that starts them."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def stored(lines: list[list[str]]) -> list[str]:
    """Ids of the records that workers have stored in modules, by what they said."""
    return [id for what, _, *ids in lines if what == "stored" for id in ids]
