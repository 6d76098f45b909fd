"""Reading everyday memories, and shares counted by hand."""

import json

import pytest
from benchmarks.evals.memories import Outcome, read, summarise, trained, without_training

from memkit.errors import InvalidInputError
from memkit.evals.metrics.answer_scores import contains
from memkit.testing import HashingEmbedder, tiny_recipe

ENTRIES = [
    {
        "kind": "statement",
        "text": "My sister Nadia moved to Velmora in March.",
        "question": None,
        "answer": None,
        "asked": [{"q": "Where does Nadia live?", "a": "Velmora", "accept": ["velmora"]}],
        "absent": "What street is Nadia's flat on?",
    },
    {
        "kind": "qa",
        "text": "The badge of Emil is 2250.",
        "question": "What is the badge of Emil?",
        "answer": "2250",
        "asked": [
            {"q": "Which number has Emil?", "a": "2250", "accept": ["2250"]},
            {"q": "Whose badge is 2250?", "a": "Emil", "accept": ["emil", "emil's"]},
        ],
        "absent": "What colour is Emil's badge?",
    },
]


def write(folder, content):
    (folder / "memories").mkdir()
    (folder / "memories" / "few.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_memories_are_read_with_their_questions(tmp_path):
    nadia, emil = read(write(tmp_path, ENTRIES))
    assert (nadia.kind, nadia.draft.question, len(nadia.asked)) == ("statement", None, 1)
    assert (emil.draft.answer, [q.place for q in emil.asked]) == ("2250", [1, 1])


@pytest.mark.parametrize("content", [{}, [{"kind": "poem"}], [[1]]])
def test_another_format_is_refused(tmp_path, content):
    with pytest.raises(InvalidInputError, match=r"expected memories|does not hold memories"):
        read(write(tmp_path, content) if content else tmp_path)


@pytest.mark.parametrize(
    ("answer", "accepted", "right"),
    [
        ("She lives in VELMORA.", "velmora", True),
        ("Velmoras", "velmora", False),
        ("at 18:05, by train", "18:05", True),
        ("118:05", "18:05", False),
        ("the  3rd", "the 3rd", True),
    ],
)
def test_an_answer_is_right_on_word_boundaries(answer, accepted, right):
    assert contains(answer, [accepted]) is right


def test_shares_are_counted_in_pairs(tmp_path):
    memories = read(write(tmp_path, ENTRIES))
    outcome = Outcome(
        found=[1, 3, 0],
        first=[True, False, False],
        same_beside_rag=[True, False],
        right={
            "closed_book": [True, False, False],
            "rag": [True, True, False],
            "both": [True, False, True],
        },
        strict=[(True, True), (True, False), (False, False)],
        withheld=[True, False],
        same=[True] * 3 + [False],
        held=[True, True],
        as_stored=[True],
        seconds=6.0,
    )
    _, ratios = summarise(memories, [outcome, outcome])
    expected = {
        "search_at_1": 1 / 3,
        "search_at_5": 2 / 3,
        "closed_book_statement": 1.0,
        "closed_book_qa": 0.0,
        "both_lost": 1 / 2,  # of the two that rag had right, one
        "absent_withheld_strict": 1 / 2,
        "strict_shown_right": 1 / 2,  # of the first and the third, the first
        "strict_shown_wrong": 1 / 2,
        "off_topic_same_as_base": 3 / 4,
        "train_seconds_per_fact": 3.0,
    }
    assert {name: ratios[name] for name in expected} == pytest.approx(expected)


@pytest.mark.slow
def test_every_stage_is_asked(tmp_path, tiny):
    memories, models = read(write(tmp_path, ENTRIES)), (tiny, HashingEmbedder())
    alone = without_training(memories, models)
    outcome = trained(memories, models, tiny_recipe(2), alone)
    assert {stage: len(right) for stage, right in outcome.right.items()} == {
        "closed_book": 3,
        "rag": 3,
        "both": 3,
    }
    assert (len(outcome.found), len(outcome.withheld), len(outcome.as_stored)) == (3, 2, 1)
    assert len(outcome.first) == 3
    assert "closed_book" not in summarise(memories, [alone])[1]
