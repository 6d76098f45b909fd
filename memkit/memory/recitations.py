"""Answers questions in words that modules recite.

A module knows the words in which it was trained, and not all others. So it is asked for the facts
that are near to a question in the words that it knows, and the base model judges what it recites
as it judges passages (docs/decisions/0013-quotations.md). No text of the store is read for it but
those questions.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from memkit.answering.grounding import same, states
from memkit.answering.quote import Passage, Quoter
from memkit.memory.engine import Engine
from memkit.memory.recall import Findings
from memkit.routing.questions import CanonicalQuestions
from memkit.text.question_form import named_stems
from memkit.text.word_weights import word_weights
from memkit.text.words import repeats_answer
from memkit.types import Answer, Claim, Completion, Example, Part, Prompt, Route, Support

Known = tuple[Support, Example]  # a fact, and what its module was trained to answer of it

RECITED = 5  # facts that modules are asked for, the nearest ones
NEAR = 0.2  # cosine similarity that the nearest of them has at least
COMMON = 0.5  # weight of a word in English; "ordinary" has 0.3, most names more
BEYOND = 0.05  # what a sentence that stands alone has to be more relevant than a passage


@dataclass(frozen=True)
class Cue:
    """What a module is asked for a fact.

    Attributes:
        is_pair: Whether that is a question with an answer; otherwise it calls up a sentence.
        is_sure: Whether the user's question is known to be about the fact.
    """

    part: Part
    is_pair: bool
    is_sure: bool

    def passage(self, said: str) -> Passage:
        """What was recited, as it is judged; of a pair the answer is quoted."""
        part = self.part
        text, answer = (f"{part.question} {said}", said) if self.is_pair else (said, None)
        return Passage(text, part.record_id, module=part.module, answer=answer)


def recitations(
    engine: Engine, quoter: Quoter, findings: Sequence[Findings], least: float
) -> list[Answer | None]:
    """For each question its answer out of what modules recite, all asked as one batch.

    It must be more relevant than ``least``, unless the question is known to be about the fact.
    """
    cues = [_cues(engine, quoter, each) for each in findings]
    parts = [cue.part for of_question in cues for cue in of_question]
    said = iter(engine.answerer.recite(parts) if parts else [])
    return [
        _answer(quoter, each, of_question, [next(said) for _ in of_question], least)
        for each, of_question in zip(findings, cues, strict=True)
    ]


def _cues(engine: Engine, quoter: Quoter, findings: Findings) -> list[Cue]:
    """How modules are asked for the nearest facts that they hold; nearest first."""
    query, route = findings.query, findings.recall.route
    if engine.lora is None or not may_be_held(query.text, route):
        return []
    usable = {
        module.name
        for module in engine.ledger.modules.active(visible_to=query.scope)
        if not engine.lora.is_outdated(module.name)
    }
    near = {fact.record_id: fact for fact in route.support if fact.module in usable}
    if findings.by_heart:  # one fact is known to answer, if the question was not taken apart
        only = {part.record_id for part in route.parts if part.question == query.text}
        near = {id: fact for id, fact in near.items() if {id} == only}
    if max((fact.similarity for fact in near.values()), default=-1.0) < NEAR:
        return []
    examples = CanonicalQuestions(engine.ledger).of(list(near))
    known = [(near[id], example) for id, of_record in examples.items() for example in of_record]
    exact = [(fact, e) for fact, e in known if same(query.text, e.question)]
    if exact and findings.by_heart:
        return []  # the module is asked so anyway
    routed = {part.record_id for part in route.parts}
    known = exact or worth_reciting(known, routed, by_heart=findings.by_heart)
    own = quoter.similarities(query.text, [example.question for _, example in known])
    cues = [
        Cue(
            Part(e.question, fact.module or "", fact.record_id, (fact.similarity + similarity) / 2),
            is_pair=not repeats_answer(e.question, e.answer),
            is_sure=findings.by_heart or bool(exact),
        )
        for (fact, e), similarity in zip(known, own, strict=True)
    ]
    return sorted(cues, key=lambda cue: -cue.part.score)[:RECITED]


def worth_reciting(
    known: Sequence[Known], routed: Collection[str], *, by_heart: bool
) -> list[Known]:
    """The sentences among what modules know, and of pairs the routed ones.

    Which pair a question is about, the router tells better than what pairs say. Unless it is
    known to be asked for ``by_heart``, a pair answers less than a sentence of the same record
    that has its answer.
    """
    sentences = [(fact, e) for fact, e in known if repeats_answer(e.question, e.answer)]

    def is_told(fact: Support, pair: Example) -> bool:
        own = (e.answer for other, e in sentences if other.record_id == fact.record_id)
        return not by_heart and any(states(said, pair.answer) for said in own)

    return [
        (fact, e)
        for fact, e in known
        if (fact, e) in sentences or (fact.record_id in routed and not is_told(fact, e))
    ]


def may_be_held(question: str, route: Route) -> bool:
    """Whether weights may know, as far as the router can tell.

    They do not where it is sure what the question is about, and that nothing holds it; nor where
    the question has another name. Another common word may be another way to say it.
    """
    refused = not route and route.evidence >= route.threshold
    if route.mismatch:
        [weight] = word_weights([route.mismatch])
        refused = route.mismatch in named_stems(question) or weight > COMMON
    return not refused and any(fact.module is not None for fact in route.support[:1])


def _answer(
    quoter: Quoter,
    findings: Findings,
    cues: Sequence[Cue],
    said: Sequence[tuple[Prompt, Completion]],
    least: float,
) -> Answer | None:
    """An answer out of what was recited for one question; None if nothing is relevant."""
    recall = findings.recall
    sure = any(cue.is_sure for cue in cues)
    passages = [
        cue.passage(row.text) for cue, (_, row) in zip(cues, said, strict=True) if row.text.strip()
    ]
    bar = 0.0 if sure else quoter.least(recall.query, passages, least + BEYOND)
    claims = quoter.quote(recall.query, passages, least=bar)
    if not claims:
        return None
    return Answer(
        text="\n".join(claim.text for claim in claims),
        recall=replace(recall, route=_recited(recall.route, cues, claims)),
        prompt_tokens=sum(len(prompt) for prompt, _ in said),
        completion_tokens=sum(row.tokens for _, row in said),
        seconds=0.0,
        claims=tuple(claims),
    )


def _recited(route: Route, cues: Sequence[Cue], claims: Sequence[Claim]) -> Route:
    """A route to the modules that what is quoted is from."""
    quoted = {(claim.module, claim.record_id) for claim in claims}
    parts = tuple(cue.part for cue in cues if (cue.part.module, cue.part.record_id) in quoted)
    names = list(dict.fromkeys(part.module for part in parts))
    reason = f"{route.reason}; of {len(cues)} facts that modules recited, the most relevant count"
    return replace(route, weights=dict.fromkeys(names, 1 / len(names)), parts=parts, reason=reason)
