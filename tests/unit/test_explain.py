"""What explains a query before it is answered."""

import json

NORA = "What is the badge number of Nora?"


def test_facts_modules_and_prompt_are_named(trained):
    explained = json.loads(trained.explain(NORA).to_json())
    recall, route = explained["recall"], explained["recall"]["route"]

    assert route["weights"] == {"m0001": 1.0}
    assert route["evidence"] >= route["threshold"] == explained["calibration"]["threshold"]
    assert 0.0 <= explained["calibration"]["false_refusal"] <= 1.0
    assert explained["calibration"]["curve"][0].keys() == {"predicted", "observed", "n"}
    assert [part["question"] for part in route["parts"]] == [NORA]
    assert route["support"][0]["record_id"] == "Nora"
    assert "nora" in route["support"][0]["words"]
    assert "m0002" in explained["passed_over"]
    assert "behind the first" in explained["passed_over"]["m0002"]
    assert "Nora" in recall["in_weights"]
    assert recall["tokens"] <= recall["budget"] == 512


def test_it_can_be_read_in_a_terminal(trained):
    text = str(trained.explain(NORA))

    assert text.startswith(f"query: {NORA}\nroute: m0001 x 1.00\n")
    assert "in m0001: The badge number of Nora is 4471.\n" in text
    assert "not in the prompt, held in weights: Nora: The badge number of Nora is 4471." in text
    assert "of this memory's own questions" in text
    assert "not asked: m0002: its best fact" in text


def test_what_has_no_room_is_named(trained):
    trained.add("The canteen closes at four.", id="canteen")

    explained = trained.explain("When does the canteen close?", budget=1)

    assert (
        "not in the prompt, no room in the budget: canteen: The canteen closes at four."
    ) in str(explained)
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


def test_what_the_prompt_says_already_is_no_matter_of_room(memory):
    memory.add_turn("user", "My badge number is 4471.", scope={"user": "ann"})
    memory.add("The canteen closes at four.", id="a", scope={"user": "ann"})
    memory.add("The canteen closes at four.", id="b")
    texts = []
    for question in ("badge number", "When does the canteen close?"):
        explained = memory.explain(question, scope={"user": "ann"}, min_score=None)
        assert explained.recall.omitted == 0
        left_out = [hit.id for hit in explained.left_out]
        assert left_out
        assert list(explained.repeated) == left_out
        assert json.loads(explained.to_json())["repeated"] == left_out
        texts += [hit.text for hit in explained.left_out]
        assert str(explained).count("not in the prompt, its text is in the prompt already: ") == (
            len(left_out)
        )
        assert "no room" not in str(explained)
    assert {"My badge number is 4471.", "The canteen closes at four."} <= set(texts)


def test_what_the_prompt_does_not_say_has_no_room(memory):
    memory.add("The canteen closes at four.", id="canteen")
    explained = memory.explain("When does the canteen close?", budget=1)
    assert explained.repeated == ()
    assert [hit.id for hit in explained.left_out] == ["canteen"]
