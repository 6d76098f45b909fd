"""The verbs of a memory as a REST interface: each in the scope of the key, and in no other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, status
from pydantic import BaseModel

from memkit.errors import NotFoundError
from memkit.server.http.api_keys import ApiKey
from memkit.server.http.disconnection import unless_gone
from memkit.server.http.error_bodies import ApiError
from memkit.server.http.http_service import ERRORS, Reader, Service, Serving, Trainer, Writer
from memkit.server.http.job_ids import job_id, unknown_job
from memkit.server.http.reply import Cut, about, usage
from memkit.server.http.rest_schema import (
    AnswerOut,
    AskIn,
    Changes,
    ConsolidateIn,
    Counts,
    ExplainIn,
    ExplainOut,
    HitList,
    HitOut,
    JobOut,
    RecallIn,
    RecallOut,
    ReceiptOut,
    RecordIn,
    RecordOut,
    RecordPage,
    RecordsIn,
    RouteOut,
    SearchIn,
    TurnList,
    TurnOut,
    VersionOut,
)
from memkit.types import JobStatus, Record, Value
from memkit.types.scope import contains

router = APIRouter(prefix="/memory", responses=ERRORS)

Model = TypeVar("Model", bound=BaseModel)
PageSize = Annotated[int, Query(ge=1, le=1000)]
Retrain = Annotated[
    bool,
    Query(
        description="Train the modules that held it anew at once, which may take minutes; "
        "otherwise they are dropped, and consolidation trains them again."
    ),
]


@router.post("/records", status_code=status.HTTP_201_CREATED, tags=["records"])
async def add_record(body: RecordIn, key: Writer, service: Serving) -> RecordOut:
    """Store a record; the same text is stored once."""
    record = await service.memory.add(body.draft(dict(key.scope)))
    return _out(RecordOut, record)


@router.post("/records/batch", status_code=status.HTTP_201_CREATED, tags=["records"])
async def add_records(body: RecordsIn, key: Writer, service: Serving) -> list[RecordOut]:
    """Store several records, all or none."""
    if len(body.records) > service.limits.texts:
        raise ApiError(
            400, f"at most {service.limits.texts} records are stored at once", param="records"
        )
    records = await service.memory.add([r.draft(dict(key.scope)) for r in body.records])
    return [_out(RecordOut, record) for record in records]


@router.get("/records", tags=["records"])
async def list_records(
    key: Reader, service: Serving, after: str | None = None, limit: PageSize = 100
) -> RecordPage:
    """List the records of the key's scope, in the order in which they were added."""
    page = await service.memory.records(scope=key.scope, after=after, limit=limit)
    return _out(RecordPage, page)


@router.delete("/records", tags=["records"])
async def forget_scope(key: Writer, service: Serving, retrain: Retrain = False) -> ReceiptOut:
    """Erase everything of the key's scope: records, versions, turns, and what modules learned."""
    receipt = await service.memory.forget(scope=key.scope, retrain=retrain)
    return _out(ReceiptOut, receipt)


@router.get("/records/{id:path}", tags=["records"])
async def get_record(id: str, key: Reader, service: Serving) -> RecordOut:
    """Give a record that the key's scope may see."""
    return _out(RecordOut, await service.memory.get(id, scope=key.scope))


@router.patch("/records/{id:path}", tags=["records"])
async def update_record(id: str, body: Changes, key: Writer, service: Serving) -> RecordOut:
    """Write a record's next version."""
    await _own(service, key, id)
    changes = {name: getattr(body, name) for name in body.model_fields_set}
    return _out(RecordOut, await service.memory.update(id, scope=key.scope, **changes))


@router.delete("/records/{id:path}", tags=["records"])
async def forget_record(
    id: str, key: Writer, service: Serving, retrain: Retrain = False
) -> ReceiptOut:
    """Erase a record, its versions, and what modules learned of it."""
    receipt = await service.memory.forget(id, scope=key.scope, retrain=retrain)
    return _out(ReceiptOut, receipt)


@router.get("/history/{id:path}", tags=["records"])
async def get_history(id: str, key: Reader, service: Serving) -> list[VersionOut]:
    """List the versions of a record, the oldest first."""
    versions = await service.memory.history(id, scope=key.scope)
    return [_out(VersionOut, version) for version in versions]


@router.post("/search", tags=["questions"])
async def search(body: SearchIn, key: Reader, service: Serving) -> HitList:
    """Find records by meaning and by words."""
    hits = await service.memory.search(body.query, body.k, scope=key.scope, **_selection(body))
    return HitList(hits=[_out(HitOut, hit) for hit in hits])


@router.post("/recall", tags=["questions"])
async def recall(body: RecallIn, key: Reader, service: Serving) -> RecallOut:
    """Gather evidence for any language model, within a budget of tokens."""
    recalled = await service.memory.recall(
        body.asked, body.budget, k=body.k, scope=key.scope, **_selection(body)
    )
    return _out(RecallOut, recalled)


@router.post("/ask", tags=["questions"])
async def ask(body: AskIn, request: Request, key: Reader, service: Serving) -> AnswerOut:
    """Answer with the memory's own model; nothing is stored."""
    how = body.how()
    how.sampling.check()
    service.check_length(how.sampling.max_new_tokens, "max_tokens")
    answer = await unless_gone(request, service.questions.ask(body.asked, key.scope, how))
    cut = Cut(how.sampling, service.count)
    cut.take_whole(answer)
    return AnswerOut(
        text=cut.text,
        route=_out(RouteOut, answer.route),
        usage=usage(answer, cut.text, service.count),
        **about(answer, remembered=False).model_dump(),
    )


@router.post("/explain", tags=["questions"])
async def explain(body: ExplainIn, key: Reader, service: Serving) -> ExplainOut:
    """Show how a question would be answered, without answering it."""
    explanation = await service.memory.explain(
        body.asked,
        body.budget,
        k=body.k,
        min_score=body.min_score,
        scope=key.scope,
        **_selection(body),
    )
    content = explanation.to_dict()
    return ExplainOut.model_validate(content["recall"] | content | {"summary": str(explanation)})


@router.get("/turns", tags=["conversation"])
async def list_turns(key: Reader, service: Serving, limit: PageSize = 50) -> TurnList:
    """List what was said last in the conversation of the key's scope."""
    turns = await service.memory.turns(scope=key.scope, limit=limit)
    return TurnList(turns=[_out(TurnOut, turn) for turn in turns])


@router.delete("/turns", tags=["conversation"])
async def clear_turns(key: Writer, service: Serving) -> ReceiptOut:
    """Erase the turns of the conversation; records that were made of them stay."""
    return _out(ReceiptOut, await service.memory.clear(key.scope))


@router.post("/consolidate", status_code=status.HTTP_202_ACCEPTED, tags=["upkeep"])
async def consolidate(key: Trainer, service: Serving, body: ConsolidateIn | None = None) -> JobOut:
    """Train the records of the key's scope into the weights, in the background.

    A key whose scope is empty trains the records of all scopes. Of a memory on a database server,
    workers train.
    """
    options = {} if body is None else body.model_dump()
    job = await service.memory.jobs.put(scope=key.scope or None, **options)
    await service.memory.jobs.start()
    return JobOut.of(key, await service.memory.jobs.status(job.id))


@router.get("/consolidate/{id}", tags=["upkeep"])
async def get_consolidation(id: str, key: Trainer, service: Serving) -> JobOut:
    """Tell how far a consolidation is; the last thousand that are over are kept."""
    return JobOut.of(key, await _job(service.memory.jobs.status, key, id))


@router.delete("/consolidate/{id}", tags=["upkeep"])
async def cancel_consolidation(id: str, key: Trainer, service: Serving) -> JobOut:
    """Cancel what of a consolidation is not over; modules that were trained stay."""
    return JobOut.of(key, await _job(service.memory.jobs.cancel, key, id))


@router.get("/stats", tags=["upkeep"])
async def count(key: Reader, service: Serving) -> Counts:
    """Count what the key's scope holds.

    A key whose scope is empty counts all scopes together.
    """
    return _out(Counts, await service.memory.stats(scope=key.scope))


async def _own(service: Service, key: ApiKey, id: str) -> Record:
    """Give a record of the key's scope; what is shared with others may be read only.

    Raises:
        ApiError: If the record is of a wider scope.
        RecordNotFoundError: If the scope does not see it.
    """
    record = await service.memory.get(id, scope=key.scope)
    if not contains(record.scope, key.scope):
        raise ApiError(
            403, "the record is shared with others, this key may only read it", code="shared"
        )
    return record


async def _job(verb: Callable[[str], Awaitable[JobStatus]], key: ApiKey, signed: str) -> JobStatus:
    """What a verb says of a job of the key.

    Raises:
        ApiError: If it has none of this id, or it was over so long ago that it was let go.
    """
    try:
        return await verb(job_id(key, signed))
    except NotFoundError as error:
        raise unknown_job() from error


def _selection(body: Any) -> dict[str, Any]:  # noqa: ANN401 - one of several bodies
    """What of a body says which records take part."""
    return {name: getattr(body, name) for name in ("where", "since", "until", "as_of")}


def _out(model: type[Model], value: Value) -> Model:
    """A value of memkit as a response."""
    return model.model_validate(value.to_dict())
