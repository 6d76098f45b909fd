"""Shared by all tests: no network, and models that are made or loaded once."""

import json
import logging
import os
import shutil
import struct
from contextlib import contextmanager, suppress
from dataclasses import replace

# Read when the libraries are imported, so set before any test module is.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Small tensors on many threads spend their time waiting for each other, on a busy machine most
# of it; the tests of the default models lose less by one thread than the others gain.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about memkit.
settings.register_profile("memkit", deadline=None)
settings.load_profile("memkit")


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    """What a test sets up for the log of the whole process, a server or a command, ends with it."""
    loggers = [logging.getLogger(name) for name in (None, "memkit", "uvicorn")]
    before = [(log, log.level, log.propagate, list(log.handlers)) for log in loggers]
    yield
    for log, level, propagate, handlers in before:
        log.setLevel(level)
        log.propagate, log.handlers[:] = propagate, handlers


@pytest.fixture(scope="session")
def tiny():
    """A random Llama of two layers; whoever puts adapters on takes them off again."""
    from memkit.testing import tiny_llama

    return tiny_llama()


@pytest.fixture
def small_models(monkeypatch):
    """The default models are small ones, wherever they are loaded."""
    from memkit.testing import HashingEmbedder, tiny_llama

    monkeypatch.setattr(
        "memkit.models.language_model.TransformersModel.load",
        classmethod(lambda cls, *_, **__: tiny_llama()),
    )
    monkeypatch.setattr(
        "memkit.models.embedder.SentenceEmbedder.load",
        classmethod(lambda cls, *_, **__: HashingEmbedder()),
    )


@pytest.fixture
def opened_small(tiny, recipe, monkeypatch):
    """`Memory.open` takes small models, whatever the command line says."""
    from memkit import Memory
    from memkit.testing import HashingEmbedder

    opened = Memory.open

    def open_memory(path, **options):
        shown = options.pop("recipe", None)
        chosen = recipe if shown is None else replace(recipe, progress=shown.progress)
        models = {"base_model": tiny, "embedder": HashingEmbedder(), "recipe": chosen}
        return opened(path, **{**options, **models})

    monkeypatch.setattr(Memory, "open", open_memory)


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory):
    """The files of a random Llama; whoever changes them takes a copy."""
    from memkit.testing import tiny_llama

    path = tmp_path_factory.mktemp("models") / "my-llama"
    model = tiny_llama()
    model.model.save_pretrained(path)
    model.tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def smollm2():
    """The default base model, converted into the user's own cache if it is not yet."""
    from memkit.models.language_model import TransformersModel

    return TransformersModel.load(device="cpu")


@pytest.fixture(scope="session")
def minilm():
    """The default embedder."""
    from memkit.models.embedder import SentenceEmbedder

    return SentenceEmbedder.load(device="cpu")


@pytest.fixture(scope="session")
def example():
    """Gives one of the examples, by its name, as a module."""
    import importlib.util
    from pathlib import Path

    def load(name):
        path = Path(__file__).parents[1] / "examples" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def pytest_generate_tests(metafunc):
    """What is marked ``engines``, and takes a ledger or the place of a memory, runs on each."""
    marker = metafunc.definition.get_closest_marker("engines")
    if marker is not None and "engine" in metafunc.fixturenames:
        engines = marker.args or ["sqlite", "postgresql"]
        # `make check` keeps to the engine that most memories are in.
        values = [
            pytest.param(name, marks=pytest.mark.slow) if name == "postgresql" else name
            for name in engines
        ]
        metafunc.parametrize("engine", values, indirect=True)


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server of these tests' own."""
    from postgres_server import PostgresServer

    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture
def engine(request):
    """What the ledger is in."""
    return getattr(request, "param", "sqlite")


@pytest.fixture
def place(engine, tmp_path, monkeypatch, request):
    """Where an empty memory is to be: a directory, or a URL."""
    if engine == "sqlite":
        return tmp_path / "m"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return request.getfixturevalue("postgres").empty()


@pytest.fixture
def ledger(place):
    """An empty ledger."""
    from memkit.ledger import Ledger

    ledger = Ledger.open(place)
    yield ledger
    ledger.close()


@pytest.fixture(scope="session")
def undone():
    """Runs a block in a transaction of a ledger and rolls it back."""

    class Undo(Exception):
        pass

    @contextmanager
    def run_and_undo(ledger):
        with suppress(Undo), ledger.transaction():
            yield
            raise Undo

    return run_and_undo


BADGES = {"Nora": 4471, "Emil": 1234, "Tara": 9876, "Owen": 5555,
          "Lena": 3141, "Hugo": 2718, "Mira": 1618, "Anton": 1414}  # fmt: skip


@pytest.fixture(scope="session")
def badges():
    """Eight facts that the tiny model can learn by heart, four to a module."""
    from memkit.types import Draft

    return [
        Draft(f"The badge number of {name} is {number}.",
              f"What is the badge number of {name}?", str(number), id=name)
        for name, number in BADGES.items()
    ]  # fmt: skip


@pytest.fixture(scope="session")
def recipe():
    """Trains four facts into the tiny model within a second."""
    from memkit.testing import tiny_recipe

    return tiny_recipe(records_per_module=4)


@pytest.fixture(scope="session")
def opener(tiny, recipe):
    """Opens a memory with small models, other options as given."""
    from memkit import Memory
    from memkit.testing import HashingEmbedder

    def open_memory(path, **options):
        small = {"base_model": tiny, "embedder": HashingEmbedder(), "recipe": recipe}
        return Memory.open(path, **(small | options))

    return open_memory


@pytest.fixture
def open_memory(opener):
    """`opener`, for memories that are closed when the test is over."""
    opened = []

    def open_and_note(path, **options):
        opened.append(opener(path, **options))
        return opened[-1]

    yield open_and_note
    for memory in opened:
        memory.close()


@pytest.fixture
def memory(engine, tmp_path, open_memory, request):
    """An empty memory with all backends."""
    local = engine == "sqlite"
    return open_memory(tmp_path / "agent.mem" if local else request.getfixturevalue("place"))


@pytest.fixture(scope="session")
def trained_directory(tmp_path_factory, opener, badges):
    """The facts of `badges`, held by the modules m0001 and m0002; to be copied, not changed."""
    directory = tmp_path_factory.mktemp("trained") / "agent.mem"
    with opener(directory) as memory:
        memory.add(badges)
        report = memory.consolidate()
        assert len(report.held) == len(badges)
    return directory


@pytest.fixture(scope="session")
def adapters_in():
    """Reads what is in a memory's adapter files, byte by byte and without memkit's help.

    Gives rows by path, those of zeros alone left out, and other files by path.
    """

    def rows(path):
        content = path.read_bytes()
        magic, version, length, _ = struct.unpack_from("<8sIII", content)
        if magic != b"memkrows" or version != 1:
            return {f"adapters/{path.name}": content}
        size = json.loads(content[20 : 20 + length])["row_bytes"]
        stride = (size + 4095) // 4096 * 4096
        found = {
            f"adapters/{path.name}#{row}": content[start : start + size]
            for row, start in enumerate(range(4096, len(content), stride))
        }
        return {name: row for name, row in found.items() if any(row)}

    def read(directory):
        folder = directory / "adapters"
        paths = sorted(folder.iterdir()) if folder.exists() else []
        return {name: row for path in paths for name, row in rows(path).items()}

    return read


@pytest.fixture(scope="session")
def trained_schema(postgres, opener, badges, tmp_path_factory):
    """As `trained_directory`, on a server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        with opener(postgres.empty("trained")) as memory:
            memory.add(badges)
            report = memory.consolidate()
            assert len(report.held) == len(badges)
    return "trained"


@pytest.fixture
def trained_place(engine, place, tmp_path, request):
    """Where a copy of `trained_directory` is, or one of `trained_schema`."""
    if engine == "sqlite":
        shutil.copytree(request.getfixturevalue("trained_directory"), tmp_path / "trained.mem")
        return tmp_path / "trained.mem"
    schema = request.getfixturevalue("trained_schema")
    return request.getfixturevalue("postgres").copy(schema)


@pytest.fixture
def trained(trained_place, open_memory):
    """An open copy of `trained_directory`, or of `trained_schema`."""
    return open_memory(trained_place)
