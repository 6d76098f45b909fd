"""What a model said against what is stored: normalised, in order of precedence."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memkit.answering.grounding import Stored, Utterance, agree, check, same, speaks_of, states
from memkit.text.words import STOP_WORDS
from memkit.types import Claim, Conflict, Record

ASKED = "What is the badge number of Nora?"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def record(id="nora", answer="4471", question=ASKED, *, later=0, version=1):
    when = NOW + timedelta(hours=later)
    text = f"The badge number of Nora is {answer}."
    return Record(id, text, question, answer, {}, {}, when, when, version, "")


def claim(text, module="m1"):
    return Claim(ASKED, text, module)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("4471", "4471"),
        ("The badge number of Nora is 4471.", "4471"),
        ("THE  Archive!", "the archive"),
        ("archive", "in the archive"),
        ("1,250.50", "1250.5"),
        ("$1,250", "1250.0"),
        ("(603) 556-7631", "603-556-7631"),
        ("603 556 7631", "603-556-7631"),
        ("6035567631", "603-556-7631"),
        ("Nora\u2019s desk", "Nora's desk"),
        ("\u221212.5 degrees", "-12.5"),
        ("ﬁve", "five"),
        ("It is not open", "not open"),
    ],
)
def test_the_same_answer_in_other_writing(said, answer):
    assert agree(said, answer)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("4472", "4471"),
        ("44710", "4471"),
        ("471", "0471"),
        ("It is not 4471", "4471"),
        ("5", "-5"),
        ("35.0", "3.50"),
        ("Monday", "Monday and Tuesday"),
        ("", "4471"),
        ("...", "4471"),
        ("it is", "no"),
        ("12,5", "125"),
        ("603-556-7632", "603-556-7631"),
    ],
)
def test_another_answer(said, answer):
    assert not agree(said, answer)


word = st.text(alphabet="abcdefghij0123456789", min_size=1, max_size=6)
words = st.lists(word.filter(lambda one: one not in STOP_WORDS), min_size=1, max_size=5)


@given(words, st.sampled_from([str.upper, str.title, str.lower]), st.sampled_from("., !;:"))
def test_case_blanks_and_punctuation_do_not_count(parts, cased, end):
    answer = " ".join(parts)
    assert agree(f"  {cased('  '.join(parts))}{end} ", answer)
    assert same(answer, cased(answer) + end)


@given(st.integers(0, 10**12))
def test_thousands_may_be_separated(number):
    assert agree(f"about {number:,} people", str(number))
    assert not agree(f"about {number + 1:,} people", str(number))


@given(words, words, words)
def test_words_around_an_answer_do_not_count(before, answer, after):
    assert agree(" ".join([*before, *answer, *after]), " ".join(answer))


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_two_texts_can_be_compared(one, other):
    assert agree(one, other) in {True, False}
    assert states(one, other) in {True, False}
    assert speaks_of(one, other) in {True, False}


def test_a_text_states_what_all_words_of_are_in_it():
    text = "The canteen opens at noon. It does not open on Sundays. Ada runs it."
    assert states(text, "Ada")
    assert states(text, "The canteen opens at noon")
    assert not states(text, "The canteen opens at one")
    assert states(text, "It does not open on Sundays.")
    assert not states(text, "It does not open at noon")
    assert not states(text, "")
    assert not states(text, "it is")


def test_a_turn_speaks_of_what_it_says_something_about():
    assert speaks_of("Nora's badge number is 9999 now.", ASKED, "4471")
    assert speaks_of("Nora's badge has the number 9999.", ASKED, "4471")
    assert not speaks_of("What is Nora's badge number?", ASKED, "4471")
    assert not speaks_of("I do not know the badge number of Nora.", ASKED, "4471")
    assert not speaks_of("Lena's badge number is 9999.", ASKED, "4471")
    assert speaks_of("Ada's desk is in the kitchen.", "Where is Ada's desk?", "archive")
    assert not speaks_of("Ada has a desk.", "Where is Ada's desk?", "archive")


def test_what_agrees_is_cited():
    checked = check(claim("4471."), Stored(record()))
    assert (checked.record_id, checked.conflict, checked.supported) == ("nora", None, True)
    text_only = replace(record(), question=None, answer=None)
    assert check(claim("It is 4471"), Stored(text_only)).supported


def test_what_conflicts_is_flagged_with_both_versions():
    checked = check(claim("1234"), Stored(record(version=3)))
    assert checked.conflict == Conflict("1234", "4471", "record", "nora", 3)
    assert (checked.record_id, checked.supported) == (None, False)
    assert str(checked.conflict) == (
        "the weights say '1234', the record nora, version 3 says '4471'"
    )


def test_a_newer_record_counts_for_more_than_the_held_one():
    newer = record("newer", "9999", "what is the BADGE number of Nora", later=2)
    newest = record("newest", "8888", later=3)
    older = record("older", "7777", later=-1)
    other = record("other", "6666", "What is the badge number of Lena?", later=4)
    checked = check(claim("4471"), Stored(record(), [newer, newest, older, other, record()]))
    assert checked.conflict == Conflict("4471", "8888", "newer record", "newest", 1)
    assert check(claim("8888"), Stored(record(), [newest])).record_id == "newest"
    assert check(claim("4471"), Stored(record(), [older, other])).record_id == "nora"


def test_the_conversation_counts_most():
    said = [
        Utterance("Nora's badge number is 5555."),
        Utterance("The badge number of Nora is 9999.", "t2"),
    ]
    newer = record("newer", "8888", later=2)
    checked = check(claim("4471"), Stored(record(), [newer], said))
    assert checked.conflict == Conflict(
        "4471", "The badge number of Nora is 9999.", "buffer", "t2", None
    )
    assert check(claim("9999"), Stored(record(), [newer], said)).record_id == "t2"
    assert check(claim("5555"), Stored(record(), [], said[:1])).supported


def test_without_a_record_nothing_supports_the_weights():
    checked = check(claim("4471"), Stored(None, [record()]))
    assert (checked.supported, checked.conflict, checked.record_id) == (False, None, None)


def test_what_the_base_model_read_supports_it():
    bare = claim("It is 4471", module=None)
    assert check(bare, Stored(None, [record("a", "1"), record("b")])).record_id == "b"
    assert check(bare, Stored(None, [], [Utterance("4471 it is")])).supported
    assert check(bare, Stored(None, [record("a", "1")])) == bare
