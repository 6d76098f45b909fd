"""Whom a question is about, and how that person would have said it.

In a conversation people speak of themselves as "I": "When did Caroline go to the museum?" is
answered by Caroline's own "I went to the museum yesterday", while her name is in the turns of
those who speak to her. So a question that names a speaker is compared with what was said in the
first person, and without the name among its words; who spoke is known from the turn itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RewrittenQuery:
    """A question as turns of a conversation are searched for it.

    Attributes:
        text: The question, verbatim.
        spoken: The question in the first person of whom it is about; the same as ``text`` if
            it names nobody.
        words: The question without the names.
        about: The speakers that it names.
    """

    text: str
    spoken: str
    words: str
    about: frozenset[str]

    @classmethod
    def of(cls, text: str, speakers: Sequence[str]) -> RewrittenQuery:
        """Look for speakers in a question, by their whole names or first names.

        Example:
            >>> Asked.of("Where did Ann's dog sleep?", ["Ann", "Bob"]).spoken
            "Where did my dog sleep?"
        """
        # In a question all in lower case a name cannot be told from a word by its capital.
        flags = re.IGNORECASE if text.islower() else re.NOFLAG
        called = {name: {name, name.split()[0]} for name in speakers}
        about = {name for name, forms in called.items() if _pattern(forms, flags).search(text)}
        if not about:
            return cls(text, text, text, frozenset())
        pattern = _pattern(set().union(*(called[name] for name in about)), flags)
        bare = " ".join(pattern.sub(" ", text).split())
        spoken = pattern.sub(lambda match: "my" if match["own"] else "I", text)
        # A question of nothing but names and punctuation keeps them as its words.
        words = bare if re.search(r"\w", bare) else text
        return cls(text, spoken, words, frozenset(about))


def _pattern(names: set[str], flags: re.RegexFlag) -> re.Pattern[str]:
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    choice = "|".join(map(re.escape, longest_first))
    return re.compile(rf"(?<!\w)(?:{choice})(?P<own>['’]s)?(?!\w)", flags)
