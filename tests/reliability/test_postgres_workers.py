"""Workers on a memory of a PostgreSQL server: processes that share nothing but the server."""

import os
import signal
import threading
from dataclasses import replace

import pytest
from worker_processes import RECIPE, WorkerProcesses, stored

from memkit.cli.main import main
from memkit.ledger.jobs.lease_table import LEASE

pytestmark = pytest.mark.engines("postgresql")

PATIENCE = 120.0  # seconds until a test that hangs fails


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    workers = WorkerProcesses(tmp_path_factory.mktemp("cache"))
    yield workers
    workers.stop()


@pytest.fixture
def memory(place, open_memory, badges):
    """Four facts of each of two scopes."""
    memory = open_memory(place, recipe=RECIPE)
    memory.add([replace(draft, scope={"user": "ab"[n % 2]}) for n, draft in enumerate(badges)])
    return memory


def test_workers_train_what_a_server_has_put(memory, place, workers, badges):
    job = memory.consolidate(wait=False)
    assert not [thread for thread in threading.enumerate() if thread.name == "memkit-jobs"]
    assert job.wait(0.1).state == "queued"
    begun = workers.start(place, place)
    lines = workers.rest()
    done = {line[1]: int(line[2]) for line in lines if line[0] == "done"}
    assert done.keys() == {str(pid) for pid in begun}
    assert sum(done.values()) == 2, job.status.error
    assert sorted(stored(lines)) == sorted(draft.id for draft in badges)
    status = job.wait(PATIENCE)
    assert (status.state, status.held, status.missed) == ("done", 8, 0)
    for n, draft in enumerate(badges):
        answer = memory.ask(draft.question, budget=0, scope={"user": "ab"[n % 2]})
        assert answer.text == draft.answer


@pytest.mark.parametrize("word", ["begun", "stored"])
def test_a_killed_worker_loses_nothing(memory, place, workers, badges, word):
    job = memory.jobs.put()
    (pid,) = workers.start(place)
    said = workers.until(word) if word == "stored" else []
    os.kill(pid, signal.SIGKILL)
    before = stored(said + workers.rest())
    held = [id for module in memory.modules for id in module.records]
    assert set(before) <= set(held)
    assert len(held) == len(set(held))
    assert not job.status.is_over
    memory._engine.ledger._database.execute(
        "UPDATE job_parts SET due_at = due_at - ? WHERE state = 'running'", LEASE
    )
    workers.start(place)
    assert set(stored(workers.rest())) == {draft.id for draft in badges} - set(held)
    status = job.wait(PATIENCE)
    assert (status.state, status.held, status.error) == ("done", 8, None)


def test_forgetting_ends_the_training_of_another_process(memory, place, workers):
    job = memory.jobs.put()
    workers.start(place)
    workers.until("stored")
    memory.forget(scope={"user": "a"})
    memory.forget(scope={"user": "b"})
    workers.rest()
    assert job.state == "cancelled"
    assert len(memory.modules) == 0


def test_the_command_takes_a_url(memory, place, capsys):
    job = memory.jobs.put()
    assert main(["jobs", "list", place]) == 0
    assert capsys.readouterr().out.startswith(f"{job.id}\tqueued\t8\t0\t0 of 2")
    assert main(["jobs", "cancel", place, job.id]) == 0
    assert job.state == "cancelled"
