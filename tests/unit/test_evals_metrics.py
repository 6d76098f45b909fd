"""Metrics against values worked out by hand, or by the plainest other way."""

import math

import pytest
import torch

from memkit.errors import InvalidInputError
from memkit.evals.metrics.answer_scores import abstains, contains, exact_match, token_f1
from memkit.evals.metrics.bootstrap import interval, paired
from memkit.evals.metrics.edit_scores import efficacy, target_log_probabilities
from memkit.evals.metrics.judge import judged
from memkit.evals.metrics.multiple_choice import chosen, lettered
from memkit.evals.metrics.overlap import bleu, rouge_l


@pytest.mark.parametrize(
    ("answer", "accepted", "same"),
    [
        ("The Mill.", ["mill"], True),
        ("  an   OLD mill ", ["old mill"], True),
        ("the old mill", ["mill"], False),
        ("12", ["12.", "13"], True),
        ("", ["mill"], False),
    ],
)
def test_exact_match(answer, accepted, same):
    assert exact_match(answer, accepted) is same


@pytest.mark.parametrize(
    ("answer", "accepted", "there"),
    [
        ("It was on 4 May 2021.", ["4 may"], True),
        ("It was on 14 May 2021.", ["4 may"], False),
        ("a catalogue", ["cat"], False),
        ("Call 603-556-7631 now", ["603-556-7631"], True),
        ("ＶＥＬＭＯＲＡ", ["Velmora"], True),  # wide letters are letters
        ("anything", [""], False),
    ],
)
def test_containment_keeps_to_word_boundaries(answer, accepted, there):
    assert contains(answer, accepted) is there


def test_token_f1_by_hand():
    # "red mill" of "red mill house": precision 1, recall 2/3.
    assert token_f1("The red mill", ["red mill house"]) == pytest.approx(0.8)
    assert token_f1("blue", ["red mill", "blue"]) == 1.0
    assert token_f1("mill mill", ["mill"]) == pytest.approx(2 / 3)  # a word counts once
    assert token_f1("blue", ["red"]) == 0.0


def test_rouge_l_of_lins_example():
    # Lin 2004: both share "the gunman" in order; one of them two words more.
    reference = ["police killed the gunman"]
    assert rouge_l("the gunman kill police", reference) == pytest.approx(0.5)
    assert rouge_l("police kill the gunman", reference) == pytest.approx(1.0)  # stemmed


def test_bleu_by_hand():
    # n-grams 5/5, 3/4, 2/3, 1/2; brevity exp(1 - 6/5).
    expected = 100 * math.exp(1 - 6 / 5) * (1 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert bleu(["the cat sat on mat"], ["the cat sat on the mat"]) == pytest.approx(expected)


CHOICES = ["the mill", "a storm", "the sea", "a mast"]


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ("The answer is C", 2),
        ("C", 2),
        ("(B)", 1),
        ("B. a storm", 1),
        ("Answer: B", 1),
        ("Option D is right", 3),
        ("I think (C) fits", 2),
        ("A", 0),
        ("A storm broke the mast", 1),  # an article, not a letter
        ("the sea", 2),
        ("It was the mill or the sea", None),
        ("I cannot say", None),
        ("E", None),
    ],
)
def test_choices(answer, place):
    assert chosen(answer, CHOICES) == place


def test_choices_are_lettered():
    assert lettered("What broke?", ["a mast", "a sail"]).splitlines()[:3] == [
        "What broke?",
        "A. a mast",
        "B. a sail",
    ]


@pytest.mark.parametrize(
    ("answer", "silent"),
    [
        ("I don't know.", True),
        ("That is not mentioned in the text.", True),
        ("", True),
        ("She knows the mill.", False),
        ("Known since 1820", False),
    ],
)
def test_abstention(answer, silent):
    assert abstains(answer) is silent


def test_an_interval_of_equal_scores_has_no_width():
    whole = interval([[1.0] * 10, [1.0] * 10])

    assert (whole.mean, whole.low, whole.high, whole.seeds, whole.n) == (1.0, 1.0, 1.0, 2, 20)


def test_an_interval_of_one_seed_is_that_of_its_questions():
    # 50 of 100: the normal approximation gives 0.5 ± 1.96 * 0.05.
    half = interval([[1.0, 0.0] * 50])

    assert half.mean == 0.5
    assert half.low == pytest.approx(0.402, abs=0.02)
    assert half.high == pytest.approx(0.598, abs=0.02)


def test_seeds_that_disagree_are_no_independent_questions():
    apart = interval([[0.0] * 100, [1.0] * 100])

    assert (apart.low, apart.high) == (0.0, 1.0)


def test_pairs_take_out_what_is_hard_for_both():
    first, second = [[1.0, 0.0, 1.0, 0.0]], [[0.5, -0.5, 0.5, -0.5]]
    difference = paired(first, second)

    assert (difference.mean, difference.low, difference.high) == (0.5, 0.5, 0.5)
    assert difference.above_zero
    assert difference.negated().below_zero


def test_pairs_of_other_questions_are_refused():
    with pytest.raises(InvalidInputError, match=r"got \[2\] and \[3\]"):
        paired([[1.0, 0.0]], [[1.0, 0.0, 1.0]])
    with pytest.raises(InvalidInputError, match="at least one question"):
        interval([[]])


def test_whole_targets_are_scored_with_their_blank(tiny):
    """The model's own loss over the whole text, taken apart by hand."""
    prompts = ["The night porter's badge", "Ada works in the"]
    targets = [["number is 4471", "is"], ["archive on the third floor", "harbour"]]
    found = target_log_probabilities(tiny, prompts, targets)
    for prompt, row, scores in zip(prompts, targets, found, strict=True):
        for target, score in zip(row, scores, strict=True):
            before = tiny.tokenizer(prompt, add_special_tokens=False)["input_ids"]
            after = tiny.tokenizer(f" {target}", add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                logits = tiny.model(torch.tensor([before + after])).logits[0]
            chances = logits.log_softmax(-1)
            by_hand = sum(
                chances[len(before) + n - 1, token].item() for n, token in enumerate(after)
            )
            assert score == pytest.approx(by_hand, abs=1e-3)
            assert len(after) > 1 or target in {"is", "harbour"}


def test_efficacy_is_a_comparison_of_whole_targets():
    assert efficacy([-1.0, -5.0, -2.0], [-2.0, -1.0, -2.0]) == [1.0, 0.0, 0.0]


def test_a_judge_is_a_function_or_a_chat_model():
    class Message:
        content = "8/10"

    class Model:
        def invoke(self, prompt):
            assert "Reference: the mill" in prompt
            return Message()

    assert judged(lambda _: "7", "Where?", "the mill", "a mill") == 0.7
    assert judged(Model(), "Where?", "the mill", "a mill") == 0.8


@pytest.mark.parametrize("reply", ["11", "between 7 and 8", "good", ""])
def test_a_judge_that_gives_no_mark_is_refused(reply):
    with pytest.raises(InvalidInputError, match="one whole number from 0 to 10"):
        judged(lambda _: reply, "Where?", "the mill", "a mill")


def test_what_cannot_judge_is_refused():
    with pytest.raises(InvalidInputError, match="a function or a chat model"):
        judged(7, "Where?", "the mill", "a mill")
