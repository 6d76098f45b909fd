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


def test_a_chat_model_answers_from_its_weights_and_from_the_index(run):
    nora, emil, parcels, pieces = re.split(r"\n\n", run("chat_model.py"))[1:]

    assert "4417" in nora
    assert "2250" in emil
    assert "'m0001': 1.0" in nora
    assert "untouched" in parcels
    assert "from:    Parcels are handed out at gate 3." in parcels
    assert "4417" in pieces.replace("|", "")
    tokens = [int(count) for count in re.findall(r"tokens: +(\d+)", nora + parcels)]
    assert tokens[0] > tokens[1] == 0  # what the index has is quoted


def test_a_store_is_there_the_next_time_and_forgets(run):
    before, after = run("langgraph_store.py").split("-- the program ends, and starts again --")

    assert "agent: Noted." in before
    assert "That reminds me: I never eat mushrooms." in after
    assert "That reminds me: My sister lives in Trondheim." in after
    assert "bob: What should I cook for dinner?\n  agent: That reminds me: I bake bread" in after
    assert re.search(r"^forgotten items +4$", after, re.MULTILINE)
    assert after.endswith("namespaces: [('bob', 'notes')]\n")


def test_an_agent_remembers_each_user(run):
    _, _, ann, bob = run("agent_middleware.py").split("\n\n")[0].split("day, ")[1:]

    recalled = [re.search(r"\(recalled\)(.*)", said).group(1) for said in (ann, bob)]
    assert "allergic to nuts" in recalled[0]
    assert "walnut" not in recalled[0]
    assert "walnut" in recalled[1]
    assert "allergic" not in recalled[1]
