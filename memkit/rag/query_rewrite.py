"""Rewrites a question for a search among turns of a conversation, in which people say "I".

"When did Caroline go to the museum?" is answered by Caroline's own "I went to the museum
yesterday", while her name is in the turns of those who speak to her. So a question that names a
speaker is embedded in the first person, and its names are no search words; who spoke is known
from the turn itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RewrittenQuery:
    """A question in the forms in which it is searched for.

    Attributes:
        text: The question, verbatim.
        first_person: The question as the speaker whom it names would put it; the same as
            ``text`` if it names nobody.
        without_names: The question without the names of speakers; the same as ``text`` if
            nothing else is left.
        speakers: The speakers that it names.
    """

    text: str
    first_person: str
    without_names: str
    speakers: frozenset[str]

    @classmethod
    def of(cls, text: str, speakers: Sequence[str]) -> RewrittenQuery:
        """Look for speakers in a question, by their whole names or first names.

        Args:
            text: The question.
            speakers: Whole names of those who speak in the conversations searched.

        Example:
            >>> RewrittenQuery.of("Where did Ann's dog sleep?", ["Ann", "Bob"]).first_person
            'Where did my dog sleep?'
        """
        # In a question all in lower case a name cannot be told from a word by its capital.
        flags = re.IGNORECASE if text.islower() else re.NOFLAG
        forms = {name: {name, name.split()[0]} for name in speakers}
        named = {name for name in speakers if _pattern(forms[name], flags).search(text)}
        if not named:
            return cls(text, text, text, frozenset())
        pattern = _pattern(set().union(*(forms[name] for name in named)), flags)
        first_person = pattern.sub(lambda match: "my" if match["possessive"] else "I", text)
        bare = " ".join(pattern.sub(" ", text).split())
        without_names = bare if re.search(r"\w", bare) else text
        return cls(text, first_person, without_names, frozenset(named))


def _pattern(names: set[str], flags: re.RegexFlag) -> re.Pattern[str]:
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    choice = "|".join(map(re.escape, longest_first))
    return re.compile(rf"(?<!\w)(?:{choice})(?P<possessive>['’]s)?(?!\w)", flags)
