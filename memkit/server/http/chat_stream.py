"""Streams an answer as server-sent events, however slowly the client reads them.

The pieces go into a queue as fast as they come, so that a client that reads slowly, or not at all,
does not keep the place of another.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from memkit import Answer
from memkit.server.http.api_keys import ApiKey
from memkit.server.http.chat_messages import calls_of
from memkit.server.http.error_bodies import ApiError, told
from memkit.server.http.http_service import Service
from memkit.server.http.openai_schema import ChatRequest
from memkit.server.http.reply import Chunks, Cut, about, usage

if TYPE_CHECKING:
    from memkit.server.http.gate import Visit

_Piece = str | Answer | Exception


class ChatStream:
    """One streamed answer.

    Args:
        service: Whose memory answers.
        key: Who asks.
        body: What is asked, and how.
        visit: Says when the answer has to be there, and whether anything was stored.
    """

    def __init__(self, service: Service, key: ApiKey, body: ChatRequest, visit: Visit) -> None:
        self._service = service
        self._key = key
        self._body = body
        self._visit = visit
        self._pieces: asyncio.Queue[_Piece] = asyncio.Queue()
        self._first: _Piece = ""
        self._answer: Answer | None = None
        self._pump: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Wait for the first piece, so that what cannot be answered has the status of an error."""
        self._pump = asyncio.create_task(self._fetch())
        try:
            self._first = await self._pieces.get()
        except BaseException:
            self._pump.cancel()
            raise
        if isinstance(self._first, Exception):
            raise self._first

    async def events(self, *, remember: bool) -> AsyncIterator[str]:
        """The events of the response; the last one is followed by ``[DONE]``."""
        try:
            async for event in self._chunks(remember=remember):
                yield _event(event)
            yield "data: [DONE]\n\n"
        except Exception as error:  # noqa: BLE001 - the client is told, as the status is sent
            yield _event(told(error).body)
        finally:
            if self._pump is not None:
                self._pump.cancel()  # lets go of the model, if the client has gone

    async def _chunks(self, *, remember: bool) -> AsyncIterator[Mapping[str, Any]]:
        options = self._body.stream_options
        with_usage = options is not None and bool(options.include_usage)
        chunks = Chunks(self._service.base_name, with_usage=with_usage)
        cut = Cut(self._body.how().sampling, self._service.count)
        yield chunks.delta({"role": "assistant", "content": ""})
        async for text in self._texts(cut):
            yield chunks.delta({"content": text})
        answer = self._answer
        assert answer is not None  # noqa: S101 - it comes behind the texts
        if answer.calls:
            calls = [call.model_dump() for call in calls_of(answer)]
            numbered = [{"index": place} | call for place, call in enumerate(calls)]
            yield chunks.delta({"tool_calls": numbered})
        if answer.withheld is not None:
            yield chunks.delta({"refusal": answer.withheld})
        if remember:
            await self._service.answered(self._key, cut.text)
        more = about(answer, remembered=remember).model_dump()
        yield chunks.delta({}, cut.reason(answer), memkit=more)
        if with_usage:
            yield chunks.usage(usage(answer, cut.text, cut.count))

    async def _texts(self, cut: Cut) -> AsyncIterator[str]:
        """The texts that the client gets, and then `_answer`."""
        piece, coming = self._first, None
        if isinstance(piece, str) and cut.is_too_long(piece):
            coming = await self._next()  # if nothing more comes, the answer was given whole
        if isinstance(coming, Answer):
            yield cut.take_whole(coming)
            piece = coming
        while isinstance(piece, str):
            if text := cut.take(piece):
                yield text
            piece, coming = await self._next() if coming is None else coming, None
        if isinstance(piece, Exception):
            raise piece
        self._answer = piece

    async def _next(self) -> _Piece:
        try:
            async with asyncio.timeout_at(self._visit.deadline):
                return await self._pieces.get()
        except TimeoutError:
            raise ApiError(
                504,
                "the answer has taken too long; "
                + ("the message is stored" if self._visit.writes else "nothing was stored"),
                code="timeout",
                untouched=not self._visit.writes,
            ) from None

    async def _fetch(self) -> None:
        """Put the answer's pieces into the queue, then the answer itself, or what went wrong."""
        how = self._body.how()
        try:
            async with self._service.questions.place():
                stream = self._service.memory.stream(
                    self._body.conversation, how.budget, scope=self._key.scope, **how.options()
                )
                async with stream:
                    async for piece in stream:
                        self._pieces.put_nowait(piece)
                    answer = stream.answer
            assert answer is not None  # noqa: S101 - the stream was read to its end
            self._pieces.put_nowait(answer)
        except Exception as error:  # noqa: BLE001 - whoever reads the queue raises it
            self._pieces.put_nowait(error)


def _event(content: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(content)}\n\n"
