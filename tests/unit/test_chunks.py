"""Passages of a text."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memkit.errors import InvalidInputError
from memkit.rag.chunks import split

TEXTS = st.text(st.sampled_from('ab.!? \n"é。茶น\u0e49\u0301'), min_size=1, max_size=400)
SIZES = st.integers(1, 60)


def test_short_text_is_one_passage():
    assert split("The night porter's badge number is 4471.") == [(0, 40)]


def test_cuts_fall_behind_sentences():
    assert split("Ann sells tea. Bob sells rope.", size=20, overlap=0) == [(0, 15), (15, 30)]


def test_paragraphs_win_over_sentences():
    first, second = "One. And two.\n\n", "Three. Four. Five."
    assert split(first + second, size=24, overlap=0) == [(0, 15), (15, 33)]


def test_cuts_fall_behind_words_where_there_is_no_sentence():
    assert split("alpha beta gamma delta", size=12, overlap=0) == [(0, 11), (11, 22)]


def test_overlap_starts_at_a_word():
    # "alpha beta gamma " would be 17; the first word that begins within 8 of it is gamma, at 11.
    assert split("alpha beta gamma delta", size=18, overlap=8) == [(0, 17), (11, 22)]


def test_overlap_cuts_through_a_text_without_breaks():
    assert split("x" * 25, size=10, overlap=3) == [(0, 10), (7, 17), (14, 24), (21, 25)]


def test_japanese_sentences_need_no_spaces():
    # Models read each sign as a token, which of English takes four letters; marks are letters.
    assert split("あいう。かきく。さしす。", size=27, overlap=0) == [(0, 8), (8, 12)]


def test_a_chinese_text_is_cut_into_as_many_tokens_as_an_english_one():
    text = "小明每天早上在河边的茶馆里喝绿茶，下午去图书馆看书。" * 77  # 2,002 characters
    spans = split(text)
    # 800 letters are 200 signs, and each sentence has 24 signs and two marks.
    assert {end - start for start, end in spans} <= set(range(25, 27 * 8))
    assert max(end - start for start, end in spans) > 26 * 7
    assert all(text[end - 1] == "。" for _, end in spans)
    assert all(start == 0 or text[start - 1] in "。，" for start, _ in spans)


def test_thai_is_cut_at_letters_with_their_marks():
    text = "น้ำชา" * 400
    spans = split(text)
    assert max(end - start for start, end in spans) <= 400  # two signs to a token
    assert min(end - start for start, end in spans[:-1]) > 380
    marks = {"\u0e49"}  # mai tho, above the letter before it
    assert not any(text[start] in marks for start, _ in spans)
    assert not any(text[end] in marks for _, end in spans[:-1])


def test_blank_stretches_make_no_passages():
    text = "start" + " " * 5000 + "end"
    spans = split(text)
    assert [text[start:end].strip() for start, end in spans] == ["start", "end"]


@pytest.mark.parametrize("text", ["", "   "])
def test_blank_text_is_one_passage(text):
    assert split(text) == [(0, len(text))]


@pytest.mark.parametrize("text", ["x" * 2**20, "word " * 2**18, "\n" * 2**20 + "x", '."' * 2**19])
def test_a_megabyte(text):
    spans = split(text)
    assert len(spans) < 4000
    assert max(end - start for start, end in spans) <= 800
    assert spans[-1][1] == len(text)


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (10, 6), (10, -1)])
def test_size_and_overlap_are_checked(size, overlap):
    with pytest.raises(
        InvalidInputError, match=rf"`overlap` <= size / 2, got {size} and {overlap}"
    ):
        split("text", size=size, overlap=overlap)


def test_a_passage_shorter_than_the_overlap_is_not_repeated_for_ever():
    # The full stop and the quotation mark are two letters, and the wide sign does not fit behind.
    assert split('น."茶"', size=4, overlap=2) == [(0, 3), (3, 4), (4, 5)]


@given(TEXTS, SIZES, st.data())
def test_passages_cover_the_text_in_order_and_within_bounds(text, size, data):
    overlap = data.draw(st.integers(0, size // 2))
    spans = split(text, size=size, overlap=overlap)
    covered = {at for start, end in spans for at in range(start, end)}
    assert {at for at, character in enumerate(text) if not character.isspace()} <= covered
    assert all(0 <= start < end <= len(text) and end - start <= size for start, end in spans)
    for (start, end), (next_start, next_end) in pairwise(spans):
        assert start < next_start
        assert end < next_end
        assert next_start >= end - overlap
    assert spans == split(text, size=size, overlap=overlap)
