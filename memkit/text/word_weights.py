"""How much a word tells: a common English word says less of what is meant than a rare one.

In a small memory nearly every word is rare, so how often it stands there says little. How often
it is used in English does (wordfreq, https://github.com/rspeer/wordfreq).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

COMMON = 5.5  # Zipf frequency, log10 of uses in a billion words: "phone" has 5.3, "badge" 4.0
RARE = 2.0
LEAST = 0.3


def word_weights(words: Sequence[str]) -> list[float]:
    """Weigh words, in lower case, by their frequency in English.

    Returns:
        For each 1 if it is rare, has a figure, or is no English word, `LEAST` if it is common,
        and between these by the logarithm of its frequency, in steps of a tenth: words of one
        weight are looked up together.

    Example:
        >>> word_weights(["the", "badge", "velmora", "4471"])
        [0.3, 0.4, 1.0, 1.0]
    """
    known = _frequencies()
    return [_weight(word, known.get(word)) for word in words]


def _weight(word: str, frequency: float | None) -> float:
    if frequency is None or any(sign.isdigit() for sign in word):
        return 1.0
    zipf = math.log10(frequency) + 9
    return round(min(1.0, max(LEAST, (COMMON - zipf) / (COMMON - RARE))), 1)


@cache
def _frequencies() -> dict[str, float]:
    """Shares of words in English text, of those used at least once in a million words."""
    import wordfreq  # it reads its lists on import; most commands need none of them

    return wordfreq.get_frequency_dict("en", wordlist="small")
