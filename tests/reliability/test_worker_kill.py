"""Workers that are killed at any moment, and several of them at once, on one memory."""

import os
import random
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from worker_processes import RECIPE, WorkerProcesses, stored

from memkit.ledger.jobs.lease_table import LEASE


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    workers = WorkerProcesses(tmp_path_factory.mktemp("cache"))
    yield workers
    workers.stop()


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
    directory = shutil.copytree(waiting, tmp_path_factory.mktemp("undisturbed") / "m")
    started = time.perf_counter()
    workers.start(directory)
    assert workers.rest()[-1][::2] == ["done", "2"]
    return time.perf_counter() - started


@pytest.fixture(params=range(4))
def killed(tmp_path, waiting, workers, duration, request):
    """A memory whose worker was killed in its first, second ... fourth part, and its words."""
    directory = shutil.copytree(waiting, tmp_path / "m")
    (pid,) = workers.start(directory)
    time.sleep((request.param + random.Random(request.param).random()) / 4 * duration)
    with suppress(ProcessLookupError):  # it may be done
        os.kill(pid, signal.SIGKILL)
    return directory, stored(workers.rest())


def test_a_killed_worker_loses_nothing_and_leaves_nothing_half_done(
    killed, workers, open_memory, badges, adapters_in
):
    directory, before = killed
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
    workers.start(directory)
    after = stored(workers.rest())
    assert set(after) == {draft.id for draft in badges} - set(held)
    (status,) = memory.jobs.list()
    assert (status.state, status.held, status.missed, status.error) == ("done", 8, 0, None)
    assert memory.stats().held == 8
    assert set(adapters_in(directory)) == named(memory)


def test_two_workers_do_not_train_the_same(tmp_path, waiting, workers, open_memory, badges):
    directory = shutil.copytree(waiting, tmp_path / "m")
    begun = workers.start(directory, directory)
    lines = workers.rest()
    done = {line[1]: int(line[2]) for line in lines if line[0] == "done"}
    assert done.keys() == {str(pid) for pid in begun}
    assert sum(done.values()) == 2
    assert sorted(stored(lines)) == sorted(draft.id for draft in badges)
    memory = open_memory(directory, recipe=RECIPE)
    assert memory.stats().held == 8
    assert [status.state for status in memory.jobs.list()] == ["done"]


def named(memory):
    """The rows of all versions, active or not."""
    return {file.path for file in memory._engine.ledger.modules.files()}
