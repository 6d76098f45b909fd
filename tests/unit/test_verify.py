"""When a record counts as recalled, and which of its questions are asked for that."""

import pytest

from memkit.lora.verify import BATCH, RecallResult, same_answer, verify
from memkit.types import Example


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("4471", "4471"),
        ("4471", " 4471.\n"),
        ("Ada Lovelace", "ada  LOVELACE"),
        ("Ada Lovelace", '"Ada Lovelace"'),
        ("floor 5, south wing", "Floor 5,\nsouth wing."),
        ("Straße", "STRASSE"),
        ("“Go”", "Go"),
        ("?", "?"),
        ("Really?!", "really"),
    ],
)
def test_case_blanks_and_punctuation_at_the_ends_do_not_count(expected, given):
    assert same_answer(expected, given)


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("4471", "4472"),
        ("4471", "44 71"),
        ("4471", "The number is 4471."),
        ("4471", "4471 or 4472"),
        ("floor 5, south wing", "floor 5 south wing"),
        ("-3", "3"),
        ("5 %", "5"),
        ("€ 5", "5"),
        ("Ada", ""),
        ("?", ""),
        ("?", "!"),
    ],
)
def test_anything_else_does(expected, given):
    assert not same_answer(expected, given)


@pytest.mark.parametrize(
    ("trained", "reworded", "passes"),
    [(1.0, 1.0, True), (1.0, 0.5, True), (1.0, 0.49, False), (0.99, 1.0, False), (0.0, 0.0, False)],
)
def test_a_record_passes_with_all_it_was_trained_on_and_the_bar(trained, reworded, passes):
    assert RecallResult("r", trained, reworded).passes(0.5) is passes


EXAMPLES = [
    Example("canonical of a", "1", "a"),
    Example("another wording of a", "1", "a"),
    Example("held out of a", "1", "a", held_out=True),
    Example("also held out of a", "1", "a", held_out=True),
    Example("second fact of a", "2", "a"),
    Example("canonical of b", "3", "b"),
    Example("a guard", "hello"),
    Example("held out of b", "3", "b", held_out=True),
]


def test_canonical_and_held_out_wordings_are_asked():
    asked = []

    def ask(batch):
        asked.extend(example.question for example in batch)
        return [example.answer for example in batch]

    assert verify(EXAMPLES, ask) == [RecallResult("a", 1.0, 1.0), RecallResult("b", 1.0, 1.0)]
    assert asked == [
        "canonical of a",
        "second fact of a",
        "canonical of b",
        "held out of a",
        "also held out of a",
        "held out of b",
    ]


def test_shares_are_of_each_record_alone():
    wrong = {"second fact of a", "also held out of a", "held out of b"}

    recalled = verify(
        EXAMPLES, lambda batch: ["9" if e.question in wrong else e.answer for e in batch]
    )

    assert recalled == [RecallResult("a", 0.5, 0.5), RecallResult("b", 1.0, 0.0)]


def test_nothing_held_out_is_nothing_missed():
    recalled = verify([Example("q", "1", "a")], lambda batch: ["1"])

    assert recalled == [RecallResult("a", 1.0, 1.0)]


def test_questions_are_asked_in_batches():
    examples = [Example(f"q{number}", str(number), str(number)) for number in range(BATCH + 3)]
    sizes = []

    def ask(batch):
        sizes.append(len(batch))
        return [example.answer for example in batch]

    assert all(one.trained == 1.0 for one in verify(examples, ask))
    assert sizes == [BATCH, 3]


def test_no_examples_no_questions():
    assert verify([], lambda batch: pytest.fail("nothing to ask")) == []
