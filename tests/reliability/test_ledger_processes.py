"""Several processes work on one memory at once: writers take turns and nothing is lost."""

from __future__ import annotations

import subprocess
import sys

import pytest

from memkit.ledger import Ledger
from memkit.types import Draft

START = """
import sys
sys.path[:0] = sys.argv[3:]
from pathlib import Path
from memkit.ledger import Ledger
from memkit.types import Draft

directory, name = Path(sys.argv[1]), sys.argv[2]
sys.stdin.readline()
"""

WRITE = (
    START
    + """
ledger = Ledger.open(directory)
for n in range(50):
    with ledger.transaction():
        count = int(ledger.get_meta("count") or 0)
        ledger.records.add([Draft(text=f"{name} {n}"), Draft(text=f"common {n}")])
        ledger.set_meta("count", str(count + 1))
    print(ledger.modules.next_name())
ledger.close()
"""
)

OPEN = (
    START
    + """
ledger = Ledger.open(directory)
ledger.records.add([Draft(text=name)])
ledger.close()
"""
)

CHURN = (
    START
    + """
ledger = Ledger.open(directory)
for n in range(15):
    [record] = ledger.records.add([Draft(text=f"{name} Xqchurn{n}zvrk")])
    assert ledger.records.get([record.id])[0] == record
    ledger.records.delete([record.id])
    ledger.scrub()
ledger.close()
"""
)


def run_together(script, directory, count) -> list[str]:
    """Run the script in several processes that start at the same moment; returns their output."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(directory), f"process {number}", *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = []
    for process in processes:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        outputs.append(output)
    return outputs


@pytest.mark.parametrize("count", [2, 4])
def test_no_write_is_lost(tmp_path, count):
    names = "".join(run_together(WRITE, tmp_path / "m", count)).split()
    assert len(set(names)) == len(names) == 50 * count
    ledger = Ledger.open(tmp_path / "m")
    texts = {record.text for record in ledger.records.page(limit=1000).records}
    expected = {f"process {p} {n}" for p in range(count) for n in range(50)}
    assert texts == expected | {f"common {n}" for n in range(50)}
    assert ledger.records.count() == len(texts)
    assert ledger.get_meta("count") == str(50 * count)
    ledger.close()


def test_many_may_make_the_same_memory_at_once(tmp_path):
    for round in range(3):
        directory = tmp_path / str(round)
        run_together(OPEN, directory, 6)
        ledger = Ledger.open(directory, create=False)
        assert ledger.records.count() == 6
        assert ledger._database.column("PRAGMA integrity_check") == ["ok"]
        ledger.close()


def test_scrubs_of_several_processes_do_not_disturb_each_other(tmp_path):
    directory = tmp_path / "m"
    keeper = Ledger.open(directory)
    [kept] = keeper.records.add([Draft(text="kept")])
    run_together(CHURN, directory, 3)
    assert keeper.records.page().records == (kept,)
    assert keeper.scrub() is True
    assert b"Xqchurn" not in b"".join(path.read_bytes() for path in directory.iterdir())
    keeper.close()


def test_readers_see_what_is_committed_and_only_that(tmp_path):
    writer, reader = Ledger.open(tmp_path), Ledger.open(tmp_path)
    with writer.transaction():
        writer.records.add([Draft(text="a")])
        assert reader.records.count() == 0
    assert reader.records.count() == 1
    writer.close()
    reader.close()
