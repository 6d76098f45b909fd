"""Shared by all tests: no network, and models that are made or loaded once."""

import os

# Read when the libraries are imported, so set before any test module is.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Small tensors on many threads spend their time waiting for each other.
os.environ.setdefault("OMP_NUM_THREADS", str(min(4, os.cpu_count() or 1)))

import pytest


@pytest.fixture(scope="session")
def tiny():
    """A random Llama of two layers; whoever puts adapters on takes them off again."""
    from memkit.testing import tiny_llama

    return tiny_llama()


@pytest.fixture(scope="session")
def smollm2():
    """The default base model, converted into the user's own cache if it is not yet."""
    from memkit.models.base import BaseModel

    return BaseModel.load(device="cpu")


@pytest.fixture(scope="session")
def minilm():
    """The default embedder."""
    from memkit.models.embedder import SentenceEmbedder

    return SentenceEmbedder.load(device="cpu")
