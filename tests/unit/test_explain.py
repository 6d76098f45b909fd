"""What a query is answered from, said before it is asked."""

import json

NORA = "What is the badge number of Nora?"


def test_facts_modules_and_prompt_are_named(trained):
    said = json.loads(trained.explain(NORA).to_json())

    assert said["modules"] == {"m0001": 1.0}
    assert said["evidence"] >= said["threshold"] == said["calibration"]["threshold"]
    assert 0.0 <= said["calibration"]["false_refusal"] <= 1.0
    assert said["calibration"]["curve"][0].keys() == {"said", "true", "n"}
    assert [part["question"] for part in said["parts"]] == [NORA]
    assert said["facts"][0]["record_id"] == "Nora"
    assert "nora" in said["facts"][0]["words"]
    assert "m0002" in said["passed_over"]
    assert "behind the first" in said["passed_over"]["m0002"]
    assert "Nora" in said["prompt"]["in_weights"]
    assert said["prompt"]["tokens"] <= said["prompt"]["budget"] == 512


def test_it_can_be_read_in_a_terminal(trained):
    text = str(trained.explain(NORA))

    assert text.startswith(f"query: {NORA}\nroute: m0001 x 1.00\n")
    assert "not in the prompt: Nora: held in weights" in text
    assert "of this memory's own questions" in text
    assert "not asked: m0002: its best fact" in text


def test_what_has_no_room_is_named(trained):
    trained.add("The canteen closes at four.", id="canteen")

    explained = trained.explain("When does the canteen close?", budget=1)

    assert "not in the prompt: canteen: no room in the budget" in str(explained)
    assert not explained.recall.route


def test_none_says_why_no_module_is_asked(trained):
    explained = trained.explain("Who painted the Mona Lisa?")

    assert not explained.recall.route.weights
    assert set(explained.passed_over.values()) == {explained.recall.route.reason}


def test_the_untouched_memory_has_no_calibration(memory):
    memory.add("The canteen closes at four.")
    explained = memory.explain("When does the canteen close?")
    assert explained.calibration is None
    assert json.loads(explained.to_json())["calibration"] is None
