"""The prompt in which the base model reads evidence that no module answers."""

from dataclasses import replace

from memkit.answering.prompt import PromptFormat
from memkit.answering.reading import EXAMPLES, reading_prompt
from memkit.types import Context, Draft

SMALL_TALK = ("user", "Hello"), ("assistant", "Good day.")


def shown(base, prompt):
    return base.tokenizer.decode([*prompt.prefix, *prompt.question])


def test_examples_come_before_the_conversation_and_evidence_before_the_question(tiny):
    before = Context("Be polite.", SMALL_TALK)

    text = shown(
        tiny, reading_prompt(tiny, PromptFormat(), "Facts:\n- Tea is at four.", "When?", before)
    )

    parts = [
        "Be polite.",
        *(part for fact, asked, answer in EXAMPLES
          for part in (f"Facts:\n- {fact}\n\nQuestion: {asked}", answer)),
        "Hello", "Good day.", "Facts:\n- Tea is at four.\n\nQuestion: When?",
    ]  # fmt: skip
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_it_is_used_where_no_module_answers_and_nothing_else_was_asked_for(
    trained, open_memory, tmp_path, recipe, monkeypatch
):
    monkeypatch.setattr(trained._engine.base, "context", 4096)  # as larger models have
    trained.add("Tea is at four.", id="tea")
    base, engine = trained._engine.base, trained._engine
    answer = trained.ask("When is tea?", min_score=None)
    assert not answer.route
    expected = reading_prompt(
        base, engine.prompt_format, answer.recall.text, "When is tea?", Context()
    )
    assert answer.prompt_tokens == len(expected)

    adapted = trained.ask("When is tea?", min_score=None, modules=["m0001"])
    system = engine.prompt_format.system_message(adapted.recall.text)
    assert adapted.prompt_tokens == len(base.prompt("When is tea?", system=system))

    own = PromptFormat(opening="You are the porter.")
    porter = open_memory(tmp_path / "porter", recipe=replace(recipe, prompt_format=own))
    porter.add([Draft("Tea is at four.")])
    answer = porter.ask("When is tea?", min_score=None)
    system = own.system_message(answer.recall.text)
    assert answer.prompt_tokens == len(base.prompt("When is tea?", system=system))


def test_it_is_left_out_where_it_would_fill_the_context(memory):
    memory.add("Tea is at four.")
    answer = memory.ask("When is tea?", min_score=None)
    base, system = memory._engine.base, PromptFormat().system_message(answer.recall.text)
    assert answer.prompt_tokens == len(base.prompt("When is tea?", system=system))
