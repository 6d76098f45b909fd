"""Whether what a model said is what is stored: compared word by word, without asking a model.

What counts for more decides, in this order (docs/concepts.md, "Evidence"):

1. the conversation: a turn in the buffer that says something about the question;
2. a record that answers the same question and was written later than the held one;
3. the held record as the ledger, and so the index, has it now;
4. the module, which may have learned something older.

The comparison knows words and numbers, not their meaning: "noon" and "12:00" differ.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from memkit.text.words import STOP_WORDS
from memkit.types import Claim, Conflict, Record, Source

_ARTICLES = frozenset({"a", "an", "the"})
_NEGATIONS = frozenset({"not", "never", "cannot"})
# A number with its separators, a word with its apostrophes, a percent sign.
_TOKEN = re.compile(r"(?<![\w.])-?\d+(?:[.,]\d+)*|\d+(?:[.,]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*|%")
_THOUSANDS = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_SENTENCES = re.compile(r"(?<=[.!?])\s+|\n+")
_LONG = 7  # digits: what is written in groups, as phone and account numbers are


@dataclass(frozen=True)
class Utterance:
    """What somebody else than the model said in the conversation.

    Attributes:
        text: The words.
        record_id: The record that was made of them, if one was.
    """

    text: str
    record_id: str | None = None


@dataclass(frozen=True)
class Testimony:
    """Something stored that speaks about a question.

    Attributes:
        source: Where it stands.
        answer: What it answers; None if it has no answer, only words.
        words: What it says.
        record_id: Of the record that it is, if it is one.
        version: Of that record.
    """

    source: Source
    answer: str | None
    words: str
    record_id: str | None = None
    version: int | None = None

    @classmethod
    def of(cls, record: Record, source: Source = "record") -> Testimony:
        """What a record says."""
        return cls(source, record.answer, record.text, record.id, record.version)

    @classmethod
    def spoken(cls, told: Utterance) -> Testimony:
        """What was said in the conversation."""
        return cls("buffer", None, told.text, told.record_id)

    def confirms(self, said: str) -> bool:
        """Whether it says the same."""
        return agree(said, self.answer) if self.answer else states(self.words, said)

    def against(self, said: str) -> Conflict:
        """It, as what speaks against what was said."""
        return Conflict(said, self.answer or self.words, self.source, self.record_id, self.version)


@dataclass(frozen=True)
class Stored:
    """What is stored that may speak about an answer.

    Attributes:
        held: The record that the module was routed for; None if none is known.
        records: Others that are near to the question.
        told: What was said in the conversation, oldest first.
    """

    held: Record | None = None
    records: Sequence[Record] = ()
    told: Sequence[Utterance] = ()


def check(claim: Claim, stored: Stored) -> Claim:
    """Compare a claim with what is stored.

    What weights said is held against the first witness in the order of precedence, which
    supports it or contradicts it. What the base model said with nothing but its prompt is
    supported if any witness says the same.

    Args:
        claim: As it was said; its module is None for the base model.
        stored: What may speak about it.
    """
    if claim.module is None:
        known = [*map(Testimony.spoken, stored.told[::-1]), *map(Testimony.of, stored.records)]
        witness = next((one for one in known if one.confirms(claim.text)), None)
    else:
        witness = next(_in_order(claim.question, stored), None)
    if witness is None:
        return claim
    if witness.confirms(claim.text):
        return replace(claim, record_id=witness.record_id, supported=True)
    return replace(claim, conflict=witness.against(claim.text))


def _in_order(question: str, stored: Stored) -> Iterator[Testimony]:
    """Those that speak about the question, the one that counts for most first."""
    held = stored.held
    kind = held.answer if held is not None and held.answer else ""
    for told in stored.told[::-1]:
        if speaks_of(told.text, question, kind):
            yield Testimony.spoken(told)
    if held is None:
        return
    newer = [r for r in stored.records if r.id != held.id and r.updated_at > held.updated_at]
    for record in sorted(newer, key=lambda record: record.updated_at, reverse=True):
        if held.question and record.question and same(held.question, record.question):
            yield Testimony.of(record, "newer record")
    yield Testimony.of(held)


def agree(said: str, answer: str) -> bool:
    """Whether what was said is the answer: it has all its words and numbers, in a row.

    Case, punctuation, blanks, articles and the way in which numbers are written do not count,
    nor do prepositions and the like if nothing else was said; a negation does.

    Example:
        >>> agree("It is $1,250.50.", "1250.5")
        True
        >>> agree("(603) 556-7631", "603-556-7631")
        True
        >>> agree("It is not 4471", "4471")
        False
    """
    ours, theirs = tokens(said), tokens(answer)
    if not ours or not theirs or _negated(ours) != _negated(theirs):
        return False
    told = _telling(theirs)
    return (
        _within(theirs, ours) or (told != [] and told == _telling(ours)) or _grouped(said, answer)
    )


def states(text: str, said: str) -> bool:
    """Whether a text says what was said: it has all its words and numbers that tell something."""
    ours = tokens(said)
    telling = set(_telling(ours))
    whole = tokens(text)
    if not telling or not telling <= set(whole):
        return False
    if not _negated(ours) and not _negated(whole):
        return True
    sentences = [tokens(sentence) for sentence in _SENTENCES.split(text)]
    return any(telling <= set(s) and _negated(s) == _negated(ours) for s in sentences)


def same(one: str, other: str) -> bool:
    """Whether two texts are the same words."""
    return tokens(one) == tokens(other)


def tokens(text: str) -> list[str]:
    """Words and numbers of a text as they are compared."""
    plain = unicodedata.normalize("NFKC", text).replace("\u2019", "'").replace("\u2212", "-")
    found = [_number(token) for token in _TOKEN.findall(plain.casefold())]
    return [token for token in found if token not in _ARTICLES] or found


def speaks_of(text: str, question: str, kind: str = "") -> bool:
    """Whether a text says something about what a question asks.

    It has every word of the question that tells something, is no question itself, and says
    something beyond: a number, if the answer that is held is one.

    Args:
        text: For example a turn of a conversation.
        question: What was asked.
        kind: The answer that is held.
    """
    asked, said = set(_stems(question)), set(_stems(text))
    beyond = said - asked
    if text.rstrip().endswith("?") or not asked or not asked <= said:
        return False
    return any(map(_has_digit, beyond)) if _has_digit(kind) else bool(beyond)


def _stems(text: str) -> list[str]:
    """The telling words, without the possessive."""
    return _telling([token.removesuffix("'s") for token in tokens(text)])


def _telling(words: Iterable[str]) -> list[str]:
    return [word for word in words if word not in STOP_WORDS]


def _number(token: str) -> str:
    """A number as it is compared: without thousands' separators and idle decimals."""
    if _THOUSANDS.fullmatch(token):
        token = token.replace(",", "")
    if token.count(".") == 1 and "," not in token:
        token = token.rstrip("0").rstrip(".")
    return token


def _grouped(said: str, recorded: str) -> bool:
    """Whether all digits are those of a long number that is written in groups."""
    ours, theirs = re.sub(r"\D", "", said), re.sub(r"\D", "", recorded)
    plain = not any(map(str.isalpha, recorded)) and not re.search(r"\d[.,]\d", recorded)
    return plain and len(theirs) >= _LONG and ours == theirs


def _within(few: Sequence[str], many: Sequence[str]) -> bool:
    starts = range(len(many) - len(few) + 1)
    return any(list(many[i : i + len(few)]) == list(few) for i in starts)


def _negated(words: Iterable[str]) -> bool:
    return any(word in _NEGATIONS or word.endswith("n't") for word in words)


def _has_digit(text: str) -> bool:
    return any(map(str.isdigit, text))
