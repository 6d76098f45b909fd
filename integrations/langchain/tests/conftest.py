"""Shared by all tests: no network, and small models."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["LANGSMITH_TRACING"] = "false"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from pytest_socket import disable_socket, enable_socket

from memkit import Memory
from memkit.testing import HashingEmbedder


@pytest.fixture(autouse=True)
def _no_network():
    """Unix sockets stay: event loops wake themselves up with one."""
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


@pytest.fixture
def memory(tmp_path):
    """An empty memory that searches with a small embedder."""
    with Memory.open(
        tmp_path / "agent.mem", backends=("buffer", "rag"), embedder=HashingEmbedder()
    ) as memory:
        yield memory
