"""The thread that builds and checks a large index while the memory goes on working."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from memkit.errors import MemkitError
from memkit.rag.vectors.ivf_build import BuildStoppedError, Stopped

_log = logging.getLogger(__name__)


class BackgroundWorker:
    """Runs one job at a time in the background."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def start(self, job: Callable[[Stopped], None]) -> bool:
        """Start a job, unless one is running or this was closed; returns whether it was started.

        The job gets a function that says whether it should stop.
        """
        with self._lock:
            if self._stop.is_set() or (self._thread is not None and self._thread.is_alive()):
                return False
            self._thread = threading.Thread(
                target=self._run, args=(job,), name="memkit-index", daemon=True
            )
            self._thread.start()
            return True

    def wait(self) -> None:
        """Wait for the job that is running, if one is."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def close(self) -> None:
        """Stop the job that is running, and start no more."""
        self._stop.set()
        self.wait()

    def _run(self, job: Callable[[Stopped], None]) -> None:
        try:
            job(self._stop.is_set)
        except BuildStoppedError:
            _log.debug("the index was not built, as the memory is closed")
        except MemkitError as exc:  # a thread has no caller to raise to; searches stay exact
            _log.warning("the index could not be built, and is searched as it is: %s", exc)
