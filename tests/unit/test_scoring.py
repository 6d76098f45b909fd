"""Log-probabilities of given answers against plain forward passes of the whole text."""

import itertools
from contextlib import contextmanager

import pytest
import torch

from memkit.models.scoring import answer_states, log_probabilities, no_adapters

QUESTIONS = ("What is the badge number of Nora?", "Who?", "Where do the penguins of the zoo live?")
ANSWERS = ("4471", "the archive on the third floor", "x")


def by_whole_text(base, prompt, ids):
    """The model reads everything at once; nothing is cached, batched or padded."""
    text = torch.tensor([[*prompt.prefix, *prompt.question, *ids]])
    with torch.no_grad():
        scores = base.model(text).logits[0].double().log_softmax(-1)
    start = len(prompt) - 1
    return sum(float(scores[start + i, token]) for i, token in enumerate(ids))


def test_answers_are_scored_as_if_each_was_read_alone(tiny):
    prompts = [tiny.prompt(question) for question in QUESTIONS]
    answers = [[tiny.answer_ids(answer) for answer in ANSWERS]] * len(prompts)

    states = answer_states(tiny, prompts, answers, no_adapters)

    for prompt, ids, found in zip(prompts, answers, states, strict=True):
        assert [len(rows) for rows in found] == [len(one) for one in ids]
        expected = [by_whole_text(tiny, prompt, one) for one in ids]
        assert log_probabilities(tiny, found, ids) == pytest.approx(expected, abs=1e-3)


def test_adapters_act_on_questions_and_answers_in_rows_that_repeat(tiny):
    """A mixture is asked for with every prompt once, then with every prompt n times."""
    asked = []

    @contextmanager
    def mix(repeats):
        asked.append(repeats)
        yield

    prompts = [tiny.prompt(question) for question in QUESTIONS]
    answer_states(tiny, prompts, [[(5,), (6, 7)]] * 3, mix)

    assert asked == [1, 2]


def test_one_answer_of_one_token(tiny):
    prompt = tiny.prompt("Hm?")

    ((state,),) = answer_states(tiny, [prompt], [[(9,)]], no_adapters)

    assert log_probabilities(tiny, [state], [(9,)]) == pytest.approx(
        [by_whole_text(tiny, prompt, (9,))], abs=1e-3
    )


def test_all_next_tokens_together_are_certain(tiny):
    prompt = tiny.prompt("Hm?")
    tokens = [(token,) for token in range(len(tiny.tokenizer))]

    (states,) = answer_states(tiny, [prompt], [tokens[:3]], no_adapters)
    scores = log_probabilities(tiny, list(itertools.repeat(states[0], len(tokens))), tokens)

    assert torch.tensor(scores, dtype=torch.float64).exp().sum() == pytest.approx(1.0, abs=1e-4)
