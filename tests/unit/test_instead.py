"""What a query says in place of what a fact says: weights by hand."""

from hypothesis import given
from hypothesis import strategies as st

from memkit.routing.mismatch import NOTHING, Mismatch, instead

# "What is the extension of Ada Berg?"
STORED = {"extension": 2.0, "ada": 4.0, "berg": 5.0}
WEIGHTS = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.0, 9.0), max_size=6)


def test_another_name_is_said_instead():
    said = {"extension": 2.0, "ada": 4.0, "holm": 4.5}
    # "berg" tells 3 more than "extension", which only says what is asked.
    assert instead(said, STORED, {"extension", "ada"}) == Mismatch("holm", "berg", 3.0)


def test_a_name_tells_no_more_than_the_one_that_is_said_instead():
    said = {"extension": 2.0, "ada": 4.0, "sales": 0.5}
    assert instead(said, STORED, {"extension", "ada"}).weight == 0.5


def test_the_form_may_be_replaced():
    said = {"phone": 6.0, "ada": 4.0, "berg": 5.0}
    assert instead(said, STORED, {"ada", "berg"}) == NOTHING


def test_half_a_name_replaces_nothing():
    assert instead({"extension": 2.0, "ada": 4.0}, STORED, {"extension", "ada"}) == NOTHING


def test_words_that_stand_elsewhere_in_the_fact_replace_nothing():
    said = {"extension": 2.0, "ada": 4.0, "sales": 4.5}
    assert instead(said, STORED, {"extension", "ada", "sales"}) == NOTHING


def test_a_question_whose_words_tell_alike_singles_nothing_out():
    stored = dict.fromkeys(("canteen", "serve", "soup"), 5.0)
    assert instead({"get": 5.0, "soup": 5.0}, stored, {"soup"}) == NOTHING


def test_a_fact_without_a_question_is_not_compared():
    assert instead({"ada": 4.0}, {}, ()) == NOTHING


@given(WEIGHTS, WEIGHTS)
def test_what_is_replaced_is_missing_and_no_weight_is_negative(query, question):
    found = instead(query, question, ())
    assert found.weight >= 0.0
    if found != NOTHING:
        assert found.said in query
        assert found.said not in question
        assert found.stored in question
        assert found.stored not in query
        assert found.weight <= min(query[found.said], question[found.stored])
