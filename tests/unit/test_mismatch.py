"""What a query says in place of what a fact says: weights by hand."""

from hypothesis import given
from hypothesis import strategies as st

from memkit.routing.mismatch import NO_MISMATCH, Mismatch, find_mismatch

# "What is the extension of Ada Berg?"
STORED = {"extension": 2.0, "ada": 4.0, "berg": 5.0}
WEIGHTS = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.0, 9.0), max_size=6)


def test_another_name_is_said_instead():
    query = {"extension": 2.0, "ada": 4.0, "holm": 4.5}
    # "berg" tells 3 more than "extension", which only says what is asked.
    assert find_mismatch(query, STORED, {"extension", "ada"}) == Mismatch("holm", "berg", 3.0)


def test_a_name_tells_no_more_than_the_one_that_is_said_instead():
    query = {"extension": 2.0, "ada": 4.0, "sales": 0.5}
    assert find_mismatch(query, STORED, {"extension", "ada"}).weight == 0.5


def test_the_form_may_be_replaced():
    query = {"phone": 6.0, "ada": 4.0, "berg": 5.0}
    assert find_mismatch(query, STORED, {"ada", "berg"}) == NO_MISMATCH


def test_half_a_name_replaces_nothing():
    assert (
        find_mismatch({"extension": 2.0, "ada": 4.0}, STORED, {"extension", "ada"}) == NO_MISMATCH
    )


def test_words_that_stand_elsewhere_in_the_fact_replace_nothing():
    query = {"extension": 2.0, "ada": 4.0, "sales": 4.5}
    assert find_mismatch(query, STORED, {"extension", "ada", "sales"}) == NO_MISMATCH


def test_a_question_whose_words_tell_alike_singles_nothing_out():
    stored = dict.fromkeys(("canteen", "serve", "soup"), 5.0)
    assert find_mismatch({"get": 5.0, "soup": 5.0}, stored, {"soup"}) == NO_MISMATCH


def test_a_fact_without_a_question_is_not_compared():
    assert find_mismatch({"ada": 4.0}, {}, ()) == NO_MISMATCH


@given(WEIGHTS, WEIGHTS)
def test_what_is_replaced_is_missing_and_no_weight_is_negative(query, question):
    mismatch = find_mismatch(query, question, ())
    assert mismatch.weight >= 0.0
    if mismatch != NO_MISMATCH:
        assert mismatch.query_word in query
        assert mismatch.query_word not in question
        assert mismatch.stored_word in question
        assert mismatch.stored_word not in query
        assert mismatch.weight <= min(query[mismatch.query_word], question[mismatch.stored_word])
