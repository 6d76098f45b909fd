"""The prompt is a value: what a memory's recipe says is what its language model reads."""

from dataclasses import replace

import pytest

from memkit import InvalidInputError
from memkit.answering.prompt import PromptFormat
from memkit.lora.recipe import Recipe
from memkit.testing import HashingModel

HOUSE_STYLE = PromptFormat(opening="You are the porter.", evidence=" Notes: {evidence} (end)")


class Recorder(HashingModel):
    """Notes the system messages that it is given."""

    def __init__(self):
        super().__init__()
        self.systems = []

    def prompt(self, question, *, system=None, history=()):
        self.systems.append(system)
        return super().prompt(question, system=system, history=history)


def test_answers_are_asked_for_behind_the_format_of_the_recipe(tmp_path, open_memory):
    model = Recorder()
    memory = open_memory(
        tmp_path / "m",
        backends=("rag",),
        base_model=model,
        recipe=Recipe(prompt_format=HOUSE_STYLE),
        count_tokens=len,
    )
    memory.add("The depot opens at six.")
    answer = memory.ask("When does the depot open?")
    assert "The depot opens at six." in answer.recall.text
    assert model.systems == [f"You are the porter. Notes: {answer.recall.text} (end)"]


def test_without_evidence_the_model_has_its_own_system_message():
    assert HOUSE_STYLE.system_message("") is None
    assert HOUSE_STYLE.system_message("", "Be brief.") == "Be brief."


def test_the_callers_system_message_takes_the_place_of_the_opening():
    assert HOUSE_STYLE.system_message("a fact", "Be brief.") == "Be brief. Notes: a fact (end)"


def test_braces_in_evidence_are_text():
    assert PromptFormat().system_message("{evidence} {0}").count("{evidence} {0}") == 1


def test_every_change_has_another_key():
    keys = {
        PromptFormat().key,
        HOUSE_STYLE.key,
        replace(HOUSE_STYLE, opening="x").key,
        replace(HOUSE_STYLE, evidence="{evidence}").key,
        replace(HOUSE_STYLE, facts="Known:").key,
        replace(HOUSE_STYLE, turns="Said:").key,
    }
    assert len(keys) == 6
    assert PromptFormat().key == PromptFormat().key


@pytest.mark.parametrize("evidence", ["", "no place", "{evidence} twice {evidence}"])
def test_evidence_needs_one_place(evidence):
    with pytest.raises(InvalidInputError, match=r"expected `evidence` to contain .* once, got"):
        PromptFormat(evidence=evidence)
