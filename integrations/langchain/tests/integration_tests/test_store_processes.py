"""Several processes share a store, and any of them may be killed at any moment."""

import subprocess
import sys

from langchain_memkit import MemkitStore
from memkit import Memory

WRITE = """
import sys
from langchain_memkit import MemkitStore
from langgraph.store.base import PutOp
from memkit import Memory

path, name = sys.argv[1:]
store = MemkitStore(Memory.open(path, backends=["buffer"], count_tokens=len))
for number in range(10**6):
    parts = [f"{number}-{part}" for part in range(3)]
    store.batch([PutOp((name,), part, {"number": number}) for part in parts])
    print(number, flush=True)
"""


def test_what_was_acknowledged_is_there_and_batches_are_whole(tmp_path):
    path = tmp_path / "m"
    Memory.open(path, backends=["buffer"], count_tokens=len).close()
    writers = {
        name: subprocess.Popen(
            [sys.executable, "-c", WRITE, str(path), name],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("ann", "bob")
    }
    done = dict.fromkeys(writers, 0)
    for name, writer in writers.items():
        for _ in range(15):
            done[name] = int(writer.stdout.readline())
    for writer in writers.values():
        writer.kill()
    for name, writer in writers.items():
        rest = writer.communicate()[0].split()
        done[name] = max([done[name], *(int(line) for line in rest)])
    with Memory.open(path, backends=["buffer"], count_tokens=len) as memory:
        store = MemkitStore(memory)
        assert store.list_namespaces() == [("ann",), ("bob",)]
        for name, last in done.items():
            found = {item.key for item in store.search((name,), limit=10**6)}
            batches = {key.split("-")[0] for key in found}
            assert {str(number) for number in range(last + 1)} <= batches
            assert found == {f"{number}-{part}" for number in batches for part in range(3)}
            assert len(batches) <= last + 2  # one may have been written and not acknowledged
