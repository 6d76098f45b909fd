"""The key of a record that answers a question, made of the question."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from memkit.types.validate import MAX_ID_CHARACTERS

_PREFIX = "question:"


def question_key(question: str) -> str:
    """Give the key of all records that answer a question, however it is spelled.

    Case, punctuation, white space and compatibility forms of characters make no difference;
    words do. Questions of many words are shortened to a digest.

    Example:
        >>> question_key("What is  Nora's badge number?")
        'question:what is nora s badge number'
    """
    folded = unicodedata.normalize("NFKC", question).casefold()
    key = _PREFIX + (" ".join(re.findall(r"\w+", folded)) or question.strip())
    if len(key) <= MAX_ID_CHARACTERS:
        return key
    return _PREFIX + hashlib.sha256(key.encode()).hexdigest()
