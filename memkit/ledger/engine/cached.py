"""Values that are read once, and again only after a change."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from memkit.ledger.engine.sqlite import Database, State

T = TypeVar("T")
_NEXT_EXPIRY = "SELECT min(expires_at) FROM records WHERE expires_at > (SELECT now())"
_MISSING: Any = object()
_LIMIT = 1000  # values that are held; such as one for each of many scopes


@dataclass
class _Readings:
    state: State
    since: float
    until: float | None = None  # seconds since 1970, as `since`; None if nobody has asked
    values: dict[Hashable, Any] = field(default_factory=dict)


class Cache:
    """What was read from a database, by key, as long as the database is the same.

    Asking whether it is the same costs a fraction of a read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._readings: _Readings | None = None

    def get(self, key: Hashable, read: Callable[[], T], *, expires: bool = False) -> T:
        """Give the value of a key as it is now; to be read only, as others get the same object.

        Args:
            key: What is read.
            read: Reads it.
            expires: Whether it may be another one once a record has expired.
        """
        # Asked before reading: what is changed in between makes a reading too new, never stale.
        state, now = self._database.state(), self._database.now()
        readings = self._readings
        if readings is None or readings.state != state or self._is_over(readings, now):
            readings = self._readings = _Readings(state, now)
        if expires and readings.until is None:
            readings.until = self._next_expiry()
        value: T = readings.values.get(key, _MISSING)
        if value is _MISSING:
            if len(readings.values) >= _LIMIT:
                readings.values.clear()
            readings.values[key] = value = read()
        return value

    def _is_over(self, readings: _Readings, now: float) -> bool:
        return readings.until is not None and not readings.since <= now < readings.until

    def _next_expiry(self) -> float:
        expiry = self._database.value(_NEXT_EXPIRY)
        return float("inf") if expiry is None else float(expiry)
