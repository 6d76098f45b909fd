"""What the endpoints share: the memory, its queue of questions, and who is asking."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from memkit import AsyncMemory
from memkit.server.http.answer_queue import AnswerQueue
from memkit.server.http.api_keys import ApiKey, Right
from memkit.server.http.error_bodies import ApiError, ErrorBody
from memkit.server.http.openai_schema import MEMKIT
from memkit.server.http.serving_limits import Limits
from memkit.types import TurnDraft
from memkit.types.validate import normal_form, shown

if TYPE_CHECKING:
    from memkit.server.http.gate import Visit

# Any error, of any endpoint; that it is declared keeps FastAPI from declaring its own.
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request cannot be served as it is."},
    "5XX": {"model": ErrorBody, "description": "The server cannot serve it now."},
}

_BEARER = HTTPBearer(auto_error=False, description="An API key; it decides the scope.")


_Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]


@dataclass
class Service:
    """What the endpoints share.

    Attributes:
        memory: Whose answers are served.
        limits: How much is taken on.
        remember: Whether conversations are stored, unless a request says otherwise.
        questions: Answers them, as many at once as is allowed.
        started: When the server was started, in seconds since 1970.
    """

    memory: AsyncMemory
    limits: Limits
    remember: bool = True
    started: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.questions = AnswerQueue(self.memory, most=self.limits.batch)

    @property
    def base_name(self) -> str:
        """Name of the base model."""
        return self.memory.memory.model_name

    @property
    def embedder_name(self) -> str:
        """Name of the embedder."""
        return self.memory.memory.vectors.embedder.name

    def count(self, text: str) -> int:
        """Count tokens as the base model does."""
        return self.memory.memory.count_tokens(text)

    def check_model(self, asked: str, name: str) -> None:
        """Refuse a model that is not the memory's.

        Raises:
            ApiError: If it is another one.
        """
        if asked not in {MEMKIT, name}:
            raise ApiError(
                404,
                f"expected the model {name!r} or {MEMKIT!r}, got {shown(asked)}",
                param="model",
                code="model_not_found",
            )

    def check_length(self, tokens: int, param: str) -> None:
        """Refuse an answer that may become longer than the server allows.

        Raises:
            ApiError: If it may.
        """
        if tokens > self.limits.max_tokens:
            raise ApiError(
                400,
                f"`{param}` is {tokens}, at most {self.limits.max_tokens} are served",
                param=param,
            )

    async def heard(self, key: ApiKey, turn: TurnDraft) -> None:
        """Store what a user says, before it is answered: whatever happens then, it is not lost.

        The messages before it were stored when they were said, so that a client may hand in the
        whole conversation each time. One that is sent again, as no answer came, is stored already.
        """
        latest = await self.memory.turns(scope=key.scope, limit=1)
        said = normal_form(turn.content)
        if [(t.role, t.content, t.name) for t in latest] != [(turn.role, said, turn.name)]:
            await self.memory.add_turns([turn], scope=key.scope)

    async def answered(self, key: ApiKey, reply: str) -> None:
        """Store a reply; no record is made of it: it would count as evidence of itself."""
        if reply.strip():
            turn = TurnDraft("assistant", reply, remember=False)
            await self.memory.add_turns([turn], scope=key.scope)

    async def close(self) -> None:
        """Close the memory; what it was training is given back, and goes on when it is served."""
        await self.memory.close()


def service_of(request: Request) -> Service:
    """The service of the application that a request came to."""
    service: Service = request.app.state.service
    return service


def visit_of(request: Request) -> Visit:
    """What the gate knows of a request."""
    visit: Visit = request.scope["memkit.visit"]
    return visit


class Needs:
    """Gives whose request it is, if they may do what it asks for."""

    def __init__(self, right: Right) -> None:
        self._right = right

    def __call__(self, request: Request, _: _Bearer = None) -> ApiKey:
        """Whose request it is.

        Raises:
            ApiError: If they lack the right, or the request has a parameter that nobody reads.
        """
        known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
        for name in request.query_params:
            if name not in known:
                raise ApiError(
                    400, f"unknown parameter: {name}", param=name, code="unknown_parameter"
                )
        key = visit_of(request).key
        assert key is not None  # noqa: S101 - the gate lets nobody through without
        if self._right not in key.rights:
            raise ApiError(
                403, f"the key {key.name!r} has no right to {self._right}", code="no_right"
            )
        if self._right != "read":
            visit_of(request).writes = True
        return key


Serving = Annotated[Service, Depends(service_of)]
Reader = Annotated[ApiKey, Depends(Needs("read"))]
Writer = Annotated[ApiKey, Depends(Needs("write"))]
Trainer = Annotated[ApiKey, Depends(Needs("consolidate"))]
