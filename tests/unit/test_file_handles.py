"""Looking into SQLite's file does not take its locks away, which the system itself is asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from memkit.ledger import Ledger
from memkit.ledger.engine import file_handles as handles
from memkit.ledger.engine.connect import FILE
from memkit.memory.residue import remains
from memkit.types import Draft

# POSIX tells a process of the locks of others only: so another one asks.
ASK = """
import fcntl, struct, sys
wanted = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0)
with open(sys.argv[1], "r+b") as file:
    got = fcntl.fcntl(file, fcntl.F_GETLK, wanted)
print(struct.unpack("hhqqi", got)[0] != fcntl.F_UNLCK)
"""


def locked(path):
    run = subprocess.run(
        [sys.executable, "-c", ASK, path], capture_output=True, text=True, check=True
    )
    return {"True\n": True, "False\n": False}[run.stdout]


def open_handles():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.fixture
def file(ledger):
    ledger.records.add([Draft(f"The zebra {n} is striped." + "x" * 900) for n in range(50)])
    ledger._database.empty_log(1.0)
    return ledger.directory / FILE


def test_a_plain_reading_takes_the_locks_away(file):
    """Why all this is done; if it ever holds no more, it can go."""
    assert locked(file)
    file.read_bytes()
    assert not locked(file)


def test_the_locks_stay_until_the_last_connection_is_closed(ledger, file):
    assert b"".join(handles.blocks(file, 1000)) == b"".join(handles.blocks(file, 4096))
    assert remains(ledger.directory, ["The zebra 7 is striped.", "nowhere to be seen"]) == [
        "The zebra 7 is striped."
    ]
    assert locked(file)
    second = Ledger.open(ledger.directory)
    next(handles.blocks(file, 10))
    ledger.close()
    assert locked(file)
    second.close()
    assert not locked(file)


def test_no_handle_is_left_open(ledger, file):
    before = open_handles()
    other = Ledger.open(ledger.directory)
    remains(ledger.directory, ["The zebra 7 is striped."])
    other.close()
    ledger.close()
    assert open_handles() <= before
    remains(ledger.directory, ["The zebra 7 is striped."])  # nobody has it open
    assert open_handles() <= before


def test_the_bytes_are_those_of_the_file(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(bytes(range(256)) * 10)
    assert b"".join(handles.blocks(path, 7)) == bytes(range(256)) * 10
    with pytest.raises(FileNotFoundError):
        next(handles.blocks(tmp_path / "missing", 7))
    path.write_bytes(b"")
    assert list(handles.blocks(path, 7)) == []


def test_a_file_that_is_changed_meanwhile_is_read_as_it_is_then(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"abcdef")
    reading = handles.blocks(path, 3)
    assert next(reading) == b"abc"
    path.write_bytes(b"abcDEFG")
    assert next(reading) == b"DEF"
    os.truncate(path, 0)
    assert list(reading) == []
