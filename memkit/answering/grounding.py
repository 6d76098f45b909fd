"""Whether what a model said is what is stored: compared word by word, without asking a model.

What counts for more decides, in this order (docs/concepts/answers.md):

1. the conversation: a turn in the buffer that says something about the question;
2. a record that answers the same question and was written later than the held one;
3. the held record as the ledger, and so the index, has it now;
4. the module, which may have learned something older.

The comparison knows words and numbers, not their meaning: "noon" and "12:00" differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from memkit.text.question_form import ends_as_question
from memkit.text.scripts import MARKS, normal_form, spaced
from memkit.text.words import STOP_WORDS, content_stems
from memkit.types import Claim, Conflict, Record, Source

_ARTICLES = frozenset({"a", "an", "the"})
_NEGATIONS = frozenset({"not", "never", "cannot"})
# A number with its separators, a word with its apostrophes, a percent sign.
_LETTERS = rf"[^\W\d_](?:[^\W\d_]|[{MARKS}])*"
_TOKEN = re.compile(rf"(?<![\w.])-?\d+(?:[.,]\d+)*|\d+(?:[.,]\d+)*|{_LETTERS}(?:'{_LETTERS})*|%")
_THOUSANDS = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_SENTENCES = re.compile(r"(?<=[.!?])\s+|\n+")
NAMED = 0.7  # of a question's telling words, for a text to be sure to answer it
_LONG = 7  # digits: what is written in groups, as phone and account numbers are


@dataclass(frozen=True)
class Utterance:
    """What somebody else than the model said; with the record that was made of it, if any."""

    text: str
    record_id: str | None = None


@dataclass(frozen=True)
class Testimony:
    """Something stored that speaks about a question; ``answer`` is None if it has words only."""

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
    def spoken(cls, utterance: Utterance) -> Testimony:
        """What was said in the conversation."""
        return cls("buffer", None, utterance.text, utterance.record_id)

    def confirms(self, statement: str) -> bool:
        """Whether it says the same."""
        return agree(statement, self.answer) if self.answer else states(self.words, statement)


@dataclass(frozen=True)
class Stored:
    """What is stored that may speak about an answer.

    ``held`` is the record that the module was routed for, None if none is known; ``records`` are
    others that are near to the question, ``utterances`` the conversation, oldest first.
    """

    held: Record | None = None
    records: Sequence[Record] = ()
    utterances: Sequence[Utterance] = ()


def check(claim: Claim, stored: Stored) -> Claim:
    """Compare a claim with what is stored.

    What weights said is held against the first witness in the order of precedence, which
    supports it or contradicts it. What the base model said with nothing but its prompt (the
    claim's module is None) is supported if any witness says the same.
    """
    if claim.module is None:
        spoken = map(Testimony.spoken, stored.utterances[::-1])
        witnesses = [*spoken, *map(Testimony.of, stored.records)]
        witness = next((each for each in witnesses if each.confirms(claim.text)), None)
    else:
        witness = next(_in_order(claim.question, stored), None)
    if witness is None:
        return claim
    id, version = witness.record_id, witness.version
    if witness.confirms(claim.text):
        return replace(claim, record_id=id, supported=True)
    recorded = witness.answer or witness.words
    return replace(claim, conflict=Conflict(claim.text, recorded, witness.source, id, version))


def _in_order(question: str, stored: Stored) -> Iterator[Testimony]:
    """Those that speak about the question, the one that counts for most first."""
    held = stored.held
    kind = held.answer if held is not None and held.answer else ""
    for utterance in stored.utterances[::-1]:
        if speaks_of(utterance.text, question, kind):
            yield Testimony.spoken(utterance)
    if held is None:
        return
    newer = [r for r in stored.records if r.id != held.id and r.updated_at > held.updated_at]
    for record in sorted(newer, key=lambda record: record.updated_at, reverse=True):
        if held.question and record.question and same(held.question, record.question):
            yield Testimony.of(record, "newer record")
    yield Testimony.of(held)


def agree(statement: str, answer: str) -> bool:
    """Whether a statement has all words and numbers of the answer, in a row.

    Case, accents, punctuation, blanks, articles and the way in which numbers are written do not
    count, nor do prepositions and the like if nothing else was said; a negation does.

    Example:
        >>> agree("It is $1,250.50.", "1250.5")
        True
        >>> agree("(603) 556-7631", "603-556-7631")
        True
        >>> agree("It is not 4471", "4471")
        False
    """
    ours, theirs = tokens(statement), tokens(answer)
    if not ours or not theirs or _negated(ours) != _negated(theirs):
        return False
    if _within(theirs, ours) or _grouped(statement, answer):
        return True
    telling = _telling(theirs)
    return telling != [] and telling == _telling(ours)


def states(text: str, statement: str) -> bool:
    """Whether a text has all words and numbers of a statement that tell something."""
    ours = tokens(statement)
    telling = set(_telling(ours))
    whole = tokens(text)
    if not telling or not telling <= set(whole):
        return False
    if not _negated(ours) and not _negated(whole):
        return True
    sentences = [tokens(sentence) for sentence in _SENTENCES.split(text)]
    return any(telling <= set(s) and _negated(s) == _negated(ours) for s in sentences)


def same(text: str, other: str) -> bool:
    """Whether two texts are the same words."""
    return tokens(text) == tokens(other)


def tokens(text: str) -> list[str]:
    """Words and numbers of a text as they are compared; signs, where there are no blanks."""
    plain = spaced(text.replace("\u2019", "'").replace("\u2212", "-"))
    words = [_number(token) for token in _TOKEN.findall(plain)]
    return [word for word in words if word not in _ARTICLES] or words


def speaks_of(text: str, question: str, kind: str = "") -> bool:
    """Whether a text says something about what a question asks.

    It has every word of the question that tells something, is no question itself, and says
    something beyond: a number, if ``kind``, the answer that is held, is one.
    """
    asked, words = set(_stems(question)), set(_stems(text))
    beyond = words - asked
    if ends_as_question(text) or not asked or not asked <= words:
        return False
    return any(map(_has_digit, beyond)) if _has_digit(kind) else bool(beyond)


def names(text: str, question: str) -> bool:
    """Whether a text has nearly all words of a question that tell something."""
    asked = set(content_stems(question))
    return len(asked & set(content_stems(text))) >= NAMED * len(asked)


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


def _grouped(statement: str, recorded: str) -> bool:
    """Whether all digits are those of a long number that is written in groups."""
    statement, recorded = normal_form(statement), normal_form(recorded)
    ours, theirs = re.sub(r"\D", "", statement), re.sub(r"\D", "", recorded)
    plain = not any(map(str.isalpha, recorded)) and not re.search(r"\d[.,]\d", recorded)
    return plain and len(theirs) >= _LONG and ours == theirs


def _within(few: Sequence[str], many: Sequence[str]) -> bool:
    starts = range(len(many) - len(few) + 1)
    return any(list(many[i : i + len(few)]) == list(few) for i in starts)


def _negated(words: Iterable[str]) -> bool:
    return any(word in _NEGATIONS or word.endswith("n't") for word in words)


def _has_digit(text: str) -> bool:
    return any(map(str.isdigit, text))
