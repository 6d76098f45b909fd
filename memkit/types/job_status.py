"""How far a job in the background is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from memkit.types.progress import Progress
from memkit.types.value import Value, counted

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: tuple[JobState, ...] = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class JobStatus(Value):
    """How far a consolidation in the background is.

    A job has a part for each scope, as no module is of two scopes; workers take part by part.

    Attributes:
        id: Names the job.
        state: "queued" until a worker takes a part of it, then "running" until all have ended:
            "done" if each has trained its records, "failed" if one could not, "cancelled" if that
            was asked for, or all of its records were forgotten.
        records: How many it was made for.
        held: Those of them that modules hold, in the parts that are done.
        missed: Those that no module could be made to hold, likewise.
        modules: How many modules were trained, likewise.
        parts: How many there are.
        ended: How many of them have ended, however.
        progress: Of a part that is being trained, as its worker said last; None before that.
        priority: Jobs of a higher one come first.
        attempts: How often workers have begun the part that was tried most often.
        error: What went wrong last; it may be tried again all the same.
        created_at: In UTC.
        started_at: When a worker first took a part; None before that.
        ended_at: When the last part ended; None before that.
    """

    derived = ("is_over",)

    id: str
    state: JobState
    records: int
    held: int
    missed: int
    modules: int
    parts: int
    ended: int
    progress: Progress | None
    priority: int
    attempts: int
    error: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED

    def __str__(self) -> str:
        said = [f"{self.state}, {counted(self.records, 'record')}"]
        if self.state in ("running", "failed") and self.parts > 1:
            said.append(f"{self.ended} of {self.parts} scopes")
        if self.state == "running" and self.progress is not None:
            said.append(str(self.progress))
        if self.ended:
            said.append(f"{self.held} held by {counted(self.modules, 'module')}")
        if self.missed:
            said.append(f"{self.missed} missed")
        if self.error is not None and self.state != "done":
            said.append(f"error after {counted(self.attempts, 'attempt')}: {self.error}")
        return f"job {self.id}: " + ", ".join(said)
