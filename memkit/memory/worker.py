"""Trains what waits in jobs, part by part.

Whatever it is in the middle of can be stopped at any instant, also by a kill: modules are
committed one by one, a lease that is not renewed runs out, and whoever takes the part then trains
what is left of it. A worker whose lease has run out, such as after the machine has slept, commits
nothing any more.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Self

from memkit.errors import BusyError, MemkitError, StorageError
from memkit.ledger import Ledger
from memkit.ledger.engine.locks import adapters_lock
from memkit.ledger.jobs.lease_table import LEASE, Lease
from memkit.memory import learning
from memkit.memory.engine import Engine
from memkit.types import JobStatus, Progress
from memkit.types.progress import watched_by

POLL = 1.0  # seconds from one look for something to do to the next
_NEWS = 5.0  # seconds from one word on progress to the next
_PATIENCE = 1.0  # seconds of waiting for a lock until it is asked whether to go on
_AGAIN = 5.0  # seconds until a database that could not be reached is tried again

logger = logging.getLogger(__name__)

Told = Callable[[JobStatus], None]


class _StopError(Exception):
    """A part is not to be trained any further."""


@dataclass
class Work:
    """How many parts of jobs a worker was at.

    Attributes:
        done: Trained as far as that goes.
        failed: Some are tried again later.
        left: Given back, or taken away: cancelled or forgotten.
    """

    done: int = 0
    failed: int = 0
    left: int = 0


class Worker:
    """Takes what one memory's jobs want trained.

    Args:
        engine: The memory.
        stop: Is set by whoever wants it to stop, which it does within an epoch.
        told: Hears of a job whenever a part of it has ended.
    """

    def __init__(
        self, engine: Engine, stop: threading.Event | None = None, told: Told | None = None
    ) -> None:
        self._engine = engine
        self._stop = stop or threading.Event()
        self._told = told
        self._trainer = learning.trainer_of(engine)
        self._strangers: list[str] = []
        self.work = Work()

    def run(self, is_over: Callable[[], bool], *, patient: bool) -> Work:
        """Train until it is to stop.

        Args:
            is_over: Is asked, whenever there is nothing to take, whether that is the end.
            patient: Whether to try again if the memory cannot be reached for a while.

        Raises:
            StorageError: If the memory cannot be used any more.
        """
        while not self._stop.is_set():
            try:
                idle = not self.step()
            except StorageError as exc:
                if not patient or type(exc) not in (StorageError, BusyError):
                    raise
                logger.warning("the jobs cannot be reached, which is tried again: %s", exc.message)
                self._stop.wait(_AGAIN)
                continue
            if idle:
                self._tell_of_strangers()
                if is_over():
                    break
                self._stop.wait(POLL)
        return self.work

    def step(self) -> bool:
        """Train the next part; False if there is none."""
        lease = self._engine.ledger.leases.take(self._trainer)
        if lease is None:
            return False
        self._train(lease)
        if self._told is not None:
            self._told(self._engine.ledger.jobs.get(lease.job))
        return True

    @property
    def has_more(self) -> bool:
        """Whether anything is left for this worker, now or later."""
        return self._engine.ledger.leases.waiting(self._trainer)

    def _train(self, lease: Lease) -> None:
        leases = self._engine.ledger.leases
        with _Heart(self._engine.ledger, lease, self._stop) as heart:
            try:
                with watched_by(heart.heard):
                    report = learning.learn(
                        self._engine,
                        lease.records,
                        retry_missed=lease.retry_missed,
                        committing=heart.committing,
                    )
            except _StopError:
                logger.info("a part of job %s is not trained any further", lease.job)
                self.work.left += 1
                leases.give_back(lease)  # unless it was taken away
                return
            except Exception as exc:  # it is noted with the job, and logged
                logger.warning("a part of job %s has failed", lease.job, exc_info=exc)
                self.work.failed += 1
                leases.fail(lease, _described(exc))
                return
            except BaseException:
                leases.give_back(lease)
                raise
            held, missed = learning.outcome(self._engine, lease.records)
            modules = sum(1 for module in report.modules if module.held)
            if leases.finish(lease, held=held, missed=missed, modules=modules):
                self.work.done += 1
            else:
                self.work.left += 1

    def _tell_of_strangers(self) -> None:
        """Say once which jobs wait for a worker of another kind."""
        strangers = self._engine.ledger.leases.others(self._trainer)
        if strangers and strangers != self._strangers:
            logger.warning(
                "there are jobs for workers with %s; this one has %s",
                " or ".join(map(learning.told, strangers)),
                learning.told(self._trainer),
            )
        self._strangers = strangers


class _Heart:
    """Renews a lease as long as its part is trained, with how far that is."""

    def __init__(self, ledger: Ledger, lease: Lease, stop: threading.Event) -> None:
        self._ledger = ledger
        self._lease = lease
        self._stop = stop
        self._is_lost = False
        self._progress: Progress | None = None
        self._said: Progress | None = None
        self._renewed = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="memkit-lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def heard(self, progress: Progress) -> None:
        """Take note of progress, and end the training if that is asked for."""
        first = self._progress is None
        self._progress = progress
        if first:
            self._renew()
        self._check()
        if self._stop.is_set():
            raise _StopError

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Hold the lock of the adapters, and make sure that the lease is still this worker's."""
        with ExitStack() as held:
            while True:
                self._check()
                try:
                    held.enter_context(adapters_lock(self._ledger, _PATIENCE))
                    break
                except BusyError:
                    if self._stop.is_set():
                        raise _StopError from None
            self._renew()
            self._check()
            yield

    def _check(self) -> None:
        if self._is_lost:
            raise _StopError

    def _beat(self) -> None:
        while not self._over.wait(_NEWS):
            if self._progress != self._said or time.monotonic() - self._renewed > LEASE / 4:
                try:
                    self._renew()
                except StorageError as exc:  # there are some more beats until it runs out
                    logger.warning("a lease could not be renewed: %s", exc.message)

    def _renew(self) -> None:
        said = self._progress
        if not self._ledger.leases.renew(self._lease, said):
            self._is_lost = True
        self._said, self._renewed = said, time.monotonic()


def _described(error: Exception) -> str:
    """What is kept of an error: of foreign ones only the kind, as they may quote anything."""
    kind = type(error).__name__
    return f"{kind}: {error.message}" if isinstance(error, MemkitError) else kind
