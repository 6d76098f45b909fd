"""Ids that sort by the time they were made."""

from __future__ import annotations

import secrets
import threading
import time
import uuid

_STEP = 32  # bits of a random step, so that processes that were forked do not make the same ids


class _Clock:
    """Milliseconds and 74 random bits as one number that only grows, also within a millisecond."""

    def __init__(self) -> None:
        self._latest = 0
        self._lock = threading.Lock()

    def tick(self) -> int:
        now = time.time_ns() // 1_000_000 << 74 | secrets.randbits(74)
        with self._lock:
            self._latest = max(now, self._latest + 1 + secrets.randbits(_STEP))
            return self._latest


_clock = _Clock()


def new_id() -> str:
    """Make a UUID of version 7: 48 bits of milliseconds, then random bits (RFC 9562, 5.7).

    Of two that one process makes the later one is the greater.
    """
    number = _clock.tick()
    milliseconds, first, rest = number >> 74, number >> 62 & 0xFFF, number & (1 << 62) - 1
    return str(uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | first << 64 | 0x2 << 62 | rest))
