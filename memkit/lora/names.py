"""Which question is the only one about what it names."""

from __future__ import annotations

from collections.abc import Sequence

from memkit.words import content_words


def own_names(questions: Sequence[str]) -> list[str]:
    """What each question names and no other one does; empty where another has all its names.

    Example:
        >>> own_names(["Where does Ada Lind sit?", "Who hired Ada Bo?", "Where did Ada Lind live?"])
        ['', 'Ada Bo', '']
    """
    named = [names(question) for question in questions]
    askers: dict[str, set[int]] = {}
    for asker, words in enumerate(named):
        for word in words:
            askers.setdefault(word, set()).add(asker)
    return [
        " ".join(words)
        if words and set.intersection(*(askers[word] for word in words)) == {asker}
        else ""
        for asker, words in enumerate(named)
    ]


def names(question: str) -> list[str]:
    """The capitalised words of a question, and those with figures, in order.

    Its first word counts only before another name, as it is capitalised anyway.

    Example:
        >>> names("Can I reach Vera Gallo's desk from gate B7?")
        ['Vera', 'Gallo', 'B7']
    """
    words = [next(iter(content_words(word)), "") for word in question.split()]
    words = [word.removesuffix("'s").removesuffix("’s") for word in words]
    first = 0 if any(_is_name(word) for word in words[1:2]) else 1
    return [word for word in words[first:] if _is_name(word)]


def _is_name(word: str) -> bool:
    return word[:1].isupper() or any(character.isdigit() for character in word)
