"""Notices that a client has gone while its answer is made, so that nothing is made for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from memkit.server.http.error_bodies import ApiError

LOOK = 0.2  # seconds between two looks

Result = TypeVar("Result")


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Await something, and cancel it if the client goes away meanwhile.

    Raises:
        ApiError: If it has gone; only the log sees it.
    """
    working = asyncio.create_task(work)
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ApiError(499, "the client has gone", code="client_gone")
    finally:
        working.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(LOOK)
