"""`kill -9` at any moment: what was acknowledged is there, what was deleted is gone."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memkit.ledger import Ledger
from memkit.types import Draft

START = """
import sys
sys.path[:0] = sys.argv[3:]
from pathlib import Path
import numpy as np
from memkit.ledger import Ledger, NewPassage
from memkit.types import Draft

ledger = Ledger.open(Path(sys.argv[1]))
name = sys.argv[2]

def index(record):
    vector = np.ones(4, dtype=np.float32)
    passage = NewPassage("text", 0, len(record.text), record.text, vector)
    ledger.passages.insert({record.id: [passage]})

"""

# Every second record is indexed; every fourth is updated. Only then is it acknowledged.
ADD = (
    START
    + """
for n in range(10**9):
    with ledger.transaction():
        [record] = ledger.records.add([Draft(text=f"{name} fact {n} " + "x" * (n * 37 % 3000))])
        if n % 2:
            index(record)
    if n % 4 == 3:
        ledger.records.update(record.id, text=f"{name} new {n}", question=None, answer=None,
                              metadata={"n": n})
    print(record.id, n, flush=True)
"""
)

DELETE = (
    START
    + """
for n, id in enumerate(ledger.records.ids()):
    ledger.records.delete([id])
    if name == "scrubbing" and n % 3 == 2:
        ledger.scrub()
    print(id, flush=True)
print("done", flush=True)
import time
time.sleep(60)
"""
)

# Two modules share twelve records; their versions are made, exchanged and lost.
MODULES = (
    START
    + """
records = ledger.records.add([Draft(text=f"fact {n}") for n in range(12)])
for n in range(10**9):
    module = "ab"[n % 2]
    held = records[n % 5 : n % 5 + 6]
    made = ledger.modules.commit(
        module, {}, {}, file=f"adapters/{name}-{n}", digest=str(n % 7), size=1, members=held,
        held={record.id: 0.5 for record in held[: 3 + n % 4]},
    )
    ledger.modules.activate(module, made.versions[0])
    if n % 5 == 4:
        ledger.modules.discard_weights(ledger.modules.file(module).path)
    if n % 3 == 2:
        ledger.records.update(records[n % 12].id, text=f"fact {n % 12} {n % 2}", question=None,
                              answer=None, metadata={})
    print(n, flush=True)
"""
)


def start(script, directory, name="a"):
    return subprocess.Popen(
        [sys.executable, "-c", script, str(directory), name, *sys.path],
        stdout=subprocess.PIPE,
        text=True,
    )


def kill_after(process, seconds) -> list[list[str]]:
    """Let the child work for a while from its first word on; returns its whole words."""
    first = process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    output = first + process.stdout.read()
    process.wait()
    process.stdout.close()
    return [line.split() for line in output[: output.rfind("\n") + 1].splitlines()]


def check(ledger) -> None:
    assert ledger._database.column("PRAGMA integrity_check") == ["ok"]
    assert ledger._database.rows("PRAGMA foreign_key_check") == []
    with ledger.transaction():
        ledger._database.execute(
            "INSERT INTO passages_fts (passages_fts, rank) VALUES ('integrity-check', 1)"
        )
    # The feed, played from the start, gives exactly the passages there are.
    living: set[int] = set()
    for change in ledger.passages.changes(0, limit=10**9):
        (living.add if change.added else living.discard)(change.passage)
    assert living == set(ledger._database.column("SELECT key FROM passages"))


def test_what_was_acknowledged_survives_a_kill(tmp_path):
    rng = random.Random(20)
    acknowledged: dict[str, int] = {}
    for round in range(10):
        process = start(ADD, tmp_path / "m", name=f"round {round}")
        lines = kill_after(process, rng.uniform(0, 0.15))
        acknowledged |= {id: int(n) for id, n in lines}
        ledger = Ledger.open(tmp_path / "m", create=False)
        check(ledger)
        stored = {record.id: record for record in ledger.records.get(list(acknowledged))}
        for id, n in acknowledged.items():
            assert stored[id].version == (2 if n % 4 == 3 else 1)
            assert f" {n}" in stored[id].text
        ledger.close()
    assert len(acknowledged) >= 10


def test_a_kill_while_a_memory_is_made_leaves_a_memory(tmp_path):
    rng = random.Random(21)
    for round in range(10):
        directory = tmp_path / str(round)
        process = start(ADD, directory)
        deadline = time.monotonic() + 30
        while not (directory / "ledger.sqlite3").exists() and time.monotonic() < deadline:
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.01))
        process.kill()
        process.wait()
        process.stdout.close()
        ledger = Ledger.open(directory)
        check(ledger)
        ledger.records.add([Draft(text="works")])
        ledger.close()


# Placements of records that the active version of their module does not hold.
MISPLACED = """
    SELECT * FROM placements
    JOIN records ON records.number = placements.record
    JOIN modules ON name = placements.module
    LEFT JOIN members
        ON members.module = name AND members.version = active AND members.record = records.id
    WHERE recall IS NULL OR placements.content_hash NOT IN ('', members.content_hash)
"""


def test_pointer_and_placements_agree_after_a_kill(tmp_path):
    rng = random.Random(22)
    placed = 0
    for round in range(8):
        assert kill_after(start(MODULES, tmp_path / "m", f"{round}"), rng.uniform(0, 0.15))
        ledger = Ledger.open(tmp_path / "m", create=False)
        check(ledger)
        assert ledger._database.rows(MISPLACED) == []
        for module in ledger.modules.active():
            assert module.version in module.versions
            assert len(module.versions) <= 3
            placed += len(module.records)
        named = [file.path for file in ledger.modules.files()]
        assert len(named) == len(set(named))
        assert not set(named) & set(ledger.erasures.pending())
        ledger.close()
    assert placed


def contents(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["deleting", "scrubbing"])
def test_a_deleted_text_is_gone_after_a_kill_and_reopening(tmp_path, name, seed):
    directory = tmp_path / "m"
    ledger = Ledger.open(directory)
    words = {
        record.id: record.text.split()[0]
        for record in ledger.records.add(
            [Draft(text=f"Xqcanary{n}zvrk " + "y" * (n * 31 % 900)) for n in range(300)]
        )
    }
    ledger.close()
    lines = kill_after(start(DELETE, directory, name), random.Random(seed).uniform(0, 0.1))
    deleted = [id for [id] in lines if id != "done"]
    if name == "deleting":
        assert any(words[id].encode() in contents(directory) for id in deleted)
    ledger = Ledger.open(directory)
    check(ledger)
    left = set(ledger.records.ids())
    assert not left & set(deleted)
    remains = contents(directory)
    for id, word in words.items():
        assert (word.encode() in remains) is (id in left)
    ledger.close()
