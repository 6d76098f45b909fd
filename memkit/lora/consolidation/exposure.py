"""Do weights know an answer better than what they never saw? Asked after forgetting.

For each question of a forgotten record the answer competes with alternatives: invented answers
of the same shape that nobody ever trained. What counts is how much more probable the module
makes each of them than the base model does. An answer that the weights remember stands far above
the alternatives; one that they never saw lies among them.

Rank alone would raise a false alarm for every 32nd answer, and an alternative that looks like a
fact that the module does hold would be no fair comparison. So half of the alternatives are near
misses of the answer, and it has to be ahead of the best of them all by a margin. Weights that
remember an answer give its near misses little.

Source:
    Exposure: Carlini et al. 2019, "The Secret Sharer" (arXiv 1802.08232), section
    4. Near misses and the margin: own design (docs/decisions/0005-capacity.md).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from random import Random
from statistics import fmean

from memkit.ledger import Ledger
from memkit.lora.lora_backend import LoraBackend
from memkit.models.language_model import TransformersModel
from memkit.models.scoring import Ids, Mix, answer_states, log_probabilities, no_adapters
from memkit.text.words import STOP_WORDS, content_words
from memkit.types import Example, Exposure, Prompt, Record, Route

ALTERNATIVES = 31  # to each answer
FEWEST = 5  # alternatives; from fewer nothing can be concluded
ANSWERS = 8  # of the forgotten records that are asked about, however many there are
WORDINGS = 3  # of each question

_VOWELS = "aeiou"
_CONSONANTS = "bdfgklmnprstv"
# Words that stand for each other: an invented word would be no match for one of them.
_KINDS = tuple(
    tuple(kind.split())
    for kind in (
        "january february march april may june july august september october november december",
        "monday tuesday wednesday thursday friday saturday sunday",
        "north east south west",
        "one two three four five six seven eight nine ten eleven twelve",
        "red green blue yellow orange purple black white grey brown pink",
        "left right",
    )
)


@dataclass(frozen=True)
class Probe:
    """An answer that is about to be forgotten; never written anywhere.

    Attributes:
        questions: The question and held-out wordings of it.
        known: Lower-case words that the modules may know from elsewhere.
        modules: Names of the modules whose weights contain the record.
    """

    record_id: str
    questions: tuple[str, ...]
    answer: str
    known: frozenset[str]
    modules: tuple[str, ...]


def probes(backend: LoraBackend, ids: Sequence[str]) -> list[Probe]:
    """What to ask once these records are forgotten: a bounded number, evenly from all of them.

    The records still exist, though they may have expired.
    """
    ledger = backend.ledger
    forgotten = set(ids)
    holding: dict[str, list[str]] = {}  # record id -> modules
    for module in ledger.modules.holding(ids):
        if module.active:  # the others go without being trained anew
            for id in forgotten.intersection(ledger.modules.members(module.name)):
                holding.setdefault(id, []).append(module.name)
    held = [id for id in ids if id in holding]
    some = held[:: math.ceil(len(held) / ANSWERS) or 1]
    all_probes = [
        probe
        for record in ledger.records.get(some, expired=True)
        for probe in probes_of(backend, record, holding[record.id], forgotten)
    ]
    return all_probes[:: math.ceil(len(all_probes) / ANSWERS) or 1]


def probes_of(
    backend: LoraBackend, record: Record, modules: Sequence[str], forgotten: Collection[str]
) -> list[Probe]:
    """The answers of one record, as it is and as it was: weights may hold any of its texts.

    ``forgotten`` are the ids of all records that are forgotten with it.
    """
    ledger = backend.ledger
    members = {id for name in modules for id in ledger.modules.members(name)}
    others = sorted(members - {*forgotten, record.id})
    texts = [t for r in ledger.records.find(others) for t in (r.text, r.question, r.answer) if t]
    known = {word.lower() for text in texts for word in re.findall(r"\w+", text)}
    questions: dict[str, tuple[list[str], list[str]]] = {}  # answer -> trained, held out
    for example in _examples_of(ledger, record):
        questions.setdefault(example.answer, ([], []))[example.held_out].append(example.question)
    return [
        Probe(
            record.id,
            (*trained[:1], *held_out[: WORDINGS - 1]),
            answer,
            frozenset(known | {word.lower() for word in content_words(trained[0])}),
            tuple(modules),
        )
        for answer, (trained, held_out) in questions.items()
        if trained
    ]


def _examples_of(ledger: Ledger, record: Record) -> list[Example]:
    """All that was ever made of a record, and the pairs of question and answer that it had."""
    pairs = [(record.question, record.answer)]
    pairs += [(old.question, old.answer) for old in ledger.records.history(record.id)]
    own = [Example(asked, answer, record.id) for asked, answer in pairs if asked and answer]
    return [*ledger.examples.ever([record.id]).get(record.id, ()), *own]


def ask(backend: LoraBackend, probe: Probe, module: str) -> Exposure | None:
    """Ask the weights of a module alone for a forgotten answer; None if it has few alternatives."""
    alternatives = alternative_answers(probe.answer, probe.known, ALTERNATIVES)
    if len(alternatives) < FEWEST:
        return None
    route = Route({module: 1.0})

    def mix(rows: int) -> AbstractContextManager[object]:
        return backend.adapters([route] * rows)

    base = backend.base
    prompts = [base.prompt(question) for question in probe.questions]
    answers = [base.answer_ids(answer) for answer in (probe.answer, *alternatives)]
    lifts = [_lifts(base, prompt, answers, mix) for prompt in prompts]
    mean = [fmean(of_answer) for of_answer in zip(*lifts, strict=True)]
    return Exposure(
        record_id=probe.record_id,
        module=f"{module} v{backend.ledger.modules.get(module).version}",
        rank=1 + sum(lift >= mean[0] for lift in mean[1:]),
        of=len(mean),
        lift=mean[0],
        ahead=mean[0] - max(mean[1:]),
    )


def _lifts(
    base: TransformersModel, prompt: Prompt, answers: Sequence[Ids], mix: Mix
) -> list[float]:
    """By how much a module makes each answer more probable, in nats."""

    def scores(with_mix: Mix) -> list[float]:
        (states,) = answer_states(base, [prompt], [answers], with_mix)
        return log_probabilities(base, states, answers)

    pairs = zip(scores(mix), scores(no_adapters), strict=True)
    return [inside - outside for inside, outside in pairs]


def alternative_answers(answer: str, known: Collection[str], count: int) -> list[str]:
    """Invent answers of the same shape, every other one a near miss; deterministic.

    Figures become other figures, words other words: of the same kind, for months, directions
    and the like, otherwise invented ones, vowel for vowel and consonant for consonant. Words
    that the module may know from elsewhere stay, as it makes them likely in any answer.

    Returns:
        At most ``count`` different answers without the true one, fewer for a short one; none if
        every word of it is in ``known``.
    """
    pieces = re.split(r"(\w+)", answer)  # words at the odd places
    varied = {
        i
        for i, piece in enumerate(pieces)
        if i % 2 and piece.lower() not in known and piece.lower() not in STOP_WORDS
    }
    if not varied:
        return []
    random = Random(answer)  # noqa: S311 (no secret)
    alternatives: dict[str, None] = {}
    for draw in range(20 * count):  # short answers repeat themselves
        changed = {random.choice(sorted(varied))} if draw % 2 else varied
        other = _near if draw % 2 else _other
        invented = "".join(other(p, random) if i in changed else p for i, p in enumerate(pieces))
        if invented != answer:
            alternatives[invented] = None
        if len(alternatives) == count:
            break
    return list(alternatives)


def _near(word: str, random: Random) -> str:
    """Another word of its kind, or the same word with one character changed."""
    if any(word.lower() in kind for kind in _KINDS):
        return _other(word, random)
    place = random.randrange(len(word))
    return word[:place] + _other_letter(word[place], random) + word[place + 1 :]


def _other(word: str, random: Random) -> str:
    for kind in _KINDS:
        if word.lower() in kind:
            return _cased(random.choice(kind), word)
    return "".join(_other_letter(letter, random) for letter in word)


def _other_letter(letter: str, random: Random) -> str:
    if letter.isdigit():
        return random.choice("0123456789")
    if not letter.isalpha():
        return letter
    drawn = random.choice(_VOWELS if letter.lower() in _VOWELS else _CONSONANTS)
    return drawn.upper() if letter.isupper() else drawn


def _cased(word: str, like: str) -> str:
    return word.upper() if like.isupper() else word.capitalize() if like[0].isupper() else word
