"""`kill -9` at any moment of add, consolidate and forget: nothing acknowledged is lost or back."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

# A second argument is given to the child, and its sys.path.
START = """
import sys
sys.path[:0] = sys.argv[3:]
from memkit import Draft, Memory
from memkit.testing import HashingEmbedder

retrieval = {"backends": ("buffer", "rag"), "embedder": HashingEmbedder(), "count_tokens": len}
"""

ADD = (
    START
    + """
memory = Memory.open(sys.argv[1], **retrieval)
for n in range(10**9):
    ids = [r.id for r in memory.add([f"{sys.argv[2]} fact {n} part {part}" for part in range(3)])]
    if n % 2:
        ids.append(memory.add_turn("user", f"{sys.argv[2]} turn {n}").record_id)
    if n % 3 == 2:
        memory.update(ids[0], f"{sys.argv[2]} update {n}")
    print(n, *ids, flush=True)
"""
)

FORGET = (
    START
    + """
memory = Memory.open(sys.argv[1], **retrieval)
for record in memory.records(limit=1000).records:
    memory.forget(record.id)
    print(record.id, flush=True)
"""
)

# Importing torch takes longer than training. So one process does that, and forks one for each
# line that it reads; a fork says when it starts to consolidate, and when it is done.
CONSOLIDATE = (
    START
    + """
import os, torch
torch.set_num_threads(1)
from memkit.testing import tiny_llama, tiny_recipe

recipe = tiny_recipe(records_per_module=2)
base = tiny_llama()
print("ready", flush=True)
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        memory = Memory.open(line.strip(), base_model=base, embedder=HashingEmbedder(),
                             recipe=recipe)
        print(os.getpid(), flush=True)
        memory.consolidate()
        print("done", flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    print("gone", flush=True)
"""
)


def start(script, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments), *sys.path],
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def kill_after(process, seconds):
    """Let the child work for a while from its first word on; returns its whole lines."""
    first = process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    with process.stdout:
        output = first + process.stdout.read()
    process.wait()
    return [line.split() for line in output.splitlines(keepends=True) if line.endswith("\n")]


@pytest.fixture
def reopened(open_memory):
    def reopen(directory):
        return open_memory(directory, backends=("buffer", "rag"), count_tokens=len)

    return reopen


@pytest.mark.parametrize("seed", range(3))
def test_what_add_acknowledged_is_found_after_a_kill(tmp_path, reopened, seed):
    lines = kill_after(start(ADD, tmp_path / "m", "one"), random.Random(seed).uniform(0, 0.6))
    memory = reopened(tmp_path / "m")
    for n, *ids in lines:
        parts = [memory.get(id) for id in ids]
        assert parts[1].text == f"one fact {n} part 1"
        assert parts[2].text == f"one fact {n} part 2"
        for record in parts:
            assert record.id in {hit.id for hit in memory.search(record.text, k=3)}
    # What was not acknowledged is there as a whole or not at all.
    assert memory.stats().records - sum(len(ids) for _, *ids in lines) in {0, 3, 4}
    assert len(memory.search("fact", k=10_000)) == memory.stats().records
    assert len(memory.turns(limit=10_000)) == len(
        memory.records(where={"role": "user"}, limit=10_000).records
    )


@pytest.mark.parametrize("seed", range(2))
def test_what_forget_acknowledged_is_gone_after_a_kill(tmp_path, reopened, seed):
    directory = tmp_path / "m"
    memory = reopened(directory)
    words = {
        memory.add(f"Xq{n:03}zvrk is secret", metadata={"n": n}).id: f"q{n:03}zvrk"
        for n in range(60)
    }
    memory.close()
    lines = kill_after(start(FORGET, directory, "-"), random.Random(seed).uniform(0, 0.5))
    acknowledged = {id for (id,) in lines}
    assert acknowledged
    memory = reopened(directory)
    left = {record.id for record in memory.records(limit=1000).records}
    assert len(set(words) - left - acknowledged) <= 1  # the one that was in work
    assert left.isdisjoint(acknowledged)
    content = b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())
    assert {id for id, word in words.items() if word.encode() in content.lower()} == left
    assert {hit.id for hit in memory.search("secret", k=100)} == left


@pytest.fixture(scope="module")
def trainer():
    """The process that forks those that are killed."""
    process = start(CONSOLIDATE, "-", "-", stdin=subprocess.PIPE)
    assert process.stdout.readline() == "ready\n"
    yield process
    process.stdin.close()
    process.stdout.close()
    process.wait()


@pytest.fixture(scope="module")
def waiting(tmp_path_factory, opener, badges):
    """Eight facts that no module holds yet."""
    directory = tmp_path_factory.mktemp("waiting") / "m"
    with opener(directory) as memory:
        memory.add(badges)
    return directory


def consolidate_in(trainer, directory):
    """Have a process consolidate; returns once it has begun, with its pid."""
    trainer.stdin.write(f"{directory}\n")
    trainer.stdin.flush()
    return int(trainer.stdout.readline())


def wait_until_gone(trainer):
    """Wait for the end of the process that consolidates; returns its last words."""
    return list(iter(trainer.stdout.readline, "gone\n"))


@pytest.fixture(scope="module")
def duration(trainer, waiting, tmp_path_factory):
    """Seconds that an undisturbed run takes."""
    directory = shutil.copytree(waiting, tmp_path_factory.mktemp("undisturbed") / "m")
    started = time.perf_counter()
    consolidate_in(trainer, directory)
    assert wait_until_gone(trainer) == ["done\n"]
    return time.perf_counter() - started


@pytest.fixture(params=range(6))
def interrupted(tmp_path, waiting, trainer, duration, request):
    """A memory whose consolidation was killed somewhere in its first, second ... sixth part."""
    directory = shutil.copytree(waiting, tmp_path / "m")
    pid = consolidate_in(trainer, directory)
    time.sleep((request.param + random.Random(request.param).random()) / 6 * duration)
    with suppress(ProcessLookupError):  # it may be done
        os.kill(pid, signal.SIGKILL)
    wait_until_gone(trainer)
    return directory


def test_a_killed_consolidation_leaves_a_memory_that_works(
    interrupted, open_memory, badges, adapters_in
):
    memory = open_memory(interrupted)
    held = [id for module in memory.modules.list() for id in module.records]
    assert len(held) == len(set(held)) == memory.stats().held
    assert set(adapters_in(interrupted)) == named(memory)
    for draft in badges:
        assert memory.search(draft.question)[0].id == draft.id
        answer = memory.ask(draft.question, budget=0)
        assert bool(answer.route) == (draft.id in held)
        if answer.route:
            assert answer.text == draft.answer
    report = memory.consolidate()
    assert set(report.held + report.missed) == {draft.id for draft in badges} - set(held)
    assert memory.stats().held == len(held) + len(report.held)
    assert set(adapters_in(interrupted)) == named(memory)


def named(memory):
    """The rows of all versions, active or not."""
    return {file.path for file in memory._engine.ledger.modules.files()}
