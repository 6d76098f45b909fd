"""The commands of workers and jobs, with small models."""

import json
import logging
import os
import shutil
import signal
from dataclasses import replace

import pytest

from memkit.cli import main as cli

pytestmark = pytest.mark.usefixtures("opened_small")


@pytest.fixture(scope="module")
def waiting(tmp_path_factory, opener, badges):
    directory = tmp_path_factory.mktemp("waiting") / "m"
    with opener(directory) as memory:
        memory.add([replace(draft, scope={"user": draft.id[:1]}) for draft in badges[:2]])
    return directory


@pytest.fixture
def path(waiting, tmp_path):
    return str(shutil.copytree(waiting, tmp_path / "m"))


@pytest.fixture
def run(capsys):
    def run(*words, status=0):
        capsys.readouterr()
        assert cli.main(list(words)) == status
        return capsys.readouterr()

    return run


def put(run, path, *options):
    return json.loads(run("consolidate", path, "--no-wait", "--json", *options).out)


@pytest.mark.slow
def test_a_job_is_put_listed_trained_and_shown(run, path):
    job = put(run, path, "--priority", "3")
    assert (job["state"], job["records"], job["parts"], job["priority"]) == ("queued", 2, 2, 3)
    (row,) = run("jobs", "list", path).out.splitlines()
    cells = row.split("\t")
    assert (cells[:6], cells[7:]) == ([job["id"], "queued", "2", "0", "0 of 2", "3"], [""])
    output = run("worker", path, "--once")
    assert output.out == "2 done, 0 failed, 0 left to others\n"
    assert output.err.splitlines()[-1] == str(
        f"job {job['id']}: done, 2 records, 2 held by 2 modules"
    )
    (listed,) = json.loads(run("jobs", "list", path, "--json").out)
    assert listed == json.loads(run("jobs", "show", path, job["id"], "--json").out)
    assert (listed["state"], listed["held"], listed["is_over"]) == ("done", 2, True)
    assert json.loads(run("worker", path, "--once", "--json").out) == {
        "done": 0, "failed": 0, "left": 0,
    }  # fmt: skip


@pytest.mark.slow
def test_a_job_is_cancelled(run, path):
    job = put(run, path, "--scope", "user=N")
    assert job["records"] == 1
    assert run("jobs", "cancel", path, job["id"]).out == f"job {job['id']}: cancelled, 1 record, " \
        "0 held by 0 modules\n"  # fmt: skip
    assert run("worker", path, "--once").out.startswith("0 done")
    told = run("jobs", "show", path, "nothing", status=1).err
    assert told.startswith("memkit: no job has the id 'nothing'\nhint: ")


def test_jobs_that_there_are_none_of(run, tmp_path):
    assert run("init", str(tmp_path / "m")).out
    output = run("jobs", "list", str(tmp_path / "m"))
    assert (output.out, "there are no jobs" in output.err) == ("", True)
    assert "there is no memory" in run("worker", str(tmp_path / "x"), status=1).err
    assert (
        "a priority is for jobs"
        in run("consolidate", str(tmp_path / "m"), "--priority", "1", status=2).err
    )


def test_a_failure_is_told_by_the_status(run, path, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("no")

    job = put(run, path, "--scope", "user=N")
    monkeypatch.setattr("memkit.lora.training.trainer.Trainer.fit", fail)
    with caplog.at_level(logging.WARNING):
        assert run("worker", path, "--once", status=1).out.startswith("0 done, 1 failed")
    assert "error after 1 attempt: RuntimeError" in run("jobs", "show", path, job["id"]).out


@pytest.mark.slow
def test_sigterm_gives_back_what_is_trained(run, path, monkeypatch):
    from memkit.lora.training.trainer import Trainer

    fit = Trainer.fit

    def asked_to_end(self, examples, told):
        os.kill(os.getpid(), signal.SIGTERM)
        return fit(self, examples, told)

    job = put(run, path)
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "fit", asked_to_end)
        assert run("worker", path).out == "0 done, 0 failed, 1 left to others\n"
    assert signal.getsignal(signal.SIGTERM) is before
    status = json.loads(run("jobs", "show", path, job["id"], "--json").out)
    assert (status["state"], status["attempts"]) == ("queued", 0)
    assert run("worker", path, "--once").out.startswith("2 done")
