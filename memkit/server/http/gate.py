"""The gate before the application: who comes in, with how much, and for how long.

It is plain ASGI, outside of the framework, so that nothing of a request is parsed before its key
is known, and so that every way in which a request can end is seen here.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect

from memkit.errors import MemkitError
from memkit.server.http.api_keys import ApiKey, KeyFile
from memkit.server.http.error_bodies import ApiError, busy, told, too_many
from memkit.server.http.serving_limits import Limits

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

OPEN = frozenset({"/health", "/openapi.json", "/docs"})  # nothing of a memory is there
LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
LAST_WORDS = 5.0  # seconds that a stream has to say that its time is up


@dataclass
class Visit:
    """One request on its way.

    Attributes:
        id: Names the request in the log and to the client.
        deadline: When its time is up, by the loop's clock.
        key: Who sends it; None while nobody knows.
        status: Of its response; 0 while there is none.
        writes: Whether it may have begun to store something.
    """

    id: str
    deadline: float
    key: ApiKey | None = None
    status: int = 0
    writes: bool = False


class Gate:
    """An ASGI application that lets requests through to another one.

    Args:
        app: What they are let through to.
        keys: Whose requests are let in; a single key lets in everybody on this machine as its
            owner, without having to send it.
        limits: How much is let in.

    Attributes:
        app: As given.
    """

    def __init__(self, app: FastAPI, keys: KeyFile | ApiKey, limits: Limits) -> None:
        self.app = app
        self._keys = keys
        self._limits = limits
        self._inside: Counter[str] = Counter()  # requests by the name of their key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        now = asyncio.get_running_loop().time()
        visit = Visit(secrets.token_hex(8), now + self._limits.seconds)
        scope["memkit.visit"] = visit
        try:
            await self._admit(visit, scope, receive, send)
        finally:
            # The route and not the path, which may name what a user has stored.
            path = getattr(scope.get("route"), "path", "-")
            logger.info(
                "%s %s %d %.0f ms key=%s id=%s",
                *(scope["method"], path, visit.status),
                *(
                    (time.perf_counter() - started) * 1000,
                    visit.key.name if visit.key else "-",
                    visit.id,
                ),
            )

    async def _admit(self, visit: Visit, scope: Scope, receive: Receive, send: Send) -> None:
        out = _Out(visit, send)
        try:
            if scope["path"] in OPEN:
                await self.app(scope, receive, out)
                return
            key = visit.key = self._who(_headers(scope))
            self._enter(key)
            try:
                await self._within_time(visit, scope, receive, out)
            finally:
                self._inside[key.name] -= 1
        except ClientDisconnect:  # nobody is left to be told
            logger.info("the client of %s has gone", visit.id)
        except Exception as error:  # noqa: BLE001 - the outermost frame of a request
            if not visit.status:
                await told(error).response()(scope, receive, out)
            elif not out.complete:
                told(error)
                raise ConnectionResetError from None  # the connection is cut: so the client knows

    def _who(self, headers: Mapping[str, str]) -> ApiKey:
        """Whose request it is."""
        if isinstance(self._keys, ApiKey):
            host = headers.get("host", "")
            if _without_port(host) not in LOCAL:  # a web page elsewhere may have sent it
                raise ApiError(
                    403,
                    "without keys, requests are answered for localhost alone, by that name",
                    code="foreign_host",
                )
            return self._keys
        kind, _, token = headers.get("authorization", "").partition(" ")
        key = _found(self._keys, token.strip()) if kind.lower() == "bearer" else None
        if key is None:
            raise ApiError(
                401,
                "expected the header 'Authorization: Bearer KEY' with a key of this server",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )
        return key

    def _enter(self, key: ApiKey) -> None:
        """Count a request, if there is room for it."""
        if self._inside.total() >= self._limits.requests:
            raise busy(f"{self._limits.requests} requests are under way, the most at once")
        if self._inside[key.name] >= self._limits.requests_per_key:
            raise too_many(
                f"{self._limits.requests_per_key} requests with this key are under way, "
                "the most at once"
            )
        self._inside[key.name] += 1

    async def _within_time(self, visit: Visit, scope: Scope, receive: Receive, out: _Out) -> None:
        try:
            async with asyncio.timeout_at(visit.deadline) as out.timeout:
                replayed = await _read(scope, receive, self._limits.body)
                await self.app(scope, replayed, out)
        except TimeoutError:
            if out.timeout is None or not out.timeout.expired():
                raise
            raise ApiError(
                504 if "memkit.read" in scope else 408,
                f"the request has taken more than {self._limits.seconds:g} s; "
                + (
                    "what it has begun to write is written"
                    if visit.writes
                    else "nothing was stored"
                ),
                code="timeout",
                untouched=not visit.writes,
            ) from None
        finally:
            out.timeout = None


def _found(keys: KeyFile, token: str) -> ApiKey | None:
    """Whose key it is; what is wrong with the file is for whoever runs the server."""
    try:
        return keys.find(token)
    except MemkitError as error:
        logger.error("nobody is let in: %s", error.message)
        raise ApiError(500, "the keys of the server cannot be read", code="no_keys") from error


class _Out:
    """Sends responses, notes their status, and names the request in a header."""

    def __init__(self, visit: Visit, send: Send) -> None:
        self._visit = visit
        self._send = send
        self.timeout: asyncio.Timeout | None = None
        self.complete = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._visit.status = message["status"]
            message["headers"] = [
                *message.get("headers", []),
                (b"x-request-id", self._visit.id.encode()),
            ]
            if self.timeout is not None:  # streams look at the deadline themselves
                self.timeout.reschedule(self._visit.deadline + LAST_WORDS)
        await self._send(message)
        if message["type"] == "http.response.body":
            self.complete = not message.get("more_body", False)


async def _read(scope: Scope, receive: Receive, most: int) -> Receive:
    """Read a body of at most so many bytes, and give what hands it out once more."""
    stated = _headers(scope).get("content-length", "0")
    body = bytearray()
    more = True
    while more:
        if max(len(body), int(stated) if stated.isdecimal() else 0) > most:
            raise ApiError(413, f"the body has more than {most:,} bytes", code="request_too_large")
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ApiError(400, "the connection ended before the body did", code="disconnected")
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if len(body) > most:
        raise ApiError(413, f"the body has more than {most:,} bytes", code="request_too_large")
    scope["memkit.read"] = True
    pending: list[dict[str, Any]] = [{"type": "http.request", "body": bytes(body)}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


def _headers(scope: Scope) -> dict[str, str]:
    """The headers by name; of several of the same name, the last one."""
    return {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
    }


def _without_port(host: str) -> str:
    """The host of a ``Host`` header."""
    end = host.find("]") + 1 or host.find(":")
    return host[:end].lower() if end > 0 else host.lower()
