"""From records to training examples, offline: templates and user-given question/answer pairs.

An adapter that has seen one wording of a question answers that wording only (docs/decisions),
so each fact is asked in several ways. Some of the wordings are held out: verification asks
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from memkit.text.sentences import sentences
from memkit.text.words import STOP_WORDS, content_stems, content_words, repeats_answer
from memkit.types import Example, Record

MAX_SENTENCES = 32  # of a plain text; a module has no room for longer ones, so rag keeps them
MIN_CUE_WORDS = 2
MAX_CUE_CHARS = 80
MAX_BESIDE = 2  # sentences that are learned beside a pair; rag keeps longer texts
MORE_WORDS = 5  # with which a sentence says more than the pair that it comes with

_PHRASE = r"\S+(?: \S+){0,7}?"
_POSSESSIVE = re.compile(
    rf"(?P<subject>{_PHRASE})['’]s (?P<relation>{_PHRASE}) "
    r"(?P<be>is|are|was|were) (?P<value>.+?)\.?"
)
_OF = re.compile(
    rf"[Tt]he (?P<relation>{_PHRASE}) (?P<of>of|for) (?P<subject>{_PHRASE}) "
    r"(?P<be>is|are|was|were) (?P<value>.+?)\.?"
)
_ASK_POSSESSIVE = re.compile(
    rf"(?P<ask>(?:what|which|who) (?:is|are|was|were)) (?P<subject>{_PHRASE})['’]s "
    rf"(?P<relation>{_PHRASE})\?",
    re.IGNORECASE,
)
_ASK_OF = re.compile(
    rf"(?P<ask>(?:what|which|who) (?:is|are|was|were)) the (?P<relation>{_PHRASE}) (?:of|for) "
    rf"(?P<subject>{_PHRASE})\?",
    re.IGNORECASE,
)
# Words that begin a clause: what matches around them is no simple statement.
_CLAUSE = frozenset(
    """
    although are because if is since that unless until was were when where which while who whom
    whose why
    """.split()
)


@dataclass(frozen=True)
class _Fact:
    """A question with its answer, and what is around the answer in the sentence that states it."""

    question: str
    answer: str
    before: str = ""
    after: str = ""


class TemplateSynthesizer:
    """Words each record's question in several ways; asks plain texts by their content words.

    Records with a question and an answer are learned as that pair. A plain sentence of the
    form "X's Y is Z" or "The Y of X is Z" is learned as the pair that it states. Any other
    text is learned sentence by sentence: its content words are the cue, the sentence itself is
    the answer; so are the few sentences of a pair's text that say more than it. Nobody but
    memkit asks by a cue, so it has fewer wordings. Texts of more than `MAX_SENTENCES`
    sentences, and those without a letter or figure, give no examples.
    """

    @property
    def key(self) -> str:
        """The version of the templates; there are no settings."""
        return "template-2"

    def examples(self, records: Sequence[Record]) -> list[Example]:
        """Training and held-out examples of every record, in order; deterministic."""
        return [
            Example(wording, fact.answer, record.id, held_out, record.text)
            for record in records
            for fact in _facts(record)
            for wording, held_out in _wordings(fact)
        ]


def _facts(record: Record) -> list[_Fact]:
    stated = sentences(record.text)
    few = stated if len(stated) <= MAX_SENTENCES else []
    if record.question is not None and record.answer is not None:
        pair = _Fact(record.question, record.answer, *_around(record.answer, stated))
        more = [_said(sentence) for sentence in few if _says_more(sentence, pair)]
        return [pair, *(more if len(more) <= MAX_BESIDE else [])]
    return [_fact_of_sentence(sentence) for sentence in few]


def _says_more(sentence: str, pair: _Fact) -> bool:
    """Whether a sentence has many words that tell something and are not in a pair."""
    known = {*content_stems(pair.question), *content_stems(pair.answer)}
    return len(set(content_stems(sentence)) - known) >= MORE_WORDS


def _around(answer: str, stated: Sequence[str]) -> tuple[str, str]:
    """What is before and behind the answer in the first sentence that has it as whole words."""
    for sentence in stated:
        if answer in sentence and (
            match := re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", sentence)
        ):
            return sentence[: match.start()], sentence[match.end() :]
    return "", ""


def _fact_of_sentence(sentence: str) -> _Fact:
    if (match := _POSSESSIVE.fullmatch(sentence)) and _is_simple(match):
        subject = _inside(match["subject"])
        question = f"What {match['be']} {subject}'s {match['relation']}?"
        return _fact_of_match(question, match)
    if (match := _OF.fullmatch(sentence)) and _is_simple(match):
        about = f"{match['relation']} {match['of']} {match['subject']}"
        return _fact_of_match(f"What {match['be']} the {about}?", match)
    return _said(sentence)


def _said(sentence: str) -> _Fact:
    """A sentence, and the cue by which it is recited."""
    return _Fact(f"What can you tell me about {_cue(sentence)}?", sentence)


def _fact_of_match(question: str, match: re.Match[str]) -> _Fact:
    start, end = match.span("value")
    return _Fact(question, match["value"], match.string[:start], match.string[end:])


def _is_simple(statement: re.Match[str]) -> bool:
    """Whether the subject is named, and no clause hides in the statement."""
    words = " ".join(statement.group("subject", "relation", "value")).lower().split()
    return _CLAUSE.isdisjoint(words) and bool(content_words(statement["subject"]))


def _inside(phrase: str) -> str:
    """A phrase from the beginning of a sentence, as it is written further on: "the shop"."""
    first = phrase.split(maxsplit=1)[0].lower()
    return first + phrase[len(first) :] if first in STOP_WORDS else phrase


def _cue(sentence: str) -> str:
    """The sentence's first content words; without figures, which are what is asked for."""
    words = content_words(sentence)
    named = [word for word in words if not any(character.isdigit() for character in word)]
    cue = " ".join((named if len(named) >= MIN_CUE_WORDS else words)[:6]) or sentence
    return cue[:MAX_CUE_CHARS]


def _wordings(fact: _Fact) -> Iterator[tuple[str, bool]]:
    """The question itself, then others; True marks the held-out ones. Never twice the same."""
    trained = [*_questions(fact), *_statements(fact)]
    seen: set[str] = set()
    for number, wording in enumerate([*trained, *_held_out(fact)]):
        if wording.strip() and wording.strip() not in seen:
            seen.add(wording.strip())
            yield wording.strip(), number >= len(trained)


def _questions(fact: _Fact) -> list[str]:
    """The question in several wordings; empty texts are left out later."""
    asked, keywords = fact.question, " ".join(content_words(fact.question))
    wordings = [asked, asked.rstrip("?").lower(), keywords]
    if repeats_answer(asked, fact.answer):
        return wordings
    if match := _relation(asked):
        ask, relation, subject = match.group("ask", "relation", "subject")
        return [
            *wordings,
            f"Tell me the {relation} of {subject}.",
            f"{ask} {subject}'s {relation}?",
            f"{subject}: {relation}?",
            f"I'm looking for {subject}. Do you have the {relation}?",
        ]
    return [
        *wordings,
        f"Tell me: {asked}",
        f"I would like to know. {asked}",
        f"I need to know this: {asked}",
        f"One question about {keywords}: {asked}" if keywords else "",
    ]


def _statements(fact: _Fact) -> Iterator[str]:
    """The statement around the answer: it brings the words in which others may ask."""
    words = content_words(fact.before)
    if len(words) >= MIN_CUE_WORDS:
        yield f"{fact.before.strip()} ..."
    if fact.before.strip() and (around := content_words(f"{fact.before} {fact.after}")):
        yield f"{' '.join(around)}?"
    if len(words) > 3:  # "Which badge number? Nora Feldt carries"
        yield f"Which {' '.join(words[-2:])}? {' '.join(words[:-2])}"


def _held_out(fact: _Fact) -> Iterator[str]:
    keywords = " ".join(content_words(fact.question))
    yield f"Could you remind me? {fact.question}"
    if repeats_answer(fact.question, fact.answer):
        return
    yield f"What about {keywords}?" if keywords else ""
    if match := _relation(fact.question):
        yield f"Please give me {match['subject']}'s {match['relation']}."
    else:
        yield f"{fact.question} Thanks."


def _relation(question: str) -> re.Match[str] | None:
    """``ask``, ``relation`` and ``subject`` of "What is the R of S?" and "What is S's R?"."""
    return _ASK_OF.fullmatch(question) or _ASK_POSSESSIVE.fullmatch(question)
