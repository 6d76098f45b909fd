"""Consolidation in the background: `memory.jobs`, its thread, and workers beside it."""

import logging
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

from memkit import InvalidInputError, UnsupportedOperationError
from memkit.errors import NotFoundError, TrainingError
from memkit.ledger.jobs.lease_table import LEASE
from memkit.testing import tiny_llama
from memkit.types import Draft, JobStatus

PATIENCE = 60.0  # seconds until a test that hangs fails
NORA = "What is the badge number of Nora?"


class Gate:
    """Shows progress to nobody; training stands still at its first epoch until it is opened."""

    def __init__(self):
        self.entered, self.open = threading.Event(), threading.Event()
        self.trained_ids = []

    def begin(self, modules, epochs): ...

    def module(self, number, records, attempt): ...

    def epoch(self, mastered):
        self.entered.set()
        assert self.open.wait(PATIENCE), "nobody opened the gate"

    def trained(self, report):
        self.trained_ids += report.held

    def end(self): ...


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture
def gated(tmp_path, open_memory, recipe, gate):
    return open_memory(tmp_path / "agent.mem", recipe=replace(recipe, progress=gate))


def beside(memory, opener, recipe, progress=False):
    """The same memory, opened once more with a model of its own."""
    directory = memory._engine.ledger.directory
    return opener(directory, base_model=tiny_llama(), recipe=replace(recipe, progress=progress))


def lose_leases(memory):
    memory._engine.ledger._database.execute("UPDATE job_parts SET due_at = due_at - ?", LEASE + 1)


def of(user, drafts):
    return [replace(draft, scope={"user": user}) for draft in drafts]


@contextmanager
def training(memory, gate):
    """A job whose training stands still within the block, and goes on behind it."""
    job = memory.consolidate(wait=False)
    assert gate.entered.wait(PATIENCE)
    yield job
    gate.open.set()


@pytest.mark.slow
def test_a_thread_trains_what_was_put(memory, badges):
    memory.add(badges[:4])
    job = memory.consolidate(wait=False)
    status = job.wait(PATIENCE)
    assert isinstance(status, JobStatus)
    assert (job.state, status.records, status.held, status.missed) == ("done", 4, 4, 0)
    assert (status.modules, status.parts, status.attempts, status.error) == (1, 1, 1, None)
    assert memory.ask(NORA, budget=0).text == "4471"
    assert str(job) == f"job {job.id}: done, 4 records, 4 held by 1 module"
    assert memory.jobs.list() == [status]
    assert memory.jobs.get(job.id).id == job.id
    assert repr(job) == f"Job({job.id!r})"


@pytest.mark.slow
def test_what_is_put_later_has_another_thread_started(memory, badges):
    for some in (badges[:2], badges[2:4]):
        memory.add(some)
        assert memory.consolidate(wait=False).wait(PATIENCE).held == 2
    assert len(memory.modules) == 2


def test_a_job_of_nothing_is_over(memory):
    job = memory.consolidate(wait=False)
    assert (job.state, job.wait().records) == ("done", 0)


def test_putting_a_job_loads_no_model(tmp_path, badges, open_memory, llama_folder, monkeypatch):
    open_memory(tmp_path / "m", backends=["buffer"]).add(badges[:2])
    memory = open_memory(tmp_path / "m", base_model=llama_folder, embedder=None)
    for load in ("load_base", "load_embedder"):
        monkeypatch.setattr(f"memkit.memory.engine.Engine.{load}", pytest.fail)
    job = memory.jobs.put()
    assert (job.state, job.status.records) == ("queued", 2)


@pytest.mark.slow
def test_progress_is_seen_while_it_trains(gated, gate, badges):
    gated.add(badges[:4])
    with training(gated, gate) as job:
        assert job.state == "running"
        assert (job.progress.module, job.progress.modules) == (1, 1)
        assert "running, 4 records, module 1 of 1, 0% mastered" in str(job)
        assert job.wait(0.01).state == "running"
    assert job.wait(PATIENCE).state == "done"
    assert job.progress is None


@pytest.mark.slow
def test_closing_gives_it_back_and_waiting_goes_on(gated, gate, badges, open_memory, recipe):
    gated.add(badges[:4])
    with training(gated, gate) as job:
        closing = threading.Thread(target=gated.close)
        closing.start()
    closing.join(PATIENCE)
    assert not [t for t in threading.enumerate() if t.name.startswith("memkit-")]
    memory = open_memory(gated._engine.ledger.directory)  # with another recipe's progress
    status = memory.jobs.status(job.id)
    assert (status.state, status.attempts) == ("queued", 0)
    assert len(memory.modules) == 0
    assert memory.jobs.get(job.id).wait(PATIENCE).held == 4


def test_a_memory_that_nobody_closes_stops_its_thread(tmp_path, opener, recipe, gate, badges):
    memory = opener(tmp_path / "m", recipe=replace(recipe, progress=gate))
    memory.add(badges[:4])
    engine = memory._engine
    with training(memory, gate):
        gate.open.set()
        del memory
    assert not [t for t in threading.enumerate() if t.name == "memkit-jobs"]
    assert engine.ledger.jobs.newest()[0].state in ("queued", "done")
    engine.close()


@pytest.mark.slow
def test_a_failure_is_noted_and_tried_again(memory, badges, monkeypatch, caplog):
    memory.add(badges[:4])
    errors = [RuntimeError("what nobody should read"), TrainingError("it diverged")]

    def fail(*_, **__):
        raise errors.pop(0)

    with monkeypatch.context() as patch:
        patch.setattr("memkit.lora.training.trainer.Trainer.fit", fail)
        job = memory.jobs.put()
        assert memory.jobs.work(once=True).failed == 1
        assert (job.state, job.status.error) == ("queued", "RuntimeError")
        assert "error after 1 attempt: RuntimeError" in str(job)
        assert f"a part of job {job.id} has failed" in caplog.text
        lose_leases(memory)
        assert memory.jobs.work(once=True).failed == 1
        assert job.status.error == "TrainingError: it diverged"
    assert memory.jobs.work(once=True).done == 0  # the pause is not over
    lose_leases(memory)
    assert memory.jobs.work(once=True).done == 1
    assert (job.state, job.status.held, job.status.attempts) == ("done", 4, 3)
    assert job.status.error is None


def test_forgetting_ends_what_was_about_it(gated, gate, badges):
    gated.add(of("ann", badges[:4]))
    with training(gated, gate) as job:
        gated.forget(scope={"user": "ann"})
        assert job.state == "cancelled"
    gated.jobs.stop()
    assert len(gated.modules) == 0
    assert job.state == "cancelled"


@pytest.mark.slow
def test_what_shares_a_module_with_what_was_forgotten_is_trained_again(gated, gate, badges):
    gated.add(badges[:4])
    with training(gated, gate) as job:
        gated.forget("Nora")
    status = job.wait(PATIENCE)
    assert (status.state, status.records, status.held) == ("done", 4, 3)
    (module,) = gated.modules
    assert set(module.records) == {"Emil", "Tara", "Owen"}


@pytest.mark.slow
def test_what_was_changed_meanwhile_is_trained_as_it_is_then(gated, gate, badges):
    gated.add(badges[:4])
    with training(gated, gate) as job:
        gated.update("Nora", "The badge number of Nora is 9312.", answer="9312")
    assert job.wait(PATIENCE).held == 4
    assert gated.ask(NORA, budget=0).text == "9312"


@pytest.mark.slow
def test_a_cancelled_job_stops(gated, gate, badges):
    gated.add(badges[:4])
    with training(gated, gate) as job:
        assert job.cancel().state == "cancelled"
    gated.jobs.stop()
    assert len(gated.modules) == 0
    assert gated.consolidate(wait=False).wait(PATIENCE).held == 4


@pytest.mark.slow
def test_whoever_has_lost_its_lease_commits_nothing(gated, gate, badges, opener, recipe):
    gated.add(badges[:4])
    with training(gated, gate) as job, beside(gated, opener, recipe) as other:
        lose_leases(gated)
        assert other.jobs.work(once=True).done == 1
        held = list(other.modules)
    assert job.state == "done"
    gated.jobs.stop()
    assert list(gated.modules) == held
    assert gate.trained_ids == []


@pytest.mark.slow
def test_two_workers_train_different_scopes_at_the_same_time(gated, gate, badges, opener, recipe):
    gated.add([*of("ann", badges[:2]), *of("bob", badges[2:4])])
    second = Gate()
    second.open.set()
    with training(gated, gate) as job, beside(gated, opener, recipe, second) as other:
        assert other.jobs.work(once=True).done == 1
        assert job.status.ended == 1
        assert "1 of 2 scopes" in str(job)
    assert job.wait(PATIENCE).held == 4
    assert sorted(gate.trained_ids + second.trained_ids) == sorted(d.id for d in badges[:4])
    assert len(gate.trained_ids) == len(second.trained_ids) == 2


@pytest.mark.slow
def test_training_at_once_leaves_alone_what_a_worker_is_at(gated, gate, badges, opener, recipe):
    gated.add(badges[:2])
    with training(gated, gate) as job, beside(gated, opener, recipe) as other:
        other.add(badges[2:4])
        assert set(other.consolidate().held) == {badges[2].id, badges[3].id}
    assert job.wait(PATIENCE).held == 2
    assert len(gated.modules) == 2


@pytest.mark.slow
def test_a_worker_takes_only_what_it_can_train(memory, badges, opener, recipe, caplog):
    memory.add(badges[:2])
    job = memory.jobs.put()
    with beside(memory, opener, replace(recipe, retries=0)) as other:
        with caplog.at_level(logging.WARNING):
            assert other.jobs.work(once=True).done == 0
        assert "there are jobs for workers with the base model" in caplog.text
        assert other.jobs.status(job.id).state == "queued"
    assert memory.jobs.work(once=True).done == 1


@pytest.mark.slow
def test_a_worker_hears_of_each_part_and_stops_when_told(memory, badges):
    memory.add([*of("ann", badges[:2]), *of("bob", badges[2:4])])
    job = memory.jobs.put()
    stop, heard = threading.Event(), []

    def told(status):
        heard.append(status)
        stop.set()

    work = memory.jobs.work(stop=stop, told=told)
    assert (work.done, work.failed, work.left) == (1, 0, 0)
    assert [(status.id, status.ended) for status in heard] == [(job.id, 1)]
    assert memory.jobs.work(stop=stop).done == 0
    assert job.status.state == "running"  # the other part waits


def test_what_is_no_job_is_refused(memory, tmp_path, open_memory):
    with pytest.raises(NotFoundError, match="no job has the id 'nothing'"):
        memory.jobs.get("nothing")
    with pytest.raises(InvalidInputError, match="`priority` is for jobs, got 3"):
        memory.consolidate(priority=3)
    with pytest.raises(TypeError, match="'everything'; these are known: wait, scope, where"):
        memory.consolidate(everything=True)
    without = open_memory(tmp_path / "m", backends=["rag"])
    for verb in (lambda: without.consolidate(wait=False), without.jobs.work):
        with pytest.raises(UnsupportedOperationError, match="needs the 'lora' backend"):
            verb()
    assert without.jobs.list() == []


@pytest.mark.slow
async def test_it_can_be_awaited(tmp_path, tiny, recipe, badges):
    from memkit import AsyncMemory
    from memkit.testing import HashingEmbedder

    async with AsyncMemory.open(
        tmp_path / "m", base_model=tiny, embedder=HashingEmbedder(), recipe=recipe
    ) as memory:
        await memory.add([*badges[:2], Draft("The archive is on the second floor.")])
        job = await memory.consolidate(wait=False, where={})
        status = await memory.jobs.wait(job.id)
        assert (status.state, status.records) == ("done", 3)
        assert await memory.jobs.list() == [status]
