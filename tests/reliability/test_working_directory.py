"""A relative path means what it meant when it was given, wherever the process turns to."""

import os
from pathlib import Path

import pytest

from memkit import AsyncMemory, Memory
from memkit.errors import InvalidInputError
from memkit.memory.check import check
from memkit.testing import HashingEmbedder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Where the process is; whatever it does there does not outlast the test."""
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_all_that_a_memory_writes_stays_where_it_was_opened(here, opener, badges):
    with opener("agent.mem") as memory:
        memory.add(badges)
        os.chdir("../elsewhere")
        assert len(memory.consolidate().held) == len(badges)
        receipt = memory.forget("Nora")
        assert all(receipt.checks.values())
        assert receipt.files
    assert list(Path().iterdir()) == []
    assert check(here / "agent.mem").sound
    os.chdir(here)
    with opener("agent.mem") as memory:
        assert memory.ask("What is the badge number of Tara?", budget=0).text == "9876"
        assert "Nora" not in memory


def test_a_model_in_a_relative_folder_is_the_same_after_a_change_of_directory(here):
    (here / "models" / "tiny").mkdir(parents=True)
    options = {"embedder": HashingEmbedder(), "count_tokens": len, "backends": ("rag",)}
    for spec in ("./models/tiny", "models/tiny", Path("models/tiny")):
        os.chdir(here)
        with Memory.open("m", base_model=spec, **options) as memory:
            os.chdir("..")
            assert Path(memory._engine.config.base_model) == here / "models" / "tiny"
    with Memory.open(here / "m", base_model="org/name", **options) as memory:
        assert memory._engine.config.base_model == "org/name"


async def opened(path):
    opening = AsyncMemory.open(path, embedder=HashingEmbedder(), backends=("rag",))
    os.chdir("../elsewhere")
    async with opening as memory:
        return memory.memory._engine.ledger.directory


def test_an_async_memory_is_where_it_was_asked_for(here):
    import asyncio

    assert asyncio.run(opened("agent.mem")) == here / "agent.mem"


def test_the_home_directory_is_known(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    options = {"backends": ("buffer",), "count_tokens": len}
    with Memory.open("~/agent.mem", **options) as memory:
        memory.add("The archive is on the second floor.")
        memory.export("~/archive")
    assert {path.name for path in here.iterdir()} == {"agent.mem", "archive"}
    with Memory.open(here / "copy", **options) as memory:
        assert memory.import_("~/archive").records == 1
    assert check("~/copy").sound
    with pytest.raises(InvalidInputError, match=r"`path` has no home directory: '~nobody-of-this"):
        Memory.open("~nobody-of-this-name/x", **options)
