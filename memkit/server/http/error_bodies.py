"""Errors as OpenAI's clients expect them: a status, and a body that says what is wrong.

    {"error": {"message": "…", "type": "invalid_request_error", "param": "n", "code": null}}

What a client can mend is told to it. What it cannot is told to the log, as messages about files
and models may say more of this machine than a client should know.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from memkit.errors import (
    BusyError,
    ConnectionLostError,
    DestructionPendingError,
    DiskFullError,
    IncompleteAnswerError,
    InvalidInputError,
    MemkitError,
    NotFoundError,
    UnsupportedOperationError,
)
from memkit.server.complaints import complaint

logger = logging.getLogger(__name__)

INVALID, DENIED, LIMITED, FAILED = (
    "invalid_request_error",
    "permission_error",
    "rate_limit_error",
    "server_error",
)
_TYPES = {403: DENIED, 429: LIMITED}
_RETRY = {"retry-after": "1"}


class ErrorDetail(BaseModel):
    """What is wrong; ``remembered`` is there only if it is false, and known to be."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None
    remembered: Literal[False] | None = None


class ErrorBody(BaseModel):
    """The body of every error."""

    error: ErrorDetail


class ApiError(Exception):
    """An error that is told to the client.

    Args:
        status: Of the response.
        message: What was expected and what came.
        param: Name of the parameter that is wrong.
        code: For programs.
        headers: Of the response.
        untouched: Whether it is known that the request has stored nothing; told of timeouts.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        untouched: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})
        kind = _TYPES.get(status, FAILED if status >= 500 else INVALID)
        detail = ErrorDetail(message=message, type=kind, param=param, code=code)
        if untouched:
            detail.remembered = False
        self._body = ErrorBody(error=detail)

    @property
    def body(self) -> dict[str, Any]:
        """The body of the response."""
        return self._body.model_dump(exclude_unset=True)

    def response(self) -> Response:
        """The error as a response."""
        # ASCII, as what is quoted of a request need not be valid Unicode.
        content = json.dumps(self.body)
        return Response(content, self.status, self.headers, media_type="application/json")


def busy(message: str) -> ApiError:
    """The server has too much to do; clients try again."""
    return ApiError(503, message, code="overloaded", headers=_RETRY)


def too_many(message: str) -> ApiError:
    """A client asks too much at once; it tries again."""
    return ApiError(429, message, code="rate_limit_exceeded", headers=_RETRY)


def told(error: Exception) -> ApiError:
    """What a client is told of an error; what it cannot mend is logged, without its message.

    Messages may quote what users have written, so the log has the error's class and place.
    """
    if isinstance(error, ApiError):
        return error
    for kind, tell in _TOLD.items():
        if isinstance(error, kind):
            return tell(error)
    name = type(error).__name__
    logger.error("%s\n%s", name, "".join(traceback.format_tb(error.__traceback__)).rstrip())
    return ApiError(500, f"the server failed ({name}); its log says where", code="internal_error")


def register_handlers(app: FastAPI) -> None:
    """Have every error of an application told in this way."""

    async def tell(_: Request, error: Exception) -> Response:
        return told(error).response()

    async def tell_invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
        return invalid(error.errors()).response()

    async def tell_status(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
        message = {
            404: "there is no such path; /openapi.json lists those that there are",
            405: f"{request.method} is not for this path; /openapi.json lists what is",
        }.get(error.status_code, str(error.detail))
        return ApiError(error.status_code, message, headers=error.headers).response()

    app.add_exception_handler(ApiError, tell)
    app.add_exception_handler(MemkitError, tell)
    app.add_exception_handler(Exception, tell)
    app.add_exception_handler(RequestValidationError, tell_invalid)
    app.add_exception_handler(HTTPException, tell_status)


def invalid(errors: Sequence[Any]) -> ApiError:
    """The first thing that is wrong with a request; what came is not repeated."""
    first = errors[0]
    # A place begins with the part of the request: its body, its query, or its path.
    place, what = complaint([error | {"loc": error["loc"][1:]} for error in errors])
    param = place or None
    if first["type"] == "json_invalid":
        return ApiError(400, "the body is not valid JSON", code="invalid_json")
    if first["type"] == "extra_forbidden":
        return ApiError(400, f"unknown parameter: {param}", param=param, code="unknown_parameter")
    if first["type"] == "model_attributes_type" and not param:
        return ApiError(400, "expected a JSON object, sent as application/json", code="no_object")
    return ApiError(400, f"{param or 'the body'}: {what}", param=param)


def _text(error: Exception) -> str:
    """The message of an error of memkit, and its hint."""
    message, hint = error.args
    return f"{message} ({hint})" if hint else str(message)


def _told_of_bytes(_: Exception) -> ApiError:
    return ApiError(
        503,
        "it is erased, but its bytes are not destroyed yet, as others are still reading; "
        "the server goes on with that later",
        code="destruction_pending",
    )


# What clients are told, by the class of the error; the first that fits counts.
_TOLD: Mapping[type[MemkitError], Callable[[Exception], ApiError]] = {
    NotFoundError: lambda error: ApiError(404, _text(error), code="not_found"),
    InvalidInputError: lambda error: ApiError(400, _text(error)),
    IncompleteAnswerError: lambda error: ApiError(
        400, _text(error), param="max_completion_tokens", code="length_limit"
    ),
    UnsupportedOperationError: lambda error: ApiError(400, _text(error), code="unsupported"),
    BusyError: lambda _: busy("the memory is in use by others, or has been for too long"),
    ConnectionLostError: lambda _: busy("the database of the memory cannot be reached"),
    DiskFullError: lambda _: ApiError(
        507, "the disk of the server is full, nothing was stored", code="disk_full"
    ),
    DestructionPendingError: _told_of_bytes,
}
