"""Consolidation in the background: `memory.jobs`."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from typing import Unpack

from memkit.memory import learning
from memkit.memory.engine import Engine
from memkit.memory.options import ConsolidateOptions
from memkit.memory.worker import POLL, Told, Work, Worker
from memkit.types import JobState, JobStatus, Progress
from memkit.types.validate import check_duration, check_flag, check_id, check_methods

logger = logging.getLogger(__name__)


class Job:
    """A consolidation in the background; print it to see how far it is.

    Attributes:
        id: Names it, also for other processes: `Jobs.get`.
    """

    def __init__(self, jobs: Jobs, id: str) -> None:
        self._jobs = jobs
        self.id = id

    @property
    def status(self) -> JobStatus:
        """All that is known of it, as it is now."""
        return self._jobs.status(self.id)

    @property
    def state(self) -> JobState:
        """How far it is: "queued", "running", "done", "failed" or "cancelled"."""
        return self.status.state

    @property
    def progress(self) -> Progress | None:
        """How far the training of a module is; None unless there is some."""
        return self.status.progress

    def wait(self, timeout: float | None = None) -> JobStatus:
        """As `Jobs.wait`."""
        return self._jobs.wait(self.id, timeout)

    def cancel(self) -> JobStatus:
        """As `Jobs.cancel`."""
        return self._jobs.cancel(self.id)

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def __str__(self) -> str:
        return str(self.status)


class Jobs:
    """What a memory trains in the background.

    Whoever has the memory open sees all of its jobs. In a directory a thread of this process
    trains them from `Memory.consolidate` with ``wait=False`` on, until none is left or the memory
    is closed. ``memkit worker``, or a process that calls `work`, does so for itself. Of a memory on
    a server only workers do.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = _Thread(engine)
        weakref.finalize(self, self._thread.stop)  # also where nobody has closed the memory

    def put(self, **options: Unpack[ConsolidateOptions]) -> Job:
        """Make a job of what `Memory.consolidate` would train, and leave it to a worker.

        Args:
            **options: See `ConsolidateOptions`.

        Raises:
            UnsupportedOperationError: Without the "lora" backend.
        """
        return Job(self, learning.put(self._engine, options))

    def start(self) -> None:
        """Train what waits in a thread of this process.

        On a server, and without the "lora" backend, nothing is trained.
        """
        if not self._engine.ledger.shared and "lora" in self._engine.names:
            self._thread.start()

    def get(self, id: str) -> Job:
        """Give a job.

        Raises:
            NotFoundError: If there is none, or it was over so long ago that it was let go.
        """
        return Job(self, self.status(id).id)

    def status(self, id: str) -> JobStatus:
        """Tell how far a job is.

        Raises:
            NotFoundError: As for `get`.
        """
        return self._engine.ledger.jobs.get(check_id("id", id))

    def wait(self, id: str, timeout: float | None = None) -> JobStatus:
        """Wait until a job is over, and tell how it ended; it may have failed.

        In a memory in a directory, a thread of this process trains it, unless a worker does.

        Args:
            id: The job.
            timeout: So many seconds at most; then it is told how far the job is.

        Raises:
            NotFoundError: As for `get`.
        """
        if timeout is not None:
            check_duration("timeout", timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        status = self.status(id)
        if not status.is_over:
            self.start()
        pause = POLL / 50
        while not status.is_over:
            left = pause if deadline is None else min(pause, deadline - time.monotonic())
            if left <= 0:
                break
            time.sleep(left)
            pause = min(2 * pause, POLL)
            status = self.status(id)
        return status

    def cancel(self, id: str) -> JobStatus:
        """Cancel what of a job has not ended; modules that were trained stay.

        A worker that is training for it stops within an epoch.

        Raises:
            NotFoundError: As for `get`.
        """
        return self._engine.ledger.jobs.cancel(check_id("id", id))

    def work(
        self,
        *,
        once: bool = False,
        stop: threading.Event | None = None,
        told: Told | None = None,
    ) -> Work:
        """Train what waits, here and now: what ``memkit worker`` does.

        Only what is for this memory's base model and recipe is trained; the log says if there is
        something else.

        Args:
            once: Return when nothing can be taken any more; by default it waits for more.
            stop: Set it, in a signal's handler or another thread, to have this return within an
                epoch; what was being trained is given back.
            told: Is called with a job's status whenever a part of it has ended.

        Raises:
            UnsupportedOperationError: Without the "lora" backend.
            StorageError: If the memory cannot be used any more.
        """
        check_flag("once", once)
        if stop is not None:
            check_methods("stop", stop, ["is_set", "wait"], "a `threading.Event`")
        if told is not None:
            check_methods("told", told, ["__call__"], "a function of a `JobStatus`")
        self._engine.require("lora", "jobs.work()")
        return Worker(self._engine, stop, told).run(lambda: once, patient=not once)

    def list(self, *, limit: int = 100) -> list[JobStatus]:
        """List the newest jobs, newest first; the last thousand that are over are kept."""
        return self._engine.ledger.jobs.newest(limit=limit)

    def stop(self) -> None:
        """End the thread that trains, within an epoch; what it was at is given back."""
        self._thread.stop()


class _Thread:
    """Trains in the background for as long as there is something to train."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._stop = threading.Event()
                worker = Worker(self._engine, self._stop)
                self._thread = threading.Thread(
                    target=self._run, args=(worker,), name="memkit-jobs", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
            self._stop.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self, worker: Worker) -> None:
        try:
            worker.run(lambda: self._is_over(worker), patient=True)
        except Exception:
            logger.exception("no jobs are trained in the background any more")
            self._is_gone()

    def _is_over(self, worker: Worker) -> bool:
        """Whether nothing is left; what is put from then on has another thread started."""
        with self._lock:
            if worker.has_more:
                return False
            self._thread = None
            return True

    def _is_gone(self) -> None:
        with self._lock:
            if self._thread is threading.current_thread():
                self._thread = None
