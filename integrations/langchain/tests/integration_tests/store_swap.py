"""A pytest plugin that puts `MemkitStore` in the place of LangGraph's `InMemoryStore`."""

import atexit
import os
import shutil
import tempfile
from itertools import count
from pathlib import Path

import langgraph.store.memory

from langchain_memkit import MemkitStore
from memkit import Memory

FOLDER = Path(tempfile.mkdtemp(prefix="memkit-store-suite-"))
atexit.register(shutil.rmtree, FOLDER)
SERVER = os.environ.get("MEMKIT_STORE_SERVER")  # the URL of a database; none for a folder
NUMBERS = count()


class SwappedStore(MemkitStore):
    """Takes what an `InMemoryStore` takes; each has a memory of its own."""

    def __init__(self, *, index=None):
        number = next(NUMBERS)
        place = FOLDER / str(number) if SERVER is None else f"{SERVER}&schema=store_{number}"
        super().__init__(Memory.open(place, backends=["buffer"], count_tokens=len), index=index)


langgraph.store.memory.InMemoryStore = SwappedStore
