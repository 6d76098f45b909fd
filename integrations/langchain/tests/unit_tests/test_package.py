"""What the package exports, and what importing it asks for."""

import doctest
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import langchain_memkit
import memkit
from langchain_memkit._optional import needs
from memkit.errors import MissingDependencyError


def test_the_names_are_sorted_and_real():
    assert langchain_memkit.__all__ == sorted(langchain_memkit.__all__)
    assert dir(langchain_memkit) == langchain_memkit.__all__
    for name in langchain_memkit.__all__:
        assert name in {"__version__", getattr(getattr(langchain_memkit, name), "__name__", None)}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'langchain_memkit' has no attribute 'Memkit'"):
        langchain_memkit.Memkit  # noqa: B018


def test_it_asks_for_the_memkit_that_it_is_tested_with():
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())
    needed = {one.name: one for one in map(Requirement, project["project"]["dependencies"])}

    assert needed["memkit-sdk"].specifier.contains(memkit.__version__)
    assert not needed["memkit-sdk"].specifier.contains("1.0")  # until then, minors may break it
    assert langchain_memkit.__version__.split(".")[:2] == memkit.__version__.split(".")[:2]


PARTS = {
    "retriever": lambda memory: langchain_memkit.MemkitRetriever(memory=memory),
    "chat model": lambda memory: langchain_memkit.ChatMemkit(memory=memory),
    "vector store": langchain_memkit.MemkitVectorStore,
    "store": langchain_memkit.MemkitStore,
    "middleware": langchain_memkit.MemkitMiddleware,
    "tools": langchain_memkit.memory_tools,
    "history": lambda memory: langchain_memkit.MemkitChatMessageHistory(memory, {"user": "a"}),
}


@pytest.mark.parametrize("given", ["agent.mem", Path("agent.mem"), None, memkit.Memory])
@pytest.mark.parametrize("part", PARTS)
def test_a_path_is_no_memory(part, given):
    """`InvalidInputError`, and pydantic's own around it, are both a `ValueError`."""
    with pytest.raises(ValueError, match="`memory` must be an open memory, got ") as caught:
        PARTS[part](given)
    assert "Hint: " in str(caught.value)


@pytest.mark.parametrize("statement", ["import langchain_memkit"])
def test_importing_is_light(statement):
    script = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    heavy = {"torch", "faiss", "transformers", "langgraph", "langchain"}
    assert not heavy & set(done.stdout.split())


BARE = """
import sys
sys.modules["langchain"] = sys.modules["langgraph"] = None  # as if they were not installed
from langchain_memkit import *
import langchain_memkit
print(*langchain_memkit.__all__)
for name in ("MemkitStore", "MemkitMiddleware"):
    try:
        getattr(langchain_memkit, name)
    except ImportError as error:
        print(str(error).replace("\\n", " "))
"""


def test_a_star_imports_what_can_be_used():
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, check=True)
    names, *refused = done.stdout.splitlines()

    assert set(langchain_memkit.__all__) - set(names.split()) == {
        "MemkitStore",
        "MemkitMiddleware",
        "MemoryFailure",
    }
    assert "ChatMemkit" in names
    for line, extra in zip(refused, ("langgraph", "langchain"), strict=True):
        assert f"needs {extra}, which is not installed" in line
        assert f"pip install 'langchain-memkit[{extra}]'" in line


def test_a_missing_library_is_named_with_its_extra():
    with (
        pytest.raises(MissingDependencyError, match="MemkitStore needs langgraph") as caught,
        needs("langgraph", "MemkitStore"),
    ):
        raise ModuleNotFoundError("No module", name="langgraph.store")

    assert caught.value.hint == "pip install 'langchain-memkit[langgraph]'"


def test_another_missing_module_is_not_blamed_on_the_extra():
    with (
        pytest.raises(ModuleNotFoundError, match="No module named 'numpie'"),
        needs("langgraph", "MemkitStore"),
    ):
        import numpie  # noqa: F401


@pytest.mark.parametrize("name", ["embeddings", "history", "retriever", "tools", "vectorstore"])
def test_the_examples_in_docstrings_give_what_they_say(name, tmp_path):
    module = importlib.import_module(f"langchain_memkit.{name}")

    result = doctest.testmod(module, extraglobs={"getfixture": lambda _: tmp_path})

    assert result.attempted > 0
    assert result.failed == 0
