"""Tokenizers with and without bos and pad, byte-level and of sentencepiece's kind.

Expected tokens are those that the whole text has in the tokenizer itself.
"""

import pytest
from tokenizer_kinds import KINDS, tiny_with

from memkit.types import Draft, Sampling

QUESTION, EVIDENCE = "What is the badge number of Nora?", "Nora's badge is 4471. Ada keeps keys."
HISTORY = [("user", "Who keeps the keys?"), ("assistant", "Ada keeps them.")]
SHORT = Sampling(max_new_tokens=12)


@pytest.fixture(scope="module", params=KINDS)
def base(request):
    return tiny_with(KINDS[request.param]())


def whole(base, text):
    """The ids of a text in one go, as a template's user tokenizes it."""
    return tuple(base.tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("history", [[], HISTORY], ids=["alone", "history"])
@pytest.mark.parametrize("system", [None, EVIDENCE], ids=["bare", "evidence"])
def test_a_prompt_is_the_templates_own_text(base, system, history):
    if not base.tokenizer.chat_template:
        pytest.skip("no template")
    said = [("system", system)] if system else []
    messages = [{"role": r, "content": c} for r, c in [*said, *history, ("user", QUESTION)]]
    text = base.tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
    )

    prompt = base.prompt(QUESTION, system=system, history=history)

    assert prompt.prefix + prompt.question == whole(base, text)
    assert QUESTION in base.tokenizer.decode(prompt.question)


def test_a_prompt_without_template_begins_once(base):
    if base.tokenizer.chat_template:
        pytest.skip("it has a template")
    prompt = base.prompt(QUESTION, system=EVIDENCE, history=HISTORY)

    first = base.tokenizer.bos_token_id
    first = base.tokenizer.eos_token_id if first is None else first
    assert prompt.prefix[0] == first
    assert first not in (prompt.prefix + prompt.question)[1:]
    assert EVIDENCE in base.tokenizer.decode(prompt.prefix)
    assert QUESTION in base.tokenizer.decode(prompt.question)


@pytest.mark.parametrize("answer", ["4471", "Ada and Bo", "on floor 3, left", "Ada's"])
def test_an_answer_comes_back_as_it_went_in(base, answer):
    *ids, end = base.answer_ids(answer)

    assert end in base.stop_ids
    assert base.decode(ids).strip() == answer
    assert base.count(answer) in {len(ids), len(ids) - 1}  # a blank before it may be a token


@pytest.mark.slow
def test_a_fact_is_learned_by_heart(base, opener, recipe, tmp_path):
    nora = Draft("The badge number of Nora is 4471.", QUESTION, "4471", id="nora")
    with opener(tmp_path / "m", base_model=base, recipe=recipe) as memory:
        memory.add(nora)
        with_evidence = memory.ask(QUESTION, sampling=SHORT)
        assert memory.consolidate().held == ("nora",)
        assert with_evidence.recall.tokens > 0
        assert memory.ask(QUESTION, budget=0, sampling=SHORT).text == "4471"
        assert "".join(memory.stream(QUESTION, budget=0, sampling=SHORT)) == "4471"
