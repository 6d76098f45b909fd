"""The examples run as they stand."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments, cwd):
    result = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.real
def test_a_hosted_model_gets_the_evidence(tmp_path):
    printed = run(ROOT / "examples" / "hosted_model.py", "agent.mem", cwd=tmp_path)

    assert "until half past four" in printed


@pytest.mark.real
@pytest.mark.parametrize("name", ["hosted_model", "two_users"])
def test_without_a_directory_nothing_stays(name, tmp_path):
    assert run(ROOT / "examples" / f"{name}.py", cwd=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.real
def test_two_users_are_kept_apart(tmp_path):
    printed = run(ROOT / "examples" / "two_users.py", "agent.mem", cwd=tmp_path)

    nobody, ann, session, bob, after = re.split(r" sees:|Ann now sees:", printed)[1:]
    assert "8812" not in nobody + bob
    assert "3057" not in nobody + ann + session
    assert "holiday" not in ann
    assert "8812" in ann
    assert "8812" in session
    assert "holiday" in session
    assert "3057" in bob
    assert re.findall(r"'.*'", after) == ["'The canteen opens at noon.'"]


def test_a_backend_of_ones_own_finds_what_the_index_cannot(tmp_path):
    printed = run(ROOT / "examples" / "own_backend.py", cwd=tmp_path)

    assert printed == "Facts:\n- A response is owed within four hours.\n"


def test_a_router_of_ones_own_decides(tmp_path):
    printed = run(ROOT / "examples" / "own_router.py", cwd=tmp_path)

    assert "2 records held in weights" in printed
    assert re.search(r"Which badge has Nora\? route: m0001 x 1\.00", printed)
    assert re.search(r"Which badge has Ada\? route: none", printed)


def test_a_synthesizer_of_ones_own_is_asked_once_for_each_record(tmp_path):
    printed = run(ROOT / "examples" / "own_synthesizer.py", cwd=tmp_path)

    assert printed.count("the hosted model is asked") == 2
    assert printed.count("2 records held in weights") == 2  # trained, then trained again
    assert "\n4471\n" in printed


def test_a_vector_index_of_ones_own_is_searched(tmp_path):
    printed = run(ROOT / "examples" / "own_vector_index.py", cwd=tmp_path)

    assert printed.startswith("Nora has badge 4471.\n")


def test_an_embedder_of_ones_own_stands_typing_errors(tmp_path):
    printed = run(ROOT / "examples" / "own_embedder.py", cwd=tmp_path)

    assert re.fullmatch(r"0\.\d\d The archive is in the boiler house\.\ntrigrams-512\n", printed)


@pytest.mark.real
def test_the_first_steps(tmp_path):
    printed = run(ROOT / "examples" / "quick_start.py", cwd=tmp_path)

    assert "search: The night porter's badge number is 4471. {'source': 'hr'}" in printed
    assert "ask: The archive is on the second floor of the mill building." in printed
    assert "none of it: no record and no turn" in printed
    assert "now: The archive is in the old boiler house." in printed
    assert "before: The archive is on the second floor of the mill building." in printed
    assert printed.endswith("""left: ["The night porter's badge number is 4471."]\n""")


@pytest.mark.real
def test_a_local_agent_says_what_is_stored_and_nothing_else(tmp_path):
    printed = run(ROOT / "examples" / "local_agent.py", cwd=tmp_path)

    said = re.findall(r"-> (.*)", printed)
    assert said == [
        "Deliveries are taken in at gate 3 until half past four.",
        "Noted.",
        "My locker is number 12, next to the boiler room.",
        "I have nothing on that.",
    ]


def test_an_agent_loop_has_notes_and_tools_for_each_user(tmp_path):
    printed = run(ROOT / "examples" / "agent_loop.py", cwd=tmp_path)

    assert re.findall(r"-> (.*)", printed) == [
        "I will remember that.",
        "At gate 3.",
        "I do not know.",  # Bob's
        "I have looked: - Parcels for Ann are handed out at gate 3.",
    ]


def test_a_user_is_known_in_the_next_session(tmp_path):
    printed = run(ROOT / "examples" / "across_sessions.py", cwd=tmp_path)

    ann, bob = re.split(r"bob on Tuesday: ", printed)
    assert "- Ann is allergic to hazelnuts." in ann
    assert bob.startswith("(nothing)\n")
    assert "corrected: Ann is allergic to peanuts. (version 2)" in bob
    assert bob.endswith("I am allergic to hazelnuts, and my bus is late.\n")


def test_a_chat_log_is_taken_in_once(tmp_path):
    file = tmp_path / "log.json"
    file.write_text('[{"role": "user", "name": "Ann", "content": "The kite is in the mill."}]')

    own = run(ROOT / "examples" / "import_chat_log.py", cwd=tmp_path)
    given = run(ROOT / "examples" / "import_chat_log.py", file, cwd=tmp_path)

    assert own.startswith("3 turns added, and 3 records; 0 were there already, 1 was left out\n")
    assert "1 turn added, and 1 record; 3 were there already" in own
    assert "Ben 2026-05-08 The kite is in my shed now." in own
    assert own.endswith("4 turns in the conversation\n")
    assert "Ann 2026-05-08 The kite is in the mill." in given


def test_the_second_night_has_nothing_to_do(tmp_path):
    printed = run(ROOT / "examples" / "nightly_consolidation.py", cwd=tmp_path)

    first, second = printed.split("expired and destroyed: ")[1:]
    assert first.startswith("1\n")
    assert "2 records held in weights, 0 stay with the index" in first
    assert second.startswith("0\nnothing to consolidate\n")
    assert printed.count("held in weights: 2 of 2 records") == 2
    assert printed.count("the memory is sound") == 2


def test_a_person_is_erased_and_others_are_not(tmp_path):
    printed = run(ROOT / "examples" / "erasure_request.py", cwd=tmp_path)

    assert printed == (
        "before: 8812\n"
        "all checks passed: True\n"
        "2 records, 1 turns, modules dropped: m0001\n"
        "after: Nora has badge 4471.\n"
        "Nora's is still held: 4471\n"
        "files with the number: []\n"
    )


def test_a_module_answers_in_peft_as_in_memkit(tmp_path):
    printed = run(ROOT / "examples" / "export_to_peft.py", cwd=tmp_path)

    assert printed == (
        "memkit: 4471\n"
        "written: adapter_config.json adapter_model.safetensors manifest.json\n"
        "PEFT: 4471\n"
    )


def test_the_notebook_prints_what_it_shows(tmp_path):
    notebook = json.loads((ROOT / "examples" / "tour.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    end = "-- end of a cell --"
    program = f"\nprint({end!r})\n".join("".join(cell["source"]) for cell in cells)

    printed = run("-c", program, cwd=tmp_path).split(f"{end}\n")

    shown = ["".join("".join(out["text"]) for out in cell["outputs"]) for cell in cells]
    assert printed == shown
    assert any("8812 from m0001" in text for text in shown)


def test_each_example_is_run_here():
    """Whoever adds one says what it has to print."""
    tests = Path(__file__).read_text(encoding="utf-8")
    names = [path.name for path in (ROOT / "examples").iterdir() if path.is_file()]

    run_by_name = re.findall(r'"(\w+\.(?:py|ipynb))"', tests)
    run_by_name += ["two_users.py", "hosted_model.py"]
    assert sorted(set(names) - set(run_by_name)) == []


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("own_*.py")), ids=lambda p: p.stem)
def test_what_is_to_be_copied_is_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60


@pytest.mark.real
def test_places_are_compared_on_documents_of_ones_own(tmp_path):
    printed = run(ROOT / "examples" / "choose_places.py", cwd=tmp_path)

    assert "4 documents, 4 questions." in printed
    places = ("base model", "everything in the prompt", "retrieval", "one adapter", "routed")
    assert all(re.search(rf"^{place}.* [01]\.\d\d \(", printed, re.MULTILINE) for place in places)
    assert re.search(r"^Use [^:]+: it is at [01]", printed, re.MULTILINE)
