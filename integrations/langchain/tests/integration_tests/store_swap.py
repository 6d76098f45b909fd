"""A pytest plugin that puts `MemkitStore` in the place of LangGraph's `InMemoryStore`."""

import atexit
import shutil
import tempfile
from pathlib import Path

import langgraph.store.memory

from langchain_memkit import MemkitStore
from memkit import Memory

FOLDER = Path(tempfile.mkdtemp(prefix="memkit-store-suite-"))
atexit.register(shutil.rmtree, FOLDER)


class SwappedStore(MemkitStore):
    """Takes what an `InMemoryStore` takes; each has a memory of its own."""

    def __init__(self, *, index=None):
        path = FOLDER / str(len(list(FOLDER.iterdir())))
        super().__init__(Memory.open(path, backends=["buffer"], count_tokens=len), index=index)


langgraph.store.memory.InMemoryStore = SwappedStore
