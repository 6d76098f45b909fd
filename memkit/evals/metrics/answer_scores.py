"""Whether an answer is right: by text alone, with the same rules for every configuration."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

_ARTICLES = frozenset(("a", "an", "the"))
_ABSTAINS = re.compile(
    r"\b(?:i (?:do not|don't|don’t) know|no (?:information|answer|record|mention)|not (?:known|"
    r"mentioned|stated|specified|provided|available|given)|cannot (?:answer|say|tell)|"
    r"can(?:'|’)t (?:answer|say|tell)|unknown|unanswerable)\b",
    re.IGNORECASE,
)


def exact_match(answer: str, accepted: Iterable[str]) -> bool:
    """Whether an answer is one of the accepted ones, but for case, punctuation and articles.

    Source:
        The rules of SQuAD's evaluation (Rajpurkar et al. 2016).
    """
    return any(_words(answer) == _words(text) for text in accepted)


def contains(answer: str, accepted: Iterable[str]) -> bool:
    """Whether an accepted text stands in an answer on word boundaries, whatever its case."""
    plain = _plain(answer)
    return any(
        re.search(rf"(?<!\w){re.escape(_plain(text))}(?!\w)", plain) is not None
        for text in accepted
        if _plain(text)
    )


def token_f1(answer: str, accepted: Iterable[str]) -> float:
    """Harmonic mean of precision and recall of words, by the best of the accepted answers.

    Source:
        SQuAD's F1 (Rajpurkar et al. 2016), words as in `exact_match`.
    """
    return max((_f1(_words(answer), _words(text)) for text in accepted), default=0.0)


def abstains(answer: str) -> bool:
    """Whether an answer says that it does not know, or says nothing."""
    return not answer.strip() or _ABSTAINS.search(answer) is not None


def recall_at(found: Sequence[str], right: str) -> bool:
    """Whether what is right is among what was found."""
    return right in found


def _f1(first: Sequence[str], second: Sequence[str]) -> float:
    if not first or not second:
        return float(first == second)
    shared = sum((Counter(first) & Counter(second)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(first), shared / len(second)
    return 2 * precision * recall / (precision + recall)


def _words(text: str) -> list[str]:
    bare = re.sub(r"[^\w\s]", "", _plain(text))
    return [word for word in bare.split() if word not in _ARTICLES]


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
