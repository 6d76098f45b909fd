"""Answers queries with the local base model, and compares the answers with what is stored."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from memkit.answering.grounding import Stored, Utterance, check, names, same
from memkit.answering.json_claims import values_in
from memkit.errors import InvalidInputError, ModuleNotFoundInMemoryError
from memkit.memory.asked import query_of
from memkit.memory.engine import Engine
from memkit.memory.options import (
    AskOptions,
    BatchOptions,
    Question,
    Request,
    query_template,
    refuse_unknown,
    request_of,
)
from memkit.memory.quotations import quotations
from memkit.memory.recall import Findings, gather
from memkit.memory.schemas import Schema, constraint_of
from memkit.types import PASSAGES, Answer, Claim, Constraint, Query, Record, Route, Scope
from memkit.types.timings import Stopwatch
from memkit.types.validate import check_scope, describe

if TYPE_CHECKING:
    from memkit.answering.generate import Answerer, AnswerStream

UNSUPPORTED = "no record and no turn that was found says so"
UNNAMED = "what is most relevant has too few words of the question to be sure to answer it"


def ask_batch(
    engine: Engine, questions: Sequence[Question], budget: int, options: BatchOptions
) -> list[Answer]:
    """Answer questions as one batch, each for its own scope if there are several."""
    if isinstance(questions, str | Mapping) or not isinstance(questions, Iterable):
        raise InvalidInputError(f"`questions` must be a list, got {describe(questions)}")
    refuse_unknown(options, BatchOptions)
    scopes, schemas = options.pop("scopes", None), options.pop("schemas", None)
    template = query_template(options, AskOptions, k=PASSAGES)
    queries = [query_of(question, template) for question in questions]
    if scopes is not None:
        queries = _scoped(queries, scopes, also="scope" in options)
    if schemas is not None:
        queries = _held(queries, schemas, also=options.get("schema") is not None)
    return answer(engine, queries, request_of(budget, options))


def _scoped(queries: Sequence[Query], scopes: Sequence[Scope], *, also: bool) -> list[Query]:
    """Give each query its own scope; ``also`` says whether there was one for all, too."""
    _check_one_each("scope", scopes, len(queries), also=also)
    pairs = zip(queries, scopes, strict=True)
    return [replace(query, scope=check_scope(scope)) for query, scope in pairs]


def _held(queries: Sequence[Query], schemas: Sequence[Schema | None], *, also: bool) -> list[Query]:
    """Give each query its own schema; ``also`` says whether there was one for all, too."""
    _check_one_each("schema", schemas, len(queries), also=also)
    pairs = zip(queries, schemas, strict=True)
    return [replace(query, constraint=_with_schema(query, schema)) for query, schema in pairs]


def _check_one_each(name: str, values: Sequence[object], questions: int, *, also: bool) -> None:
    """Refuse values that are not one for each question, or are given beside one for all."""
    if isinstance(values, str | Mapping) or not isinstance(values, Sequence):
        raise InvalidInputError(f"`{name}s` must be a list of {name}s, got {describe(values)}")
    if also or len(values) != questions:
        raise InvalidInputError(
            f"`{name}s` must have one {name} for each of {questions} questions and take the "
            f"place of `{name}`, got {len(values)}{f' beside `{name}`' if also else ''}"
        )


def _with_schema(query: Query, schema: Schema | None) -> Constraint | None:
    """What a query's answer is held to, with a schema of its own beside the tools for all."""
    own = constraint_of(schema)
    if query.constraint is None or own is None:
        return query.constraint or own
    return replace(query.constraint, schema=own.schema)


def stream(engine: Engine, question: Question, budget: int, options: AskOptions) -> AnswerStream:
    """Answer a question piece by piece; in one piece if it may turn out to be withheld."""
    from memkit.answering.generate import AnswerStream

    query = query_of(question, query_template(options, AskOptions, k=PASSAGES))
    request = request_of(budget, options)
    stopwatch = Stopwatch()
    with stopwatch.running():
        answerer = engine.answerer  # a base model that does not fit is refused now, not when read
        findings = gather(engine, query, request)
    return AnswerStream(_timed(_pieces(engine, answerer, findings, request), stopwatch))


def answer(engine: Engine, queries: Sequence[Query], request: Request) -> list[Answer]:
    """Answer queries as one batch."""
    stopwatch, share = Stopwatch(), max(1, len(queries))
    with stopwatch.running():
        answers = _answers(engine, queries, request)
    seconds, timings = stopwatch.seconds / share, stopwatch.timings(share)
    return [replace(answer, seconds=seconds, timings=timings) for answer in answers]


def _answers(engine: Engine, queries: Sequence[Query], request: Request) -> list[Answer]:
    try:
        return _answer(engine, queries, request)
    except ModuleNotFoundInMemoryError:  # others have dropped or replaced one: route again
        return _answer(engine, queries, request)


def _timed(
    pieces: Generator[str, None, Answer], stopwatch: Stopwatch
) -> Generator[str, None, Answer]:
    answer = yield from stopwatch.over(pieces)
    return replace(answer, seconds=stopwatch.seconds, timings=stopwatch.timings())


def _answer(engine: Engine, queries: Sequence[Query], request: Request) -> list[Answer]:
    findings = [gather(engine, query, request) for query in queries]
    results = quotations(engine, findings, request)
    silent = [result for result in results if isinstance(result, Findings)]
    generated = iter(
        engine.answerer.answer(
            [each.recall for each in silent],
            request.sampling,
            combine=request.combine,
            contexts=[each.query.context for each in silent],
            constraints=[each.query.constraint for each in silent],
        )
    )
    answers = [result if isinstance(result, Answer) else next(generated) for result in results]
    pairs = zip(findings, answers, strict=True)
    return [_compared(*pair, strict=request.strict) for pair in pairs]


def _pieces(
    engine: Engine, answerer: Answerer, findings: Findings, request: Request
) -> Generator[str, None, Answer]:
    if request.strict:
        (checked,) = _answers(engine, [findings.query], request)
        if checked.text:
            yield checked.text
        return checked
    (result,) = quotations(engine, [findings], request)
    if isinstance(result, Answer):
        yield result.text
        return _compared(findings, result, strict=False)
    generated = yield from answerer.stream(
        result.recall,
        request.sampling,
        combine=request.combine,
        context=findings.query.context,
        constraint=findings.query.constraint,
    )
    return _compared(findings, generated, strict=False)


def _compared(findings: Findings, answer: Answer, *, strict: bool) -> Answer:
    """The answer with its claims compared with what is stored; withheld if it has to be."""
    records, utterances = findings.records, _utterances(findings)

    def compared(claim: Claim) -> Claim:
        if claim.supported:  # it quotes a record
            return claim
        fact = claim.record_id or _fact(answer.route, claim)
        stored = Stored(records.get(fact), list(records.values()), utterances)
        constraint = findings.query.constraint
        if constraint is None:
            quoted = claim.quoted or _is_recited(findings, claim, fact)
            return check(replace(claim, quoted=quoted), stored)
        if constraint.schema is None:
            return check(claim, stored)
        said = replace(claim, text=values_in(claim.text))  # the names of fields claim nothing
        return replace(check(said, stored), text=claim.text)

    answer = replace(answer, claims=tuple(map(compared, answer.claims)))
    reasons = [_doubt(claim, answer.route, records) for claim in answer.claims] if strict else []
    reason = next(filter(None, reasons), None)
    if reason is None:
        return answer
    return replace(answer, text="", withheld=reason, finish_reason="stop")


def _is_recited(findings: Findings, claim: Claim, fact: str) -> bool:
    """Whether a module was asked for a fact in the very words that it was trained on."""
    trained = findings.trained.get(fact, ()) if claim.module is not None else ()
    return any(same(claim.question, example.question) for example in trained)


def _doubt(claim: Claim, route: Route, records: Mapping[str, Record]) -> str | None:
    """Why a strict answer does not make a claim; None if it may."""
    if not claim.supported:
        return str(claim.conflict or UNSUPPORTED)
    routed = bool(route) and route.evidence >= route.threshold
    record = records.get(claim.record_id or "")
    if not claim.quoted or routed or record is None:
        return None
    return None if names(f"{record.question or ''} {record.text}", claim.question) else UNNAMED


def _utterances(findings: Findings) -> list[Utterance]:
    """What was said to the assistant in the conversation, oldest first."""
    turns = [turn for evidence in findings.evidence for turn in evidence.turns]
    context = findings.query.context
    history = context.history if context is not None else ()
    utterances = [
        Utterance(turn.content, turn.record_id) for turn in turns if turn.role != "assistant"
    ]
    return utterances + [Utterance(content) for role, content in history if role != "assistant"]


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
