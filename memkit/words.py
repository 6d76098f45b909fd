"""English words that are special: those of most sentences, which tell little, and the months."""

from __future__ import annotations

# Words that are in most English questions and tell nothing about their subject.
STOP_WORDS = frozenset(
    """
    a about am an and any are as at be been but by can could did do does for from had has have
    he her his how i if in into is it its me my no not of on or our please s she should so some
    t tell than that the their them then there these they this those to us was we were what
    when where which who whom whose why will with would you your
    """.split()
)

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)

_PUNCTUATION = ".,;:!?\"'()[]“”’"


def content_words(text: str) -> list[str]:
    """The words of a text that tell something, in order, without punctuation around them.

    Example:
        >>> content_words("What is the extension of Nora Feldt?")
        ['extension', 'Nora', 'Feldt']
    """
    words = [word.strip(_PUNCTUATION) for word in text.split()]
    return [word for word in words if word and word.lower() not in STOP_WORDS]
