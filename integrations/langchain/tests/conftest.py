"""Shared by all tests: no network, and small models."""

import copy
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["LANGSMITH_TRACING"] = "false"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from pytest_socket import disable_socket, enable_socket

from langchain_memkit import ChatMemkit
from memkit import Draft, Memory
from memkit.models.language_model import TransformersModel
from memkit.testing import CHATML_WITH_TOOLS, HashingEmbedder, tiny_llama, tiny_recipe


@pytest.fixture(autouse=True)
def _no_network():
    """Unix sockets stay: event loops wake themselves up with one."""
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


def pytest_generate_tests(metafunc):
    """What is marked ``engines``, and opens a memory, runs in a directory and on a server."""
    marked = metafunc.definition.get_closest_marker("engines") is not None
    if marked and "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def engine(request):
    """What memories are in."""
    return getattr(request, "param", "sqlite")


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server of these tests' own."""
    sys.path.append(str(Path(__file__).parents[3] / "tests"))
    from postgres_server import PostgresServer

    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture
def place(engine, tmp_path, monkeypatch, request):
    """Where an empty memory is to be: a directory, or a URL."""
    if engine == "sqlite":
        return tmp_path / "agent.mem"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return request.getfixturevalue("postgres").empty()


@pytest.fixture
def memory(place):
    """An empty memory that searches with a small embedder."""
    with Memory.open(place, backends=("buffer", "rag"), embedder=HashingEmbedder()) as memory:
        yield memory


@pytest.fixture(scope="session")
def tiny():
    """A random Llama of two layers."""
    return tiny_llama()


def pytest_collection_modifyitems(items):
    """LangChain's tests that need the default model say so."""
    for item in items:
        reads = getattr(item.module, "READ", ()) if hasattr(item, "module") else ()
        if getattr(item, "originalname", None) in reads:
            item.add_marker(pytest.mark.real)


def knowing_tools(base):
    """The same model with a chat template that knows tools."""
    tokenizer = copy.deepcopy(base.tokenizer)
    tokenizer.chat_template = CHATML_WITH_TOOLS
    return TransformersModel(base.model, tokenizer, name=base.name)


@pytest.fixture(scope="session")
def terse(tmp_path_factory):
    """A memory whose model says little: random, but inclined to close what it has opened.

    So its strings end, which those of a random model do not. What it says fits a schema because
    decoding allows nothing else: it knows nothing.
    """
    base = knowing_tools(tiny_llama(seed=1))
    base.context = None  # of 512 tokens, where a schema may be 400: its positions are computed
    inclined = torch.zeros(base.model.config.vocab_size)
    inclined[base.tokenizer.convert_tokens_to_ids(['"', "}", "]"])] = 1000.0
    logits = base.logits
    base.logits = lambda hidden: logits(hidden) + inclined
    path = tmp_path_factory.mktemp("terse") / "agent.mem"
    with Memory.open(path, base_model=base, embedder=HashingEmbedder(), backends=["rag"]) as memory:
        yield memory


@pytest.fixture(scope="session")
def reader(tmp_path_factory):
    """A memory with the default model, which reads; it has not learned to call tools."""
    base = knowing_tools(TransformersModel.load(device="cpu"))
    path = tmp_path_factory.mktemp("reader") / "agent.mem"
    with Memory.open(path, base_model=base, embedder=HashingEmbedder(), backends=["rag"]) as memory:
        yield memory


FACTS = [
    Draft(f"The badge number of {name} is {number}.",
          f"What is the badge number of {name}?", str(number), id=name)
    for name, number in {"Nora": 4471, "Emil": 1234, "Tara": 9876, "Owen": 5555}.items()
]  # fmt: skip


@pytest.fixture(scope="session")
def trained(tiny, tmp_path_factory):
    """A memory whose facts are in two modules; not to be changed."""
    recipe = tiny_recipe(records_per_module=2)
    path = tmp_path_factory.mktemp("trained") / "agent.mem"
    with Memory.open(path, base_model=tiny, embedder=HashingEmbedder(), recipe=recipe) as memory:
        memory.add(FACTS)
        assert len(memory.consolidate().held) == len(FACTS)
        yield memory


@pytest.fixture
def model(trained):
    """A chat model that answers from the weights alone."""
    return ChatMemkit(memory=trained, budget=0, max_tokens=12)
