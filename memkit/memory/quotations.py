"""Answers questions in stored words: out of the prompt's evidence, or as modules recite them.

Which of it is quoted, the base model judges (docs/decisions/0013-quotations.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from memkit.answering.grounding import same
from memkit.answering.prompt import label_of
from memkit.answering.quote import Passage, Quoter
from memkit.errors import InvalidInputError, UnsupportedOperationError
from memkit.memory.engine import Engine
from memkit.memory.options import Request
from memkit.memory.recall import Findings
from memkit.memory.recitations import recitations
from memkit.text.question_form import is_question
from memkit.text.small_talk import is_small_talk
from memkit.types import Answer, Hit, Turn

TURNS = 8  # of the conversation that are judged, the newest ones


def quotations(
    engine: Engine, findings: Sequence[Findings], request: Request
) -> list[Answer | Findings]:
    """For each question its answer in stored words, or what the base model is to answer from.

    Raises:
        InvalidInputError: If quotations were asked for beside a schema.
        UnsupportedOperationError: If quotations were asked for, and nothing can judge them.
    """
    if request.quote and any(each.query.constraint is not None for each in findings):
        raise InvalidInputError(
            "`quote` answers in stored words, which fit no `schema`; got both",
            hint="leave one of them out",
        )
    results: list[Answer | Findings] = list(findings)
    quoter, least = _quoter(engine, request), request.min_score
    if quoter is None or least is None:
        return results
    silent = []
    for place, each in enumerate(findings):
        if is_question(each.query.text) and each.query.constraint is None:
            answer = None if each.by_heart else _out_of_prompt(quoter, each, least)
            if answer is None:
                silent.append(place)
            else:
                results[place] = answer
    if request.modules is None and request.combine == "rows":
        recited = recitations(engine, quoter, [findings[place] for place in silent], least)
        for place, answer in zip(silent, recited, strict=True):
            results[place] = answer or _untouched(findings[place])
    return results


def _quoter(engine: Engine, request: Request) -> Quoter | None:
    """What chooses quotations; None where there are to be none."""
    modules_are_asked = bool(request.modules) or request.combine != "rows"
    if request.quote is False or (request.quote is None and modules_are_asked):
        return None
    if request.quote and engine.quoter is None:
        raise UnsupportedOperationError(
            "`quote` needs a base model that judges what is quoted, the memory has "
            f"{engine.base_name!r} and backends={engine.config.backends!r}",
            hint="open it with 'rag' or 'lora', a local base model and no reranker of your own",
        )
    return engine.quoter if request.quote or not engine.words_well else None


def _out_of_prompt(quoter: Quoter, findings: Findings, least: float) -> Answer | None:
    """An answer out of what stands in the prompt; None if some passages of it cannot be judged."""
    recall = findings.recall
    judged = {hit.id for hit in findings.judged}
    if any(hit.id not in judged and not hit.record.pinned for hit in recall.hits):
        return None
    latest = any(hit.order == "latest" for hit in findings.judged)
    hits = [hit for hit in findings.judged if hit.order != "earlier" or not latest]
    known = {*judged, *recall.irrelevant}
    turns = [turn for turn in recall.turns if turn.record_id not in known and _tells(turn)]
    passages = [_passage_of(recall.query, hit) for hit in hits]
    passages += [Passage(turn.content, turn.record_id) for turn in turns[-TURNS:]]
    claims = quoter.quote(recall.query, passages, least=least)
    if not claims:
        return None
    labels = {hit.id: label_of(hit) for hit in hits}
    lines = [f"{labels.get(claim.record_id or '', '')}{claim.text}" for claim in claims]
    return Answer("\n".join(lines), recall, 0, 0, seconds=0.0, claims=tuple(claims))


def _untouched(findings: Findings) -> Findings:
    """For the untouched base model, if modules have recited nothing that is relevant."""
    recall = findings.recall
    if findings.by_heart or not recall.route:
        return findings
    route = recall.route.refused(
        "what modules recite of the nearest facts is not about the question"
    )
    return replace(findings, recall=replace(recall, route=route))


def _passage_of(question: str, hit: Hit) -> Passage:
    """A passage; of a record that answers this very question, the answer alone."""
    own, answer = hit.record.question, hit.record.answer
    asked_so = own is not None and same(question, own)
    return Passage(hit.text, hit.id, hit.relevance, answer=answer if asked_so else None)


def _tells(turn: Turn) -> bool:
    """Whether a turn says something that the assistant did not say itself."""
    asks = is_question(turn.content)
    return turn.role != "assistant" and not asks and not is_small_talk(turn.content)
