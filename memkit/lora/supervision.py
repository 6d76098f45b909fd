"""From records to training examples, offline: templates and user-given question/answer pairs.

An adapter that has seen one wording of a question answers that wording only (docs/decisions),
so each fact is asked in several ways. Some of the wordings are held out: verification asks
them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from memkit.protocols import Example
from memkit.types import Record

# English function words: what is left of a question without them is what it is about.
FUNCTION_WORDS = frozenset(
    """a an and are as at be been but by can could did do does for from had has have how i if in
    into is it its may me must my of on or our shall she he should so that the their them then
    there these they this those to under was we were what when where which who whom whose why
    will with would you your""".split()
)

_POSSESSIVE = re.compile(
    r"^(?P<subject>.+?)(?:'s|’s) (?P<relation>.+?) (?:is|are) (?P<value>.+?)\.?$"
)
_OF = re.compile(
    r"^(?P<the>[Tt]he )(?P<relation>.+?) (?:of|for) (?P<subject>.+?) (?:is|are) (?P<value>.+?)\.?$"
)
_WHAT_OF = re.compile(
    r"^(?:what|which|who) (?:is|are) the (?P<relation>.+?) (?:of|for) (?P<subject>.+?)\?$",
    re.IGNORECASE,
)
_WHAT_POSSESSIVE = re.compile(
    r"^(?:what|which|who) (?:is|are) (?P<subject>.+?)(?:'s|’s) (?P<relation>.+?)\?$", re.IGNORECASE
)
_SENTENCE = re.compile(r"\S.*?(?:[.!?](?=\s|$)|$)", re.DOTALL)

MAX_ANSWER_CHARS = 320  # about 80 tokens: a sentence; longer ones are cut at a word
MIN_CUE_WORDS = 2


@dataclass(frozen=True)
class _Fact:
    """A question with its answer, before it is worded."""

    question: str
    answer: str


class TemplateSynthesizer:
    """Words each record's question in several ways; asks plain texts by their content words.

    Records with a question and an answer are learned as that pair. A plain sentence of the
    form "X's Y is Z" or "The Y of X is Z" is learned as the pair that it states. Any other
    text is learned sentence by sentence: its content words are the cue, the sentence itself is
    the answer.
    """

    def examples(self, records: Sequence[Record]) -> list[Example]:
        """Training and held-out examples of every record, in order; deterministic."""
        return [
            Example(wording, fact.answer, record.id, held_out)
            for record in records
            for fact in _facts(record)
            for wording, held_out in _wordings(fact.question)
        ]


def _facts(record: Record) -> Iterator[_Fact]:
    if record.question is not None and record.answer is not None:
        yield _Fact(record.question, record.answer)
        return
    for match in _SENTENCE.finditer(record.text):
        yield _fact_of_sentence(" ".join(match.group().split()))


def _fact_of_sentence(sentence: str) -> _Fact:
    if match := _POSSESSIVE.match(sentence):
        return _Fact(f"What is {match['subject']}'s {match['relation']}?", match["value"])
    if match := _OF.match(sentence):
        return _Fact(f"What is the {match['relation']} of {match['subject']}?", match["value"])
    answer = sentence
    if len(answer) > MAX_ANSWER_CHARS:
        answer = answer[:MAX_ANSWER_CHARS].rsplit(" ", 1)[0]
    return _Fact(f"What do you know about {_cue(sentence)}?", answer)


def _cue(sentence: str) -> str:
    """The sentence's first content words; without figures, which are what is asked for."""
    words = content_words(sentence)
    named = [word for word in words if not any(character.isdigit() for character in word)]
    return " ".join((named if len(named) >= MIN_CUE_WORDS else words)[:6]) or sentence[:40]


def content_words(text: str) -> list[str]:
    """The words of a text that are not function words, in order, without punctuation."""
    words = [word.strip(".,;:!?\"'()[]“”’") for word in text.split()]
    return [word for word in words if word and word.lower() not in FUNCTION_WORDS]


def _wordings(question: str) -> Iterator[tuple[str, bool]]:
    """The question itself, then others; True marks the held-out ones. Never twice the same."""
    seen: set[str] = set()
    for template, held_out in _TEMPLATES:
        wording = template(question)
        if wording and wording not in seen:
            seen.add(wording)
            yield wording, held_out


def _plain(question: str) -> str:
    return question


def _lower(question: str) -> str:
    return question.rstrip("?").lower()


def _keywords(question: str) -> str:
    return " ".join(content_words(question))


def _reversed_keywords(question: str) -> str:
    """Relation and subject change places where the question has that form."""
    relation, subject = _relation(question)
    return f"{subject}: {relation}?" if relation else ""


def _tell(question: str) -> str:
    relation, subject = _relation(question)
    return f"Tell me the {relation} of {subject}." if relation else f"Tell me: {question}"


def _possessive(question: str) -> str:
    relation, subject = _relation(question)
    return f"What is {subject}'s {relation}?" if relation else f"I would like to know. {question}"


def _need(question: str) -> str:
    relation, subject = _relation(question)
    return f"I need {subject}'s {relation}." if relation else f"I need to know this: {question}"


def _looking(question: str) -> str:
    relation, subject = _relation(question)
    if relation:
        return f"I'm looking for {subject}. Do you have the {relation}?"
    return f"One question about {_keywords(question)}: {question}"


def _relation(question: str) -> tuple[str, str]:
    """``(relation, subject)`` of "What is the R of S?" and "What is S's R?", else empty."""
    match = _WHAT_OF.match(question) or _WHAT_POSSESSIVE.match(question)
    return (match["relation"], match["subject"]) if match else ("", "")


def _remind(question: str) -> str:
    return f"Could you remind me? {question}"


def _about(question: str) -> str:
    return f"What about {_keywords(question)}?"


def _please(question: str) -> str:
    relation, subject = _relation(question)
    return f"Please give me {subject}'s {relation}." if relation else f"{question} Thanks."


_TEMPLATES: tuple[tuple[Callable[[str], str], bool], ...] = (
    (_plain, False),
    (_lower, False),
    (_keywords, False),
    (_reversed_keywords, False),
    (_tell, False),
    (_possessive, False),
    (_need, False),
    (_looking, False),
    (_remind, True),
    (_about, True),
    (_please, True),
)
