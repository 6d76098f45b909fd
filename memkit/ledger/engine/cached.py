"""Values that are read once, and again only after a change."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
_MISSING: Any = object()
_NOTHING: Any = object()  # of an id that has no value
_LIMIT = 1000  # values that are held; such as one for each of many scopes
_RECORDS = 4096  # records of which a value of `get_each` is held


@dataclass
class _Readings:
    state: object
    since: float
    until: float | None = None  # seconds since 1970, as `since`; None if nobody has asked
    values: dict[Hashable, Any] = field(default_factory=dict)

    def hold(self, state: object, now: float) -> bool:
        in_time = self.until is None or self.since <= now < self.until
        return self.state == state and in_time


class Cache:
    """What was read from a database, by key, as long as the database is the same.

    Another ``state`` tells that it has changed; it costs a fraction of a read. Times are in
    seconds since 1970; ``next_expiry`` is infinity if no record expires.
    """

    def __init__(
        self,
        state: Callable[[], object],
        now: Callable[[], float],
        next_expiry: Callable[[], float],
    ) -> None:
        self._state = state
        self._now = now
        self._next_expiry = next_expiry
        self._readings: _Readings | None = None

    def get(self, key: Hashable, read: Callable[[], T], *, expires: bool = False) -> T:
        """Give the value of a key as it is now; to be read only, as others get the same object.

        Args:
            key: What is read.
            read: Reads it.
            expires: Whether it may be another one once a record has expired.
        """
        # Asked before reading: what is changed in between makes a reading too new, never stale.
        state, now = self._state(), self._now()
        readings = self._readings
        if readings is None or not readings.hold(state, now):
            readings = self._readings = _Readings(state, now)
        if expires and readings.until is None:
            readings.until = self._next_expiry()
        value: T = readings.values.get(key, _MISSING)
        if value is _MISSING:
            if len(readings.values) >= _LIMIT:
                readings.values.clear()
            readings.values[key] = value = read()
        return value

    def get_each(
        self,
        key: Hashable,
        ids: Iterable[str],
        read: Callable[[Sequence[str]], Mapping[str, T]],
        *,
        expires: bool = False,
    ) -> dict[str, T]:
        """Give the values of those of some ids that have one, in order; new ones are read at once.

        ``read`` gives the values of those of some ids that have one; the rest is as for `get`.
        """
        shared: dict[str, Any] = self.get(key, dict, expires=expires)
        values = {id: shared.get(id, _MISSING) for id in ids}
        if new := [id for id, value in values.items() if value is _MISSING]:
            fresh = dict.fromkeys(new, _NOTHING) | dict(read(new))
            values |= fresh
            if len(shared) + len(fresh) > _RECORDS:
                shared.clear()
            if len(fresh) <= _RECORDS:
                shared |= fresh
        return {id: value for id, value in values.items() if value is not _NOTHING}

    def clear(self) -> None:
        """Forget all values."""
        self._readings = None
