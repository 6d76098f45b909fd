"""Whether acknowledged writes survive killed writers and several processes in one memory.

Each writer is a process of its own and prints what was acknowledged to it; that is compared with
what the memory holds afterwards.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from pathlib import Path

from benchmarks.processes import start
from benchmarks.store.corpus import HashedVectors
from memkit.errors import MemkitError
from memkit.evals.measurement import Measurement
from memkit.memory.memory import Memory

KILLS = 25
LONGEST = 0.5  # seconds that a writer lives after its first word
ADDS = 20
WRITERS = 2
PROCESSES = 4
OPERATIONS = 1000

WORDS = tuple(
    """harbour ledger copper lantern orchard violin granite meadow compass saddle barley anchor
    velvet kettle timber raven summit pepper marble canyon willow ember quarry falcon thistle
    cobalt prairie juniper glacier saffron bishop cellar engine ferry garden hammer island jacket
    kitchen ladder market needle office parcel quilt river station tunnel umbrella village window
    yard zebra bridge candle drawer easel fountain glove helmet invoice""".split()
)

Counts = dict[str, int]


def open_memory(folder: Path) -> Memory:
    """A memory with an embedder that costs next to nothing."""
    return Memory.open(folder, backends=("rag",), embedder=HashedVectors(), count_tokens=len)


def measure(
    folder: Path, *, kills: int = KILLS, operations: int = OPERATIONS
) -> tuple[list[Measurement], bool]:
    """Run all three; tells, too, whether everything held."""
    killed, shared = kill(folder / "kill", kills), add_together(folder / "adds")
    mixed = mix(folder / "mixed", operations)
    results = [
        Measurement.of(case, metric, [float(value)], "")
        for case, counts in (
            (f"{kills} writers killed", killed),
            (f"{WRITERS} processes, {ADDS} adds each", shared),
            (f"{PROCESSES} processes, {operations} mixed operations each", mixed),
        )
        for metric, value in counts.items()
    ]
    held = (
        killed["reopened intact"] == kills
        and not killed["acknowledged records lost"]
        and shared["kept"] == WRITERS * ADDS
        and not (mixed["lost"] or mixed["wrong"] or mixed["refused"])
    )
    return results, held


def kill(folder: Path, rounds: int) -> Counts:
    """Kill writers in a tight loop of adds, and look for their records in the reopened memory."""
    intact = lost = acknowledged = 0
    for number in range(rounds):
        child = start(write_forever, folder, number)
        output = child.stdout.readline() if child.stdout else ""
        time.sleep(random.Random(number).uniform(0, LONGEST))
        child.send_signal(signal.SIGKILL)
        output += child.communicate()[0]
        ids = [line.strip() for line in output.splitlines(keepends=True) if line.endswith("\n")]
        acknowledged += len(ids)
        try:
            with open_memory(folder) as memory:
                missing = [id for id in ids if not _is_found(memory, id)]
        except MemkitError:
            lost += len(ids)
        else:
            intact += not missing
            lost += len(missing)
    return {
        "reopened intact": intact,
        "acknowledged records": acknowledged,
        "acknowledged records lost": lost,
    }


def add_together(folder: Path) -> Counts:
    """Let processes add at once; all that they added must be found."""
    children = [start(write_some, folder, number, ADDS) for number in range(WRITERS)]
    ids = [id for child in children for id in child.communicate()[0].split()]
    with open_memory(folder) as memory:
        return {"kept": sum(_is_found(memory, id) for id in ids)}


def mix(folder: Path, operations: int) -> Counts:
    """Let processes add, change, forget and search at once; each checks what it sees.

    What is "wrong" is a read that disagrees with what the process has written; what is "lost"
    is missing at the end, or is there although it was forgotten.
    """
    open_memory(folder).close()
    children = [start(work, folder, number, operations) for number in range(PROCESSES)]
    expected: dict[str, str] = {}
    counts = {"lost": 0, "wrong": 0, "refused": 0}
    for child in children:
        child_counts = json.loads(child.communicate()[0])
        expected |= child_counts["texts"]
        counts["wrong"] += child_counts["wrong"]
        counts["refused"] += child_counts["refused"]
    with open_memory(folder) as memory:
        page = memory.records(limit=10**6)
        there = {record.id: record.text for record in page.records}
        counts["lost"] = sum(there.get(id) != text for id, text in expected.items())
        counts["lost"] += len(there.keys() - expected.keys())
        counts["wrong"] += sum(not _is_found(memory, id) for id in expected)
    return {**counts, "records at the end": len(there)}


def _is_found(memory: Memory, id: str) -> bool:
    """Whether a record can be read, and found by what it says."""
    records = memory.get_many([id])
    return bool(records) and id in {hit.id for hit in memory.search(records[0].text, k=3)}


# -- what the processes do; their arguments come as strings


def write_forever(folder: str, writer: str) -> None:
    """Add until killed, and say each id once `add` has returned."""
    memory = open_memory(Path(folder))
    for number in range(10**9):
        _write_line(memory.add(f"writer {writer} fact {number}").id)


def write_some(folder: str, writer: str, adds: str) -> None:
    """Add one record after the other."""
    with open_memory(Path(folder)) as memory:
        for number in range(int(adds)):
            _write_line(memory.add(f"writer {writer} fact {number}").id)


def work(folder: str, writer: str, operations: str) -> None:
    """Mix operations, and compare every read with a model of what this process has written."""
    draw = random.Random(int(writer))
    model: dict[str, str] = {}
    wrong = refused = 0
    with open_memory(Path(folder)) as memory:
        for number in range(int(operations)):
            try:
                wrong += not _operate(memory, model, draw, f"writer {writer} fact {number}")
            except MemkitError:
                refused += 1
    _write_line(json.dumps({"texts": model, "wrong": wrong, "refused": refused}))


def _operate(memory: Memory, model: dict[str, str], draw: random.Random, text: str) -> bool:
    """Do one thing at random; tells whether it came out as the model says."""
    chosen = draw.choice(sorted(model)) if model else ""
    dice = draw.random()
    if dice < 0.4 or not chosen:
        id = memory.add(text).id
        model[id] = text
        return _is_found(memory, id)
    if dice < 0.5:
        model[chosen] = memory.update(chosen, text).text
        return _is_found(memory, chosen)
    if dice < 0.55:
        memory.forget(chosen)
        forgotten = model.pop(chosen)
        return chosen not in {hit.id for hit in memory.search(forgotten, k=3)}
    if dice < 0.75:
        return memory.get(chosen).text == model[chosen]
    return _is_found(memory, chosen)


def _write_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
