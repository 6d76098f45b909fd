"""What the reading verbs do: gather evidence, answer from it, count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from memkit.errors import InvalidInputError, ModuleNotFoundInMemoryError
from memkit.ledger.selection import check_limit
from memkit.outcomes import Stats
from memkit.prompt import assemble
from memkit.protocols import Context, Query, Sampling
from memkit.traces import files_below
from memkit.types import NO_ROUTE, Answer, Evidence, Recall, Route
from memkit.validate import check_text
from memkit.wiring import Parts

if TYPE_CHECKING:
    from memkit.answer import AnswerStream

BUDGET = 512  # tokens of evidence: a few passages and the last turns
PASSAGES = 3  # in an answer's prompt; the default base model loses the thread in more


def recall(parts: Parts, query: Query, budget: int) -> Recall:
    """Ask every backend, and assemble what they contribute."""
    check_text("query", query.text)
    check_limit("k", query.k)
    evidence = [backend.recall(query) for backend in parts.backends]
    if query.context is not None:
        evidence = [_unsaid(one, query, query.context) for one in evidence]
    counter, count = parts.counter
    assembled = assemble(evidence, budget=budget, count=count)
    routes = [one.route for one in evidence if one.route is not None]
    return Recall(
        query=query.text,
        text=assembled.text,
        hits=assembled.hits,
        turns=assembled.turns,
        route=routes[0] if routes else NO_ROUTE,
        tokens=assembled.tokens,
        budget=budget,
        omitted=assembled.omitted,
        counter=counter,
    )


def queries_of(questions: Sequence[str], rest: Query) -> list[Query]:
    """One query per question, alike in all else."""
    if isinstance(questions, str):
        raise InvalidInputError(f"`questions` must be a list, got the string {questions!r}")
    return [replace(rest, text=question) for question in questions]


def answer(
    parts: Parts,
    queries: Sequence[Query],
    budget: int,
    modules: Sequence[str] | None,
    sampling: Sampling,
) -> list[Answer]:
    """Answer queries as one batch."""

    def recalls() -> list[Recall]:
        return [_recall_for_answer(parts, query, budget, modules) for query in queries]

    routed, contexts = recalls(), [query.context for query in queries]
    try:
        return parts.answerer.answer(routed, sampling, contexts=contexts)
    except ModuleNotFoundInMemoryError:  # others have dropped or replaced one: route again
        return parts.answerer.answer(recalls(), sampling, contexts=contexts)


def stream(
    parts: Parts, query: Query, budget: int, modules: Sequence[str] | None, sampling: Sampling
) -> AnswerStream:
    """Answer one query piece by piece."""
    found = _recall_for_answer(parts, query, budget, modules)
    return parts.answerer.stream(found, sampling, context=query.context)


def count(parts: Parts) -> Stats:
    """Count what a memory holds."""
    ledger = parts.ledger
    modules = ledger.modules.active()
    return Stats(
        records=ledger.records.count(),
        versions=ledger.records.count_versions(),
        turns=ledger.turns.count(),
        passages=ledger.passages.count(),
        modules=len(modules),
        held=sum(len(module.records) for module in modules),
        bytes_on_disk=sum(map(_size, files_below(ledger.directory))),
        embedder=ledger.get_meta("embedder"),
        base_model=modules[0].manifest["base_model"] if modules else None,
    )


def _recall_for_answer(
    parts: Parts, query: Query, budget: int, modules: Sequence[str] | None
) -> Recall:
    """Evidence, with the route that the caller chose instead of the routed one."""
    check_text("question", query.text)
    found = recall(parts, query, budget)
    if modules is None:
        return found
    if isinstance(modules, str):
        raise InvalidInputError(f"`modules` must be a list of names, got the string {modules!r}")
    if not modules:
        return replace(found, route=Route({}, reason="the caller chose the untouched base model"))
    chosen = parts.need_lora("ask() with `modules`").route_to(modules, query.scope)
    return replace(found, route=chosen)


def _unsaid(evidence: Evidence, query: Query, context: Context) -> Evidence:
    """Leave out what the conversation itself says: the prompt has it anyway."""
    said = {query.text, *(content for _, content in context.history)}
    hits = tuple(hit for hit in evidence.hits if hit.record.text not in said)
    return replace(evidence, hits=hits, turns=())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # another process has removed it
        return 0
