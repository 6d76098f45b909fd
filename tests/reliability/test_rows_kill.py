"""`kill -9` between any two steps of what changes adapter files: nothing is lost or left over."""

import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from memkit.ledger import Ledger
from memkit.lora.store.adapter_files import stored, tidy
from memkit.types import Draft

# Forks for each line a process that dies at the nth step: a system call that changes a file, or
# a statement of the ledger's.
FORKS = """
import os, signal, sys
sys.path[:0] = sys.argv[1:]
import numpy as np
from memkit.lora.store import adapter_files
from memkit.ledger import Ledger
from memkit.ledger.engine.sqlite import SqliteDatabase
from memkit.types import Draft

left = 0

def counted(function):
    def call(*arguments, **named):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return call

os.pwrite, os.fsync = counted(os.pwrite), counted(os.fsync)
adapter_files.Path.unlink = counted(adapter_files.Path.unlink)
SqliteDatabase.execute = counted(SqliteDatabase.execute)

def compact(ledger):
    adapter_files.tidy(ledger)

def commit(ledger):
    (record,) = ledger.records.add([Draft("the last one")])
    with adapter_files.stored(ledger, "k", {}, np.full(50, ord("z"), np.uint8)) as file:
        ledger.modules.commit("m9999", {}, {}, file=file.path, digest=file.digest, size=file.size,
                              members=[record], held={record.id: 1.0})

for line in sys.stdin:
    act, moment, directory = line.split()
    pid = os.fork()
    if not pid:
        ledger, left = Ledger.open(directory), int(moment)
        {"compact": compact, "commit": commit}[act](ledger)
        os._exit(0)
    print(os.WEXITSTATUS(status) if os.WIFEXITED(status := os.waitpid(pid, 0)[1]) else
          -os.WTERMSIG(status), flush=True)
"""


@pytest.fixture(scope="module")
def killed():
    """Has a process do something and die at a moment of it; whether it died before the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", FORKS, *sys.path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def run(act, moment, directory):
        process.stdin.write(f"{act} {moment} {directory}\n")
        process.stdin.flush()
        status = int(process.stdout.readline())
        assert status in {0, -signal.SIGKILL}
        return status != 0

    yield run
    process.stdin.close()
    process.stdout.close()
    process.wait()


def letters(number):
    return bytes([ord("A") + number]) * 50


def fill(directory, count, drop):
    """Modules m0000 … with rows of their own letters; the first ``drop`` of them go again."""
    ledger = Ledger.open(directory)
    for number in range(count):
        (record,) = ledger.records.add([Draft(str(number))])
        with stored(ledger, "k", {}, np.frombuffer(letters(number), np.uint8)) as file:
            ledger.modules.commit(
                f"m{number:04}", {}, {}, file=file.path, digest=file.digest, size=file.size,
                members=[record], held={record.id: 1.0},
            )  # fmt: skip
    for number in range(drop):
        ledger.modules.drop(f"m{number:04}")
    ledger.close()


def weights(ledger, adapters_in):
    """The row of each version; and whether there is anything else."""
    found = adapters_in(ledger.directory)
    named = {file.path for file in ledger.modules.files()}
    return {found[path] for path in named}, set(found) - named


def moments(folder, killed, act):
    """Kills an act on copies of a memory, later and later; gives what is left, until it ends.

    The flag says whether the act was killed before its end.
    """
    moment, running = 0, True
    while running:
        moment += 1
        directory = shutil.copytree(folder / "start", folder / str(moment))
        running = killed(act, moment, directory)
        ledger = Ledger.open(directory)
        yield ledger, running
        ledger.close()


def test_a_compaction_may_be_killed_at_any_moment(tmp_path, killed, adapters_in):
    survivors = {letters(number) for number in range(9, 12)}
    fill(tmp_path / "start", 12, drop=9)
    reached = []
    for ledger, running in moments(tmp_path, killed, "compact"):
        reached.append(running)
        assert weights(ledger, adapters_in)[0] == survivors
        tidy(ledger)  # as the next opening does
        assert weights(ledger, adapters_in) == (survivors, set())
        assert ledger.erasures.pending() == []
        assert len(list((ledger.directory / "adapters").iterdir())) == 1
    assert len(reached) > 20


def test_a_commit_may_be_killed_at_any_moment(tmp_path, killed, adapters_in):
    fill(tmp_path / "start", 1, drop=0)
    reached = []
    for ledger, running in moments(tmp_path, killed, "commit"):
        reached.append(running)
        tidy(ledger)
        names = [module.name for module in ledger.modules.active()]
        expected = {letters(0)} | {b"z" * 50 for name in names if name == "m9999"}
        assert weights(ledger, adapters_in) == (expected, set())
        assert running or len(expected) == 2
    assert len(reached) > 8
