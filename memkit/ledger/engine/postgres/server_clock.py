"""The server's time: what has expired is the same for all clients, whatever their clocks say."""

from __future__ import annotations

import time

# The server's time in seconds since 1970; what asks for something else takes it along.
NOW_THERE = "extract(epoch FROM clock_timestamp())::float8"
_CLOSE = 1.0  # seconds; answers are on their way for a while, and time should not jump by that


class ServerClock:
    """Counts on from when the server was asked last, as a clock of `Database`."""

    def __init__(self, now: float) -> None:
        self._ahead = now - time.monotonic()

    def __call__(self) -> float:
        """Tell the time, in seconds since 1970."""
        return time.monotonic() + self._ahead

    def told(self, now: float) -> None:
        """Go by what the server has just said, if it differs: a machine may have been asleep."""
        ahead = now - time.monotonic()
        if abs(ahead - self._ahead) > _CLOSE:
            self._ahead = ahead
