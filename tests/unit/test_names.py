"""What a question names, and whether another names all of it, too."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memkit.lora.names import names, own_names

WORDS = st.sampled_from(["Who", "Ada", "Bo", "Lind", "hired", "B7"])
QUESTIONS = st.lists(WORDS, max_size=4).map(" ".join)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is the badge number of Nora Feldt?", ["Nora", "Feldt"]),
        ("Which plate does the Canal Street van have?", ["Canal", "Street"]),
        ("Where is Vera Gallo’s desk, in B7?", ["Vera", "Gallo", "B7"]),
        ("Vera Gallo: extension?", ["Vera", "Gallo"]),
        ("Give me the plan of gate 12.", ["12"]),  # any sentence begins with a capital
        ("Give Ada the keys.", ["Give", "Ada"]),  # which could be a first name
        ("Ruritania?", []),
        ("who runs the harbour office", []),
        ("", []),
    ],
)
def test_names_are_capitalised_or_have_figures(question, expected):
    assert names(question) == expected


@given(st.lists(QUESTIONS, max_size=6))
def test_a_question_is_alone_if_no_other_has_all_its_names(questions):
    sets = [set(names(question)) for question in questions]
    alone = [
        bool(own) and not any(own <= other for j, other in enumerate(sets) if j != i)
        for i, own in enumerate(sets)
    ]

    assert [bool(own) for own in own_names(questions)] == alone
