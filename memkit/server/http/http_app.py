"""Puts the server together: the endpoints over a memory, behind the gate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from pydantic import BaseModel

from memkit import AsyncMemory
from memkit.server.http import openai_routes, rest_routes
from memkit.server.http.api_keys import ApiKey, KeyFile
from memkit.server.http.error_bodies import register_handlers
from memkit.server.http.gate import Gate
from memkit.server.http.http_service import Service
from memkit.server.http.serving_limits import Limits
from memkit.version import __version__


class Health(BaseModel):
    """That the server answers; it says nothing of the memory."""

    status: str = "ok"


def create_app(
    memory: AsyncMemory,
    keys: KeyFile | ApiKey,
    limits: Limits | None = None,
    *,
    remember: bool = True,
) -> Gate:
    """Make an ASGI application that serves a memory.

    Args:
        memory: Open; it is closed when the application shuts down.
        keys: Who may reach which scope; a single key (`api_keys.local_key`) serves everybody on
            this machine in its scope.
        limits: How much is taken on.
        remember: Whether conversations are stored, unless a request says otherwise.
    """
    limits = limits or Limits()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = Service(memory, limits, remember=remember)
        app.state.service = service
        await memory.jobs.start()  # what was left when the server was stopped
        yield
        await service.close()

    app = FastAPI(
        title="memkit",
        version=__version__,
        description="A memory for language-model agents. The API key decides the scope.",
        lifespan=lifespan,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    register_handlers(app)
    app.include_router(openai_routes.router)
    app.include_router(rest_routes.router)

    @app.get("/health", tags=["upkeep"])
    async def health() -> Health:
        """Tell that the server answers requests."""
        return Health()

    return Gate(app, keys, limits)
