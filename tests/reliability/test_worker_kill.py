"""Workers that are killed at any moment, and several of them at once, on one memory."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from memkit.ledger.jobs.lease_table import LEASE
from memkit.testing import tiny_recipe

# Importing torch takes longer than training. So one process does that, and forks a worker for
# each memory that a line names; each says what it has stored, as soon as it has.
WORK = """
import sys
sys.path[:0] = sys.argv[1:]
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
    for directory in line.split():
        pid = os.fork()
        if not pid:
            say("begun", os.getpid())
            memory = Memory.open(directory, base_model=base, embedder=HashingEmbedder(),
                                 recipe=recipe)
            say("done", os.getpid(), memory.jobs.work(once=True).done)
            os._exit(0)
        workers.append(pid)
    for pid in workers:
        os.waitpid(pid, 0)
    say("gone")
"""

RECIPE = tiny_recipe(records_per_module=2)


@pytest.fixture(scope="module")
def workers():
    """Starts workers on memories, one for each."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORK, *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"

    def start(*directories):
        process.stdin.write(" ".join(map(str, directories)) + "\n")
        process.stdin.flush()
        return [process.stdout.readline().split() for _ in directories]

    def rest():
        return [line.split() for line in iter(process.stdout.readline, "gone\n")]

    yield start, rest
    process.stdin.close()
    process.stdout.close()
    process.wait()


@pytest.fixture(scope="module")
def waiting(tmp_path_factory, opener, badges):
    """Eight facts of two scopes that wait in one job."""
    directory = tmp_path_factory.mktemp("waiting") / "m"
    with opener(directory, recipe=RECIPE) as memory:
        memory.add([replace(draft, scope={"user": "ab"[n % 2]}) for n, draft in enumerate(badges)])
        assert memory.jobs.put().status.parts == 2
    return directory


@pytest.fixture(scope="module")
def duration(workers, waiting, tmp_path_factory):
    """Seconds that one worker takes undisturbed."""
    start, rest = workers
    directory = shutil.copytree(waiting, tmp_path_factory.mktemp("undisturbed") / "m")
    started = time.perf_counter()
    start(directory)
    assert rest()[-1][::2] == ["done", "2"]
    return time.perf_counter() - started


def stored(lines):
    return [id for what, _, *ids in lines if what == "stored" for id in ids]


@pytest.fixture(params=range(4))
def killed(tmp_path, waiting, workers, duration, request):
    """A memory whose worker was killed in its first, second ... fourth part, and its words."""
    start, rest = workers
    directory = shutil.copytree(waiting, tmp_path / "m")
    ((_, pid),) = start(directory)
    time.sleep((request.param + random.Random(request.param).random()) / 4 * duration)
    with suppress(ProcessLookupError):  # it may be done
        os.kill(int(pid), signal.SIGKILL)
    return directory, stored(rest())


def test_a_killed_worker_loses_nothing_and_leaves_nothing_half_done(
    killed, workers, open_memory, badges, adapters_in
):
    directory, before = killed
    start, rest = workers
    memory = open_memory(directory, recipe=RECIPE)
    held = [id for module in memory.modules for id in module.records]
    assert len(held) == len(set(held))
    assert set(before) <= set(held)
    assert set(adapters_in(directory)) == named(memory)
    for n, draft in enumerate(badges):
        answer = memory.ask(draft.question, budget=0, scope={"user": "ab"[n % 2]})
        assert bool(answer.route) == (draft.id in held)
        assert answer.text == draft.answer or not answer.route

    # The lease of the one that was killed runs out; then another one does the rest.
    memory._engine.ledger._database.execute(
        "UPDATE job_parts SET due_at = due_at - ? WHERE state = 'running'", LEASE
    )
    start(directory)
    after = stored(rest())
    assert set(after) == {draft.id for draft in badges} - set(held)
    (status,) = memory.jobs.list()
    assert (status.state, status.held, status.missed, status.error) == ("done", 8, 0, None)
    assert memory.stats().held == 8
    assert set(adapters_in(directory)) == named(memory)


def test_two_workers_do_not_train_the_same(tmp_path, waiting, workers, open_memory, badges):
    start, rest = workers
    directory = shutil.copytree(waiting, tmp_path / "m")
    begun = start(directory, directory)
    lines = rest()
    done = {line[1]: int(line[2]) for line in lines if line[0] == "done"}
    assert done.keys() == {pid for _, pid in begun}
    assert sum(done.values()) == 2
    assert sorted(stored(lines)) == sorted(draft.id for draft in badges)
    memory = open_memory(directory, recipe=RECIPE)
    assert memory.stats().held == 8
    assert [status.state for status in memory.jobs.list()] == ["done"]


def named(memory):
    """The rows of all versions, active or not."""
    return {file.path for file in memory._engine.ledger.modules.files()}
