"""What counts as a question."""

import pytest

from memkit.text.question_form import ends_as_question, is_question


@pytest.mark.parametrize(
    "text",
    [
        "When does it open?", "what's the code", "Whose keys are these", "who're they",
        "  which track do we wait at", "do we close early on Friday", "Tell me the alarm code.",
        "Please remind me when Nora comes", "Could you tell me the code?", "¿Cuándo abre?",
        "Please give me the number of Nora.",
        "何時に開きますか？", "متى يفتح؟", "The code?", "Is there a spare key",
    ],
)  # fmt: skip
def test_these_are(text):
    assert is_question(text)


@pytest.mark.parametrize(
    "text",
    [
        "I moved to Malmö.", "Write a limerick about a cat.", "Could you write a poem?",
        "Give me a line for a story.",
        "Will you please translate this?", "Whatever.", "Doing fine", "Is", "Summarise my notes.",
        "Hi there!", "",
    ],
)  # fmt: skip
def test_these_are_not(text):
    assert not is_question(text)


def test_question_marks_of_several_scripts_end_one():
    assert all(map(ends_as_question, ["a?", "a？ ", "a؟", "a⸮", "a՞", "a፧"]))
    assert not ends_as_question("a? b")
