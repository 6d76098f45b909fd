"""OpenAI's endpoints: chat completions, models and embeddings."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from memkit.errors import IncompatibleModelError, InvalidInputError
from memkit.server.http.chat_stream import ChatStream
from memkit.server.http.disconnection import unless_gone
from memkit.server.http.error_bodies import ApiError
from memkit.server.http.http_service import ERRORS, Reader, Service, Serving, visit_of
from memkit.server.http.openai_schema import (
    MEMKIT,
    ChatCompletion,
    ChatRequest,
    Embedding,
    EmbeddingList,
    EmbeddingRequest,
    EmbeddingUsage,
    Model,
    ModelList,
)
from memkit.server.http.reply import Cut, completion
from memkit.types.validate import check_text

router = APIRouter(prefix="/v1", tags=["OpenAI"], responses=ERRORS)

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}, "description": "The answer."}
}


@router.post("/chat/completions", response_model=ChatCompletion, responses=_STREAM)
async def create_chat_completion(
    body: ChatRequest, request: Request, key: Reader, service: Serving
) -> ChatCompletion | StreamingResponse:
    """Answer the last message of a conversation from the memory, and remember both.

    Where tools are given, the answer may be calls of them; the conversation then goes on with what
    they gave.

    Only the last message and its answer are stored, in the scope of the key, so that a client may
    send the whole conversation each time. The message is stored before it is answered, unless it
    is the last one that was, without an answer; the answer once it is ready, if the client is
    still there. Nothing is stored with ``store: false``, or with a key that may not write.
    """
    service.check_model(body.model, service.base_name)
    how = body.how()
    how.sampling.check()
    service.check_length(how.sampling.max_new_tokens, "max_completion_tokens")
    remember = service.remember and body.store is not False and "write" in key.rights
    if remember:
        visit_of(request).writes = True
        if body.said is not None:
            await service.heard(key, body.said)
    if body.stream:
        stream = ChatStream(service, key, body, visit_of(request))
        with _tools_of(body):
            await stream.begin()
        return StreamingResponse(
            stream.events(remember=remember),
            media_type="text/event-stream",
            headers={"cache-control": "no-cache"},
        )
    asking = service.questions.ask(body.conversation, key.scope, how)
    with _tools_of(body):
        answer = await unless_gone(request, asking)
    cut = Cut(how.sampling, service.count)
    cut.take_whole(answer)
    remember = remember and not await request.is_disconnected()
    if remember:
        await service.answered(key, cut.text)
    return completion(answer, cut, service.base_name, remembered=remember)


@router.get("/models")
async def list_models(_: Reader, service: Serving) -> ModelList:
    """List the names that requests may use: the memory's, its base model's, its embedder's."""
    return ModelList(data=await asyncio.to_thread(_models, service))


@router.get("/models/{id:path}")
async def retrieve_model(id: str, _: Reader, service: Serving) -> Model:
    """Give one of them."""
    for model in await asyncio.to_thread(_models, service):
        if model.id == id:
            return model
    raise ApiError(404, f"there is no model {id!r}", param="model", code="model_not_found")


@router.post("/embeddings")
async def create_embeddings(body: EmbeddingRequest, _: Reader, service: Serving) -> EmbeddingList:
    """Embed texts with the memory's embedder, as unit vectors."""
    embedder = await asyncio.to_thread(lambda: service.memory.memory.vectors.embedder)
    service.check_model(body.model, embedder.name)
    if body.dimensions not in {None, embedder.dim}:
        raise ApiError(
            400, f"the embedder has {embedder.dim} dimensions, no others", param="dimensions"
        )
    if len(body.texts) > service.limits.texts:
        raise ApiError(400, f"at most {service.limits.texts} texts are embedded", param="input")
    texts = [_embeddable(text) for text in body.texts]
    encode = embedder.encode_query if body.input_type == "query" else embedder.encode_document
    count = getattr(embedder, "count", service.count)  # `Embedder` need not count
    tokens = await asyncio.to_thread(lambda: [count(text) for text in texts])
    most = getattr(embedder, "longest", None)
    if most is not None and max(tokens) > most:
        raise ApiError(
            400,
            f"text {tokens.index(max(tokens))} has {max(tokens)} tokens, the embedder reads "
            f"{most} at most",
            param="input",
            code="context_length_exceeded",
        )
    vectors = await asyncio.to_thread(encode, texts)
    rows = [
        base64.b64encode(row.astype("<f4").tobytes()).decode()
        if body.encoding_format == "base64"
        else row.tolist()
        for row in vectors
    ]
    data = [Embedding(index=place, embedding=row) for place, row in enumerate(rows)]
    usage = EmbeddingUsage(prompt_tokens=sum(tokens), total_tokens=sum(tokens))
    return EmbeddingList(data=data, model=embedder.name, usage=usage)


@contextmanager
def _tools_of(body: ChatRequest) -> Iterator[None]:
    """Tell clients that give tools to a base model that cannot call them."""
    try:
        yield
    except IncompatibleModelError as error:
        if not body.tools:
            raise
        raise ApiError(400, error.message, param="tools", code="unsupported") from error


def _models(service: Service) -> list[Model]:
    names = dict.fromkeys([MEMKIT, service.base_name, service.embedder_name])
    return [Model(id=name, created=service.started) for name in names]


def _embeddable(text: str) -> str:
    try:
        return check_text("input", text)
    except InvalidInputError as error:
        raise ApiError(400, error.message, param="input") from error
