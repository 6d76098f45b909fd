"""Keys that nobody gave: made of the question that a record answers.

Records of different ids may answer one question, or say the same. One of them has the key made of
the question, or none, as it is stored; each other has a mark of its id behind that, so that no
two keys are the same. Which one it is depends on who came first, and on nothing else: for
whoever reads them and whatever finds them, all have the key of their question.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

from memkit.types.validate import MAX_ID_CHARACTERS

_PREFIX = "question:"
_MARK = "\x1f"  # the separator of units; no word has it


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


def marked_key(question: str | None, id: str) -> str:
    """Give the key, as it is stored, of one more record that answers a question or says the same.

    Without a question it is the mark alone.
    """
    mark = hashlib.blake2b(id.encode(), digest_size=8).hexdigest()
    return f"{_made(question) or ''}{_MARK}{mark}"


def marked_range(key: str) -> tuple[str, str]:
    """Bounds, the second of which is excluded, of the marked keys of one question."""
    return key + _MARK, key + chr(ord(_MARK) + 1)


def is_made(key: str | None, question: str | None, id: str) -> bool:
    """Whether the stored key of a record is one that nobody gave."""
    return key == _made(question) or key == marked_key(question, id)


def shown_key(key: str | None, question: str | None, id: str) -> str | None:
    """Give the key of a record as everybody sees it: without a mark."""
    marked = key is not None and _MARK in key and is_made(key, question, id)
    return _made(question) if marked else key


def _made(question: str | None) -> str | None:
    return None if question is None else question_key(question)
