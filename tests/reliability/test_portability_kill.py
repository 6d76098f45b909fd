"""`kill -9` while a file is taken in, or while the embedder is changed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from memkit import Memory
from memkit.memory.check import check
from memkit.testing import HashingEmbedder

N = 2000
IMPORT = """
import sys
from memkit import Memory
from memkit.testing import HashingEmbedder
with Memory.open(sys.argv[1], backends=("rag",), embedder=HashingEmbedder()) as memory:
    print("begin", flush=True)
    memory.import_(sys.argv[2])
    print("done", flush=True)
"""
REEMBED = """
import sys
from memkit import Memory
from memkit.testing import HashingEmbedder
with Memory.open(sys.argv[1], backends=("rag",), embedder=HashingEmbedder()) as memory:
    print("begin", flush=True)
    memory.vectors.reembed(HashingEmbedder(32))
    print("done", flush=True)
"""


def killed_after(script, delay, *arguments):
    """Run a script and kill it so many seconds after it has begun; whether it had finished."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begin\n"
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    rest = process.communicate()[0]
    return "done" in rest


@pytest.fixture
def source(tmp_path):
    with Memory.open(tmp_path / "a", backends=("rag",), embedder=HashingEmbedder()) as memory:
        memory.add([f"Parcel {n} is at gate {n * 7}." for n in range(N)])
        memory.export(tmp_path / "a.zst")
    return tmp_path


@pytest.mark.parametrize("delay", [0.02, 0.15, 0.4, 0.8])
def test_an_import_is_there_as_a_whole_or_not_at_all(source, delay):
    finished = killed_after(IMPORT, delay, source / "b", source / "a.zst")

    with Memory.open(source / "b", backends=("rag",), embedder=HashingEmbedder()) as memory:
        records = memory.stats().records
        assert records == N if finished else records in {0, N}
        assert memory.import_(source / "a.zst").records == N - records
        assert memory.search("parcel 77 gate 539", k=1)[0].text == "Parcel 77 is at gate 539."
        assert memory.stats().passages == N
    assert check(source / "b").sound


@pytest.mark.parametrize("delay", [0.02, 0.1, 0.3])
def test_a_change_of_embedder_happens_as_a_whole_or_not_at_all(source, delay):
    killed_after(REEMBED, delay, source / "a")

    dim = 32 if "hashing-32" in str(_embedder(source / "a")) else 64
    with Memory.open(source / "a", backends=("rag",), embedder=HashingEmbedder(dim)) as memory:
        assert memory.search("parcel 77 gate 539", k=1)[0].text == "Parcel 77 is at gate 539."
        memory.vectors.reembed(HashingEmbedder(32))
        assert memory.search("parcel 78 gate 546", k=1)[0].text == "Parcel 78 is at gate 546."
    assert check(source / "a").sound


def _embedder(directory):
    with Memory.open(directory, backends=("buffer",)) as memory:
        return memory.stats().embedder
