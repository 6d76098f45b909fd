"""Words: which of them say what a text is about, and their stems; function words are English.

Three views of a text, one for each reader:

- `content_words`: words as written, for templates and probes;
- `content_stems`, `stem_counts`: stems, for the adapter router;
- `search_words`: words as the full-text index has them, for search.

The last two are `memkit.text.scripts.terms`: of all scripts, in one normal form.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from memkit.text.scripts import terms

# Function words and the words of most questions: they say nothing about a question's subject.
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


# -- words as written

_PUNCTUATION = ".,;:!?\"'()[]“”’"


def content_words(text: str) -> list[str]:
    """List the words of a text that are no stop words, in order, without punctuation around them.

    Example:
        >>> content_words("What is the extension of Nora Feldt?")
        ['extension', 'Nora', 'Feldt']
    """
    words = [word.strip(_PUNCTUATION) for word in text.split()]
    return [word for word in words if word and word.lower() not in STOP_WORDS]


# -- stems

MAX_STEMS = 64  # stems of a question that are weighed; of signs and pairs about 32 signs
_POSSESSIVE = re.compile(r"['’]s\b")


def stem(word: str) -> str:
    """Take the plural ending off an English word, and put it in lower case.

    Example:
        >>> [stem(word) for word in ("Numbers", "cities", "glass", "bus")]
        ['number', 'city', 'glass', 'bus']
    """
    word = word.lower()
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] not in "su" else word


def stem_counts(text: str) -> Counter[str]:
    """Count the stems of a text's content words, in the order in which they first occur."""
    return Counter(_stems(text))


def content_stems(text: str) -> list[str]:
    """List the stems of a text's content words, each once, in order; at most `MAX_STEMS`.

    Of a longer text these are the first and the last ones.

    Example:
        >>> content_stems("What is Nora's phone number, and what is Emil's?")
        ['nora', 'phone', 'number', 'emil']
    """
    return _both_ends(_stems(text), MAX_STEMS)


def _stems(text: str) -> list[str]:
    words = terms(_POSSESSIVE.sub("", text))
    return [stem(word) for word in words if word not in STOP_WORDS]


def _both_ends(words: Sequence[str], most: int) -> list[str]:
    """The different ones of some words, in order; of too many, as many from either end.

    A question stands before what was pasted into it, or behind.
    """
    different = list(dict.fromkeys(words))
    if len(different) <= most:
        return different
    last = list(dict.fromkeys(reversed(words)))[: most // 2]
    first = [word for word in different if word not in last][: most - len(last)]
    return first + last[::-1]


def repeats_answer(question: str, answer: str) -> bool:
    """Tell whether all content words of a question are in its answer, as with prose.

    A question without any, such as "What is this?", repeats nothing.

    Example:
        >>> repeats_answer("What can you tell me about harbour fees?", "Harbour fees have risen.")
        True
    """
    asked = set(content_stems(question))
    return bool(asked) and asked <= set(content_stems(answer))


def total_weight(words: Iterable[str], weights: Mapping[str, float]) -> float:
    """Sum the weights of some words."""
    return sum(weights[word] for word in words)


# -- words of a search

MAX_SEARCH_WORDS = 200  # a whole document as a query would take its time

# "Plan A", "the IT department": function words in capitals are names; "I" alone is not.
_IN_CAPITALS = re.compile(r"(?<=\w[ -])[AST]\b(?!['’])|\b[A-Z]{2,}\b")
# "The Who", "Will": with a capital inside of a sentence, unless all words have one, as in headings.
_WITH_CAPITAL = re.compile(r"(?<=[\w,;:“\"(][ ])[A-Z][a-z]+\b(?!['’])")
_WITHOUT = re.compile(r"\b[a-z]+\b")


def search_words(query: str) -> list[str]:
    """List the different words of a query, in order; at most `MAX_SEARCH_WORDS`.

    Of a longer query these are the first and the last ones. Stop words are left out, unless there
    is nothing else, or they are written as names are.

    Example:
        >>> search_words("What is plan A of the IT department?")
        ['plan', 'a', 'it', 'department']
        >>> search_words("Where did The Who play?"), search_words("Where Did The Band Play?")
        (['the', 'who', 'play'], ['band', 'play'])
    """
    words = terms(query)
    named = _named(query)
    telling = [word for word in words if word not in STOP_WORDS or word in named]
    return _both_ends(telling or words, MAX_SEARCH_WORDS)


def _named(query: str) -> set[str]:
    """Words that are written as names are, in lower case."""
    if query.isupper():
        return set()
    names = _IN_CAPITALS.findall(query)
    if _WITHOUT.search(query):
        names += _WITH_CAPITAL.findall(query)
    return {name.lower() for name in names}
