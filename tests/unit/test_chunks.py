"""Passages of a text."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memkit.errors import InvalidInputError
from memkit.rag.chunks import split

TEXTS = st.text(st.sampled_from('ab.!? \n"é。'), min_size=1, max_size=400)
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
    assert split("あいう。かきく。さしす。", size=9, overlap=0) == [(0, 8), (8, 12)]


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
