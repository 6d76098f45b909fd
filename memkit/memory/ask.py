"""What the reading verbs do: gather evidence, answer from it, compare the two, count."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import dropwhile
from pathlib import Path
from typing import TYPE_CHECKING

from memkit.answering.explain import Explanation
from memkit.answering.grounding import Stored, Utterance, check
from memkit.answering.prompt import assemble
from memkit.errors import InvalidInputError, ModuleNotFoundInMemoryError
from memkit.files import files_below
from memkit.memory.engine import Engine
from memkit.protocols import COMBINATIONS, GREEDY, Combine, Context, Query, Sampling
from memkit.types import NO_ROUTE, Answer, Claim, Evidence, Hit, Recall, Record, Route, Scope, Stats
from memkit.types.validate import check_limit, check_text

if TYPE_CHECKING:
    from memkit.answering.generate import Answerer

BUDGET = 512  # tokens of evidence: a few passages and the last turns
PASSAGES = 3  # in an answer's prompt; the default base model loses the thread in more
# Cosine similarity of a question with the fact it is about: nearer than that, it is asked much
# as it was trained, and the held record need not stand in the prompt as well
# (docs/decisions/0008-mixing.md).
SURE = 0.85
NOTHING_SAYS_SO = "no record and no turn that was found says so"


@dataclass(frozen=True)
class Asking:
    """How questions are answered.

    Attributes:
        budget: Most tokens of evidence in the prompt.
        modules: Chosen by the caller; None for the routed ones.
        combine: How several modules answer; see `memkit.answering.generate.Answerer.answer`.
        strict: Withhold answers that nothing stored supports.
        sampling: How tokens are chosen.
        repeat_held: Put also those records into the prompt that the weights are sure to hold.
    """

    budget: int
    modules: Sequence[str] | None = None
    combine: Combine = "rows"
    strict: bool = False
    sampling: Sampling = GREEDY
    repeat_held: bool = False

    def __post_init__(self) -> None:
        if self.combine not in COMBINATIONS:
            raise InvalidInputError(
                f"`combine` must be one of {COMBINATIONS}, got {self.combine!r}"
            )


@dataclass(frozen=True)
class _Found:
    """What the backends have for one query, what of it goes into the prompt, and its records."""

    query: Query
    evidence: Sequence[Evidence]
    recall: Recall
    records: Mapping[str, Record] = field(default_factory=dict)


def recall(parts: Engine, query: Query, budget: int) -> Recall:
    """Ask every backend, and assemble what they contribute."""
    check_text("query", query.text)
    return _find(parts, query, Asking(budget, repeat_held=True)).recall


def explain(parts: Engine, query: Query, budget: int) -> Explanation:
    """What `answer` would go by, without the answer."""
    check_text("query", query.text)
    found = _find(parts, query, Asking(budget))
    shown = {hit.id for hit in found.recall.hits}
    hits = {hit.id: hit for one in found.evidence for hit in one.hits if hit.id not in shown}
    calibration = parts.lora.router.calibration() if parts.lora is not None else None
    return Explanation(found.recall, tuple(hits.values()), calibration)


def queries_of(questions: Sequence[str], rest: Query) -> list[Query]:
    """One query per question, alike in all else."""
    if isinstance(questions, str):
        raise InvalidInputError(f"`questions` must be a list, got the string {questions!r}")
    return [replace(rest, text=question) for question in questions]


def answer(parts: Engine, queries: Sequence[Query], asking: Asking) -> list[Answer]:
    """Answer queries as one batch."""

    def answers() -> list[Answer]:
        found = [_find_for_answer(parts, query, asking) for query in queries]
        said = parts.answerer.answer(
            [one.recall for one in found],
            asking.sampling,
            combine=asking.combine,
            contexts=[query.context for query in queries],
        )
        return [_checked(*pair, strict=asking.strict) for pair in zip(found, said, strict=True)]

    try:
        return answers()
    except ModuleNotFoundInMemoryError:  # others have dropped or replaced one: route again
        return answers()


def stream(parts: Engine, query: Query, asking: Asking) -> Generator[str, None, Answer]:
    """Answer one query piece by piece; in one piece if it may turn out to be withheld."""
    answerer = parts.answerer  # a base model that does not fit is refused now, not when read
    return _pieces(parts, answerer, _find_for_answer(parts, query, asking), asking)


def _pieces(
    parts: Engine, answerer: Answerer, found: _Found, asking: Asking
) -> Generator[str, None, Answer]:
    if asking.strict:
        (checked,) = answer(parts, [found.query], asking)
        if checked.text:
            yield checked.text
        return checked
    said = yield from answerer.stream(
        found.recall, asking.sampling, combine=asking.combine, context=found.query.context
    )
    return _checked(found, said, strict=False)


def count(parts: Engine, scope: Scope | None) -> Stats:
    """Count what a memory holds, or a scope of it."""
    ledger = parts.ledger
    modules = ledger.modules.active(within=scope)
    return Stats(
        records=ledger.records.count(within=scope),
        versions=ledger.records.count_versions(within=scope),
        turns=ledger.turns.count(within=scope),
        passages=ledger.passages.count(within=scope),
        modules=len(modules),
        held=sum(len(module.records) for module in modules),
        bytes_on_disk=sum(map(_size, files_below(ledger.directory))),
        embedder=ledger.get_meta("embedder"),
        base_model=modules[0].manifest["base_model"] if modules else None,
        expired=ledger.records.count_expired(within=scope),
    )


def _find_for_answer(parts: Engine, query: Query, asking: Asking) -> _Found:
    check_text("question", query.text)
    found = _find(parts, query, asking)
    route = found.recall.route
    near = [fact.record_id for fact in route.support] + [part.record_id for part in route.parts]
    near += [hit.id for one in found.evidence for hit in one.hits]
    near += [hit.id for hit in found.recall.hits]  # the pinned ones
    ids = parts.ledger.records.existing(list(dict.fromkeys(near)))
    return replace(found, records={r.id: r for r in parts.ledger.records.get(ids)})


def _find(parts: Engine, query: Query, asking: Asking) -> _Found:
    check_limit("k", query.k)
    evidence = [backend.recall(query) for backend in parts.backends]
    if query.context is not None:
        evidence = [_unsaid(one, query, query.context) for one in evidence]
    route = _route(parts, query, evidence, asking.modules)
    spared = () if asking.repeat_held else _held(parts, query, evidence, route)
    counter, count = parts.counter
    shown = [_pinned(parts, query), *(_without(one, spared) for one in evidence)]
    assembled = assemble(shown, budget=asking.budget, count=count)
    recalled = Recall(
        query=query.text,
        text=assembled.text,
        hits=assembled.hits,
        turns=assembled.turns,
        route=route,
        tokens=assembled.tokens,
        budget=asking.budget,
        omitted=assembled.omitted,
        counter=counter,
        in_weights=spared,
    )
    return _Found(query, evidence, recalled)


def _route(
    parts: Engine, query: Query, evidence: Sequence[Evidence], modules: Sequence[str] | None
) -> Route:
    """The routed modules, or those that the caller chose instead."""
    routed = next((one.route for one in evidence if one.route is not None), NO_ROUTE)
    if modules is None:
        return routed
    if isinstance(modules, str):
        raise InvalidInputError(f"`modules` must be a list of names, got the string {modules!r}")
    if not modules:
        return Route({}, reason="the caller chose the untouched base model")
    chosen = parts.need_lora("ask() with `modules`").route_to(modules, query.scope)
    return replace(
        chosen,
        support=routed.support,
        threshold=routed.threshold,
        evidence=routed.evidence,
    )


def _held(
    parts: Engine, query: Query, evidence: Sequence[Evidence], route: Route
) -> tuple[str, ...]:
    """Records that need not stand in the prompt, as the routed modules are sure of the answer.

    These are the records that modules hold, and what was found with less right than the one that
    was asked for: beside an answer by heart it only distracts (docs/decisions/0008-mixing.md).

    A route that the caller chose is sure of nothing, nor is one with several parts for the same
    question. The parts of a question that was taken apart are asked as they were trained.
    """
    if not route.parts or len({part.question for part in route.parts}) < len(route.parts):
        return ()
    near = {fact.record_id: fact.similarity for fact in route.support}
    whole = [part.record_id for part in route.parts if part.question == query.text]
    if any(near.get(id, -1.0) < SURE for id in whole):
        return ()
    ids = [hit.id for one in evidence for hit in one.hits]
    facts = {part.record_id for part in route.parts}
    behind = dropwhile(lambda found: found not in facts, ids)
    return tuple(dict.fromkeys([*parts.ledger.modules.placements(ids), *behind]))


def _pinned(parts: Engine, query: Query) -> Evidence:
    """The pinned records that a query may see, in full; none where no text goes into prompts."""
    if parts.rag is None and parts.buffer is None:
        return Evidence()
    records = parts.ledger.records.pinned(
        visible_to=query.scope, where=query.where, period=query.period
    )
    return Evidence(tuple(Hit(r, r.text, 0, len(r.text), 1.0, None) for r in records))


def _without(evidence: Evidence, ids: Sequence[str]) -> Evidence:
    return replace(evidence, hits=tuple(hit for hit in evidence.hits if hit.id not in ids))


def _unsaid(evidence: Evidence, query: Query, context: Context) -> Evidence:
    """Leave out what the conversation itself says: the prompt has it anyway."""
    said = {query.text, *(content for _, content in context.history)}
    hits = tuple(hit for hit in evidence.hits if hit.record.text not in said)
    return replace(evidence, hits=hits, turns=())


def _checked(found: _Found, answer: Answer, *, strict: bool) -> Answer:
    """The answer with its claims compared with what is stored; withheld if it has to be."""
    records, told = found.records, _told(found)

    def compared(claim: Claim) -> Claim:
        held = records.get(_fact(answer.route, claim))
        return check(claim, Stored(held, list(records.values()), told))

    answer = replace(answer, claims=tuple(map(compared, answer.claims)))
    doubt = next((claim for claim in answer.claims if not claim.supported), None)
    if not strict or doubt is None:
        return answer
    return replace(answer, text="", withheld=str(doubt.conflict or NOTHING_SAYS_SO))


def _told(found: _Found) -> list[Utterance]:
    """What was said to the assistant in the conversation, oldest first."""
    turns = [turn for one in found.evidence for turn in one.turns]
    history = found.query.context.history if found.query.context is not None else ()
    told = [Utterance(turn.content, turn.record_id) for turn in turns if turn.role != "assistant"]
    return told + [Utterance(content) for role, content in history if role != "assistant"]


def _fact(route: Route, claim: Claim) -> str:
    """Id of the record that a claim is about; empty if none is near.

    That is the fact that its module was asked for or, where the caller chose the modules, the
    nearest one, whoever holds it.
    """
    for part in route.parts:
        if (part.question, part.module) == (claim.question, claim.module):
            return part.record_id
    known = route.support and route.evidence >= route.threshold
    return route.support[0].record_id if known else ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # another process has removed it
        return 0
