"""The server's time: what has expired is the same for all clients, whatever their clocks say."""

from __future__ import annotations

import time

# The server's time in seconds since 1970; what asks for something else takes it along.
NOW_THERE = "extract(epoch FROM clock_timestamp())::float8"
_CLOSE = 1.0  # seconds; clocks that differ by less are taken to agree, as answers take their time


class ServerClock:
    """This machine's clock, put right by what the server says if they disagree."""

    def __init__(self, now: float) -> None:
        self._here = time.time
        self._ahead = 0.0
        self.told(now)

    def __call__(self) -> float:
        """Tell the time, in seconds since 1970."""
        return self._here() + self._ahead

    def told(self, now: float) -> None:
        """Go by what the server has just said, if it differs."""
        ahead = now - self._here()
        if abs(ahead - self._ahead) > _CLOSE:
            self._ahead = ahead if abs(ahead) > _CLOSE else 0.0
