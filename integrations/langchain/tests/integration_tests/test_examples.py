"""The examples run as they stand, and show what they are there to show."""

import re
import runpy
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2]

pytestmark = pytest.mark.real


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs an example with the default models, and gives what it printed."""

    def run_in_a_folder(name):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", [name, "agent.mem"])
        runpy.run_path(str(PACKAGE / "examples" / name), run_name="__main__")
        return capsys.readouterr().out

    return run_in_a_folder


def test_a_chain_answers_from_its_notes(run):
    first, second = run("rag_chain.py").split("Q: ")[1:]

    assert "A: The archive is on the second floor" in first
    assert re.search(r"A: .*half past four", second)
    assert re.findall(r"^   (\d\.\d\d)", first, flags=re.MULTILINE) == sorted(
        re.findall(r"^   (\d\.\d\d)", first, flags=re.MULTILINE), reverse=True
    )


def test_a_vector_store_is_kept_searched_and_changed(run):
    lines = run("vector_store.py").splitlines()

    scores = [float(line.split()[0]) for line in lines[:3]]
    assert scores == sorted(scores, reverse=True)
    assert "fisherman" in lines[0]
    after, diverse, now = lines[3:]
    assert after.startswith("after 1960")
    assert {year > "1960" for year in re.findall(r"\((\d+)\)", after)} == {True}
    assert len(diverse.split(", ")) == 3
    assert "shark" not in now
    assert "whales" in now


def test_the_tools_of_an_agent_serve_one_user_at_a_time(run):
    said = re.findall(r"-> (.*)", run("tools_agent.py"))

    remembered, updated, found, nothing, refused, erased, gone = said
    assert remembered.startswith("Remembered")
    assert updated.startswith("Updated")
    assert found.endswith("hazelnuts.")
    assert refused.startswith("no record has the id")
    assert (nothing, erased, gone) == ("Nothing found.", "Erased.", "Nothing found.")
