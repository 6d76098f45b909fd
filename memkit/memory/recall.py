"""Gathers evidence for a query from all backends, and fits it into a budget of tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import dropwhile

from memkit.answering.prompt import Quoted, assemble
from memkit.ledger.records.filters import parse
from memkit.memory.asked import query_of
from memkit.memory.engine import Engine
from memkit.memory.options import (
    ExplainOptions,
    Question,
    RecallOptions,
    Request,
    Selection,
    query_template,
    request_of,
)
from memkit.memory.telemetry import traced
from memkit.protocols import Backend
from memkit.routing.questions import CanonicalQuestions
from memkit.types import (
    HITS,
    NO_ROUTE,
    PASSAGES,
    Context,
    Evidence,
    Example,
    Hit,
    Query,
    Recall,
    Record,
    Route,
)
from memkit.types.explanation import Explanation
from memkit.types.timings import step
from memkit.types.validate import check_result

# Cosine similarity of a question with the fact it is about: nearer than that, it is asked much
# as it was trained, and the held record need not stand in the prompt as well
# (docs/decisions/0008-mixing.md).
SURE = 0.85


@dataclass(frozen=True)
class Findings:
    """What the backends have for one query.

    Attributes:
        query: The query.
        evidence: Of each backend.
        recall: What of it goes into the prompt.
        records: The records that were found or voted in the routing, by id, as they are now.
        judged: What stands in the prompt and was judged, most relevant first.
        by_heart: Whether the route's modules answer, whatever is in the prompt.
        trained: What modules are asked for the facts of the route, by record.
    """

    query: Query
    evidence: Sequence[Evidence]
    recall: Recall
    records: Mapping[str, Record]
    judged: Sequence[Hit] = ()
    by_heart: bool = False
    trained: Mapping[str, Sequence[Example]] = field(default_factory=dict)


def search(engine: Engine, query: Question, k: int, selection: Selection) -> list[Hit]:
    """Find records by meaning and by words."""
    return _hits(engine, query_of(query, query_template(selection, Selection, k=k), name="query"))


@traced("search_memory", "search", about=True)
def _hits(engine: Engine, query: Query) -> list[Hit]:
    return list(engine.need_rag("search()").recall(query).hits)


def recall(engine: Engine, question: Question, budget: int, options: RecallOptions) -> Recall:
    """Ask every backend, and assemble what they contribute."""
    query = query_of(question, query_template(options, RecallOptions, k=HITS))
    return gather(engine, query, Request(budget, min_score=None, repeat_held=True)).recall


def explain(
    engine: Engine, question: Question, budget: int, options: ExplainOptions
) -> Explanation:
    """Show route, evidence and prompt of an answer without generating it."""
    query = query_of(question, query_template(options, ExplainOptions, k=PASSAGES))
    findings = gather(engine, query, request_of(budget, options))
    shown = {hit.id for hit in findings.recall.hits}
    hits = [hit for evidence in findings.evidence for hit in evidence.hits]
    left_out = {hit.id: hit for hit in hits if hit.id not in shown}
    calibration = engine.lora.router.calibration() if engine.lora is not None else None
    quoted = Quoted([*findings.recall.hits, *findings.recall.turns])
    return Explanation(
        findings.recall,
        tuple(left_out.values()),
        calibration,
        findings.records,
        repeated=tuple(id for id, hit in left_out.items() if quoted.has(hit)),
    )


@traced("search_memory", "recall", about=True)
def gather(engine: Engine, query: Query, request: Request) -> Findings:
    """Ask every backend, and assemble what goes into the prompt of an answer."""
    least = request.min_score if request.budget else None
    judge = engine.relevance if least is not None else None
    wide = query if judge is None else replace(query, k=max(query.k, HITS))
    evidence = [_recalled(backend, wide) for backend in engine.backends_asked]
    if query.context is not None:
        evidence = [_without_conversation(part, query, query.context) for part in evidence]
    else:
        evidence = _without_question(evidence, query)
    route = _route(engine, query, evidence, request.modules)
    records = _records(engine, query, evidence, route)
    evidence = [_visible(query, part, records) for part in evidence]
    sure = _is_sure(query, route)
    held = _held(engine, evidence, route) if sure and not request.repeat_held else ()
    relevant = evidence
    if judge is not None and least is not None:
        evidence = [_first(judge.judged(p, query.text, without=held), query.k) for p in evidence]
        bar = judge.least(query.text, _said(evidence), least)
        relevant = [judge.relevant(part, bar) for part in evidence]
    shown = [_without(part, held) for part in relevant]
    pinned = _pinned(engine, query)
    assembled = assemble(
        [pinned, *shown],
        budget=request.budget,
        count=engine.counter.count,
        prompt_format=engine.prompt_format,
        special_tokens=engine.counter.special_tokens,
    )
    prompted = Quoted([*assembled.hits, *assembled.turns])
    judged = [
        hit
        for part in shown
        for hit in part.hits
        if hit.relevance is not None and prompted.has(hit)
    ]
    by_heart = _answers_by_heart(query, route)
    if judged and not by_heart and request.combine == "rows":
        route = _unused(route)
    recalled = Recall(
        query=query.text,
        text=assembled.text,
        hits=assembled.hits,
        turns=assembled.turns,
        route=route,
        tokens=assembled.tokens,
        budget=request.budget,
        omitted=assembled.omitted,
        counter=engine.counter.name,
        in_weights=held,
        irrelevant=_left_out(evidence, relevant),
    )
    records |= {hit.id: hit.record for hit in pinned.hits}
    trained = _trained(engine, route)
    return Findings(query, evidence, recalled, records, judged, by_heart, trained)


def _recalled(backend: Backend, query: Query) -> Evidence:
    with step("route" if backend.name == "lora" else "search"):
        evidence = backend.recall(query)
    check_result(f"`recall` of the backend {backend.name!r}", evidence, Evidence, "`Evidence`")
    return evidence


def _records(
    engine: Engine, query: Query, evidence: Sequence[Evidence], route: Route
) -> dict[str, Record]:
    """All records that evidence and route speak of and that the query may see, in one read."""
    ids = [fact.record_id for fact in route.support] + [part.record_id for part in route.parts]
    ids += [hit.id for part in evidence for hit in part.hits]
    records = engine.ledger.records.find(list(dict.fromkeys(ids)), scope=query.scope)
    return {record.id: record for record in records}


def _visible(query: Query, evidence: Evidence, records: Mapping[str, Record]) -> Evidence:
    """Leave out hits that the query may not see: forgotten, of another scope, or filtered out."""
    accepted = None if query.where is None else parse(query.where).matches
    hits = tuple(
        hit
        for hit in evidence.hits
        if hit.id in records and (accepted is None or accepted(hit.record.metadata))
    )
    return evidence if len(hits) == len(evidence.hits) else replace(evidence, hits=hits)


def _route(
    engine: Engine, query: Query, evidence: Sequence[Evidence], modules: Sequence[str] | None
) -> Route:
    """The routed modules, or those that the caller chose instead."""
    routed = next((part.route for part in evidence if part.route is not None), NO_ROUTE)
    if modules is None:
        return _of_scope(engine, query, routed)
    if not modules:
        return Route({}, reason="the caller chose the untouched base model")
    chosen = engine.need_lora("ask() with `modules`").route_to(modules, query.scope)
    return replace(
        chosen,
        support=routed.support,
        threshold=routed.threshold,
        evidence=routed.evidence,
    )


def _of_scope(engine: Engine, query: Query, route: Route) -> Route:
    """The route, or none if a router chose a module of a scope that the query may not see."""
    chosen = {*route.weights, *(part.module for part in route.parts)}
    if not chosen:
        return route
    modules = engine.ledger.modules
    others = {m.name for m in modules.active()} - {
        m.name for m in modules.active(visible_to=query.scope)
    }
    if chosen.isdisjoint(others):
        return route
    return route.refused("it leads to modules of other scopes")


def _trained(engine: Engine, route: Route) -> Mapping[str, Sequence[Example]]:
    """How modules are asked for the facts that a route leads to."""
    if not route:
        return {}
    facts = [part.record_id for part in route.parts]
    facts += [fact.record_id for fact in route.support[:1]]
    return CanonicalQuestions(engine.ledger).of(list(dict.fromkeys(facts)))


def _is_sure(query: Query, route: Route) -> bool:
    """Whether the routed modules are sure of the answer.

    A route that the caller chose is sure of nothing, nor is one with several parts for the same
    question. The parts of a question that was taken apart are asked as they were trained.
    """
    if not route.parts or len({part.question for part in route.parts}) < len(route.parts):
        return False
    similarity = {fact.record_id: fact.similarity for fact in route.support}
    whole = [part.record_id for part in route.parts if part.question == query.text]
    return all(similarity.get(id, -1.0) >= SURE for id in whole)


def _answers_by_heart(query: Query, route: Route) -> bool:
    """Whether routed modules answer whatever is in the prompt.

    So do those that are sure, that are asked for a part of the question, and that were chosen by
    the caller or by a router that compares nothing.
    """
    parts = route.parts
    if any(part.question != query.text for part in parts) or _is_sure(query, route):
        return True
    compared = {fact.record_id for fact in route.support}
    return bool(route) and compared.isdisjoint(part.record_id for part in parts)


def _unused(route: Route) -> Route:
    """A route to no module: what is in the prompt answers better than a module in other words."""
    if not route:
        return route
    return route.refused(
        f"the prompt says it, and the question is less than {SURE} similar to what was trained"
    )


def _held(engine: Engine, evidence: Sequence[Evidence], route: Route) -> tuple[str, ...]:
    """Records that need not stand in the prompt, as the route is sure of the answer.

    These are the records that modules hold, and those that were found behind the one that was
    asked for: beside an answer by heart they only distract (docs/decisions/0008-mixing.md).
    """
    ids = [hit.id for part in evidence for hit in part.hits]
    asked = {part.record_id for part in route.parts}
    behind = dropwhile(lambda record_id: record_id not in asked, ids)
    return tuple(dict.fromkeys([*engine.ledger.modules.placements(ids), *behind]))


def _pinned(engine: Engine, query: Query) -> Evidence:
    """The pinned records that a query may see, in full; none where no text goes into prompts."""
    if set(engine.names) == {"lora"}:
        return Evidence()
    records = engine.ledger.records.pinned(
        visible_to=query.scope, where=query.where, period=query.period
    )
    return Evidence(tuple(Hit(r, r.text, 0, len(r.text), 1.0, None) for r in records))


def _without(evidence: Evidence, ids: Sequence[str]) -> Evidence:
    return replace(evidence, hits=tuple(hit for hit in evidence.hits if hit.id not in ids))


def _without_conversation(evidence: Evidence, query: Query, context: Context) -> Evidence:
    """Leave out what the conversation itself says: the prompt has it anyway."""
    texts = {query.text, *(content for _, content in context.history)}
    hits = tuple(hit for hit in evidence.hits if hit.record.text not in texts)
    return replace(evidence, hits=hits, turns=())


def _without_question(evidence: Sequence[Evidence], query: Query) -> list[Evidence]:
    """Leave out the turn that is the question itself, and its record: neither answers it.

    So whoever notes what the user says before it is answered loses nothing to a crash.
    """
    latest = next((part.turns[-1] for part in evidence if part.turns), None)
    if latest is None or (latest.role, latest.content) != ("user", query.text):
        return list(evidence)
    return [
        replace(
            part,
            hits=tuple(h for h in part.hits if (h.id, h.text) != (latest.record_id, query.text)),
            turns=tuple(turn for turn in part.turns if turn.id != latest.id),
        )
        for part in evidence
    ]


def _left_out(evidence: Sequence[Evidence], relevant: Sequence[Evidence]) -> tuple[str, ...]:
    """Ids of the records that only the first of both have hits of."""
    kept = {hit.id for part in relevant for hit in part.hits}
    ids = dict.fromkeys(hit.id for part in evidence for hit in part.hits)
    return tuple(id for id in ids if id not in kept)


def _said(evidence: Sequence[Evidence]) -> list[str]:
    """What evidence says, and who says it."""
    hits = [hit for part in evidence for hit in part.hits]
    spoken = [hit.record.metadata.get("name") for hit in hits]
    return [hit.text for hit in hits] + [name for name in spoken if isinstance(name, str)]


def _first(evidence: Evidence, k: int) -> Evidence:
    return replace(evidence, hits=evidence.hits[:k])
