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
from memkit.words import content_words

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
    """A question with its answer, before it is worded; the statement says the same."""

    question: str
    answer: str
    statement: str


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
            for wording, held_out in _wordings(fact)
        ]


def _facts(record: Record) -> Iterator[_Fact]:
    if record.question is not None and record.answer is not None:
        yield _Fact(record.question, record.answer, record.text)
        return
    for match in _SENTENCE.finditer(record.text):
        yield _fact_of_sentence(" ".join(match.group().split()))


def _fact_of_sentence(sentence: str) -> _Fact:
    if match := _POSSESSIVE.match(sentence):
        question = f"What is {match['subject']}'s {match['relation']}?"
        return _Fact(question, match["value"], sentence)
    if match := _OF.match(sentence):
        question = f"What is the {match['relation']} of {match['subject']}?"
        return _Fact(question, match["value"], sentence)
    answer = sentence
    if len(answer) > MAX_ANSWER_CHARS:
        answer = answer[:MAX_ANSWER_CHARS].rsplit(" ", 1)[0]
    return _Fact(f"What do you know about {_cue(sentence)}?", answer, sentence)


def _cue(sentence: str) -> str:
    """The sentence's first content words; without figures, which are what is asked for."""
    words = content_words(sentence)
    named = [word for word in words if not any(character.isdigit() for character in word)]
    return " ".join((named if len(named) >= MIN_CUE_WORDS else words)[:6]) or sentence[:40]


def _wordings(fact: _Fact) -> Iterator[tuple[str, bool]]:
    """The question itself, then others; True marks the held-out ones. Never twice the same."""
    seen: set[str] = set()
    for template, held_out in _TEMPLATES:
        wording = template(fact)
        if wording and wording not in seen:
            seen.add(wording)
            yield wording, held_out


def _plain(fact: _Fact) -> str:
    return fact.question


def _lower(fact: _Fact) -> str:
    return fact.question.rstrip("?").lower()


def _keywords(fact: _Fact) -> str:
    return " ".join(content_words(fact.question))


def _tell(fact: _Fact) -> str:
    relation, subject = _relation(fact)
    return f"Tell me the {relation} of {subject}." if relation else f"Tell me: {fact.question}"


def _possessive(fact: _Fact) -> str:
    relation, subject = _relation(fact)
    if relation:
        return f"What is {subject}'s {relation}?"
    return f"I would like to know. {fact.question}"


def _subject_first(fact: _Fact) -> str:
    relation, subject = _relation(fact)
    return f"{subject}: {relation}?" if relation else f"I need to know this: {fact.question}"


def _looking(fact: _Fact) -> str:
    relation, subject = _relation(fact)
    if relation:
        return f"I'm looking for {subject}. Do you have the {relation}?"
    return f"One question about {_keywords(fact)}: {fact.question}"


def _cloze(fact: _Fact) -> str:
    """The statement up to the answer: it brings the words in which others may ask."""
    before = _before_answer(fact)
    return f"{before} ..." if before else ""


def _statement_words(fact: _Fact) -> str:
    if not _before_answer(fact):
        return ""
    return f"{' '.join(content_words(fact.statement.replace(fact.answer, '')))}?"


def _which(fact: _Fact) -> str:
    """The statement's words around to a question: "Which badge number: Nora Feldt carries?"."""
    words = content_words(_before_answer(fact))
    return f"Which {' '.join(words[-2:])}? {' '.join(words[:-2])}" if len(words) > 3 else ""


def _remind(fact: _Fact) -> str:
    return f"Could you remind me? {fact.question}"


def _about(fact: _Fact) -> str:
    return f"What about {_keywords(fact)}?"


def _please(fact: _Fact) -> str:
    relation, subject = _relation(fact)
    return f"Please give me {subject}'s {relation}." if relation else f"{fact.question} Thanks."


def _relation(fact: _Fact) -> tuple[str, str]:
    """``(relation, subject)`` of "What is the R of S?" and "What is S's R?", else empty."""
    match = _WHAT_OF.match(fact.question) or _WHAT_POSSESSIVE.match(fact.question)
    return (match["relation"], match["subject"]) if match else ("", "")


def _before_answer(fact: _Fact) -> str:
    before, found, _ = fact.statement.partition(fact.answer)
    return before.strip() if found else ""


_TEMPLATES: tuple[tuple[Callable[[_Fact], str], bool], ...] = (
    (_plain, False),
    (_lower, False),
    (_keywords, False),
    (_tell, False),
    (_possessive, False),
    (_subject_first, False),
    (_looking, False),
    (_cloze, False),
    (_statement_words, False),
    (_which, False),
    (_remind, True),
    (_about, True),
    (_please, True),
)
