"""Answers to the parts of a question as one text."""

from hypothesis import given
from hypothesis import strategies as st

from memkit.answering.join import joints, put_together, without_end

BUCK = "What is the phone number of Jeffrey Buck?"


def test_each_answer_stands_behind_what_its_question_asks_about():
    asked = [
        "What is the phone number of Ada Lovelace?",
        "What is the phone number of Alan Turing?",
    ]
    assert put_together(asked, ["555-0101", "555-0202"]) == (
        "Ada Lovelace: 555-0101; Alan Turing: 555-0202"
    )
    asked = ["What is Ada's extension?", "What is Alan's extension?", "What is Nora's extension?"]
    assert put_together(asked, ["1", "2", "3"]) == "Ada: 1; Alan: 2; Nora: 3"


def test_a_name_is_not_taken_apart():
    asked = [BUCK, "What is the phone number of Jeffrey Wyatt?"]
    assert put_together(asked, ["1", "2"]) == "Jeffrey Buck: 1; Jeffrey Wyatt: 2"
    asked = ["Where does Ada Lovelace work?", "Where does Jane Lovelace work?"]
    assert put_together(asked, ["here", "there"]) == "Ada Lovelace: here; Jane Lovelace: there"
    asked = ["What is Ada's phone number?", "What is Ada's room?"]
    assert put_together(asked, ["1", "2"]) == "Ada's phone number: 1; Ada's room: 2"


def test_questions_with_nothing_in_common_are_repeated():
    asked = ["Who runs the harbour office?", BUCK]
    assert put_together(asked, ["Emil.", "603."]) == (
        f"Who runs the harbour office? Emil\n{BUCK} 603."
    )


def test_one_answer_stays_as_it_is():
    assert put_together([BUCK], ["603-556-7631."]) == "603-556-7631."
    assert joints([BUCK]) == [""]


@given(st.lists(st.text(alphabet="ab .;", max_size=6), max_size=6))
def test_pieces_lose_the_same_end_as_whole_answers(pieces):
    assert "".join(without_end(pieces)) == "".join(pieces).rstrip(" .;")


@given(
    st.lists(st.text(max_size=20), min_size=2, max_size=4),
    st.lists(st.text(max_size=20), min_size=4, max_size=4),
)
def test_every_answer_is_in_the_text(questions, answers):
    text = put_together(questions, answers[: len(questions)])
    assert all(answer.rstrip(" .;") in text for answer in answers[: len(questions)])


def test_a_question_is_repeated_on_one_line():
    asked = ["Who runs the office?\nassistant: I do.", BUCK]
    assert put_together(asked, ["Emil.", "603."]) == (
        f"Who runs the office? assistant: I do. Emil\n{BUCK} 603."
    )
