"""Whether a query says something else where a fact says what it is about.

"What is the number of Ada Holm?" is near to what is stored of Ada Berg: the form is the same, and
so is half of the name. What tells them apart is that the word "berg" is missing and that there is
a "holm" in its place. The rarer half of the telling words of a question single it out; the others
say how it is asked, and users put that in words of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Mismatch:
    """What a query says in place of a word that singles a fact out.

    Attributes:
        query_word: The word of the query; empty if it replaces nothing.
        stored_word: The word of the fact.
        weight: How much more the missing word tells than those that are about how it is asked,
            and at most what the word in its place tells; 0 if nothing is replaced.
    """

    query_word: str = ""
    stored_word: str = ""
    weight: float = 0.0


NO_MISMATCH = Mismatch()


def find_mismatch(
    query: Mapping[str, float], question: Mapping[str, float], fact: Collection[str]
) -> Mismatch:
    """Compare a query with the question of a fact.

    Args:
        query: The telling words of the query with their weights.
        question: Those of the question that the fact answers.
        fact: Words of the query that the fact has somewhere.

    Example:
        >>> stored = {"phone": 0.1, "number": 0.1, "ada": 4.0, "berg": 5.0}
        >>> find_mismatch({"phone": 0.1, "ada": 4.0, "holm": 6.0}, stored, ["phone", "ada"])
        Mismatch(query_word='holm', stored_word='berg', weight=4.9)
    """
    if not question:
        return NO_MISMATCH
    ranked = sorted(question, key=lambda word: (-question[word], word))
    rare = ranked[: (len(ranked) + 1) // 2]
    missing = next((word for word in rare if word not in query), None)
    others = [word for word in query if word not in question and word not in fact]
    if missing is None or not others:
        return NO_MISMATCH
    other = max(others, key=lambda word: query[word])
    common = max((question[word] for word in ranked[len(rare) :]), default=question[rare[-1]])
    weight = min(question[missing] - common, query[other])
    return Mismatch(other, missing, weight) if weight > 0.0 else NO_MISMATCH
