"""Consolidation in the background: one at a time, each told about to whoever started it."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from memkit.server.http.api_keys import ApiKey
from memkit.server.http.error_bodies import ApiError, told
from memkit.types import ConsolidationReport

KEPT = 100  # jobs that are remembered, the newest


@dataclass
class Job:
    """One consolidation.

    Attributes:
        id: Names it.
        owner: The key that started it.
        started_at: In UTC.
        ended_at: In UTC; None while it runs.
        report: What it did, once it is done.
        error: Why it failed.
    """

    owner: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime | None = None
    report: ConsolidationReport | None = None
    error: str | None = None

    @property
    def status(self) -> Literal["running", "done", "failed"]:
        """How far it is."""
        if self.ended_at is None:
            return "running"
        return "done" if self.error is None else "failed"


class Jobs:
    """The consolidations of a server."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._running: asyncio.Task[None] | None = None

    def start(self, key: ApiKey, work: Callable[[], Awaitable[ConsolidationReport]]) -> Job:
        """Start one.

        Raises:
            ApiError: If one is running already.
        """
        if self._running is not None and not self._running.done():
            raise ApiError(409, "a consolidation is running already", code="already_running")
        job = Job(key.name)
        self._jobs[job.id] = job
        while len(self._jobs) > KEPT:
            self._jobs.popitem(last=False)
        self._running = asyncio.create_task(_run(job, work))
        return job

    def find(self, key: ApiKey, id: str) -> Job:
        """Give a job of this key.

        Raises:
            ApiError: If there is none.
        """
        job = self._jobs.get(id)
        if job is None or job.owner != key.name:
            raise ApiError(404, "no consolidation of this key has this id", code="not_found")
        return job

    async def finish(self) -> None:
        """Wait for what is running: a thread that trains cannot be interrupted."""
        if self._running is not None:
            await asyncio.wait([self._running])


async def _run(job: Job, work: Callable[[], Awaitable[ConsolidationReport]]) -> None:
    try:
        job.report = await work()
    except Exception as error:  # noqa: BLE001 - whoever asks for the job is told
        job.error = told(error).message
    job.ended_at = datetime.now(UTC)
