"""Moments, periods and times to live."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from memkit.errors import InvalidInputError
from memkit.types.records import Period
from memkit.types.validate.amounts import float_of
from memkit.types.validate.descriptions import describe, shown

MIN_TTL = 1.0  # seconds; what lives shorter would expire while it is being written
MAX_TTL = 1000 * 365.25 * 86_400  # seconds; 1,000 years

# In UTC; the last one is a whole second, as a float of it has no room for microseconds.
EARLIEST, LATEST = datetime.min.replace(tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def ttl_seconds(ttl: object, name: str = "ttl") -> float:
    """Give a time to live, a number of seconds or a timedelta, in seconds."""
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidInputError(f"`{name}` must be seconds or a timedelta, got {describe(ttl)}")
    if not MIN_TTL <= float_of(seconds) <= MAX_TTL:  # NaN is neither
        raise InvalidInputError(
            f"`{name}` must be at least 1 second and at most 1,000 years, got {shown(ttl)}",
            "None is for what never expires; forget() erases at once.",
        )
    return float_of(seconds)


def check_time(name: str, value: object) -> None:
    """Check that a value is a datetime with a time zone, within the years 1 to 9999 of UTC."""
    if not isinstance(value, datetime):
        raise InvalidInputError(
            f"`{name}` must be a datetime, got {describe(value)}",
            "For example datetime.fromisoformat(...) with an offset such as +00:00.",
        )
    try:
        offset = value.utcoffset()
    except (TypeError, ValueError, NotImplementedError) as exc:
        raise InvalidInputError(
            f"`{name}` must have a time zone that tells its offset: {exc}",
            "Python takes timedeltas of less than a day.",
        ) from exc
    if offset is None:
        raise InvalidInputError(
            f"`{name}` must have a time zone, got the naive {shown(value)}",
            "For example datetime.now(UTC), or value.astimezone() if it is local time.",
        )
    try:
        valid = EARLIEST <= value.astimezone(UTC) <= LATEST
    except OverflowError:
        valid = False
    if not valid:
        raise InvalidInputError(
            f"`{name}` must be from {EARLIEST} to {LATEST}, got {shown(value)}",
            "To leave a side open, give None.",
        )


def check_period(period: Period) -> None:
    """Check that the bounds of a period have time zones, and that it ends after it begins."""
    for name in ("since", "until", "as_of"):
        if (value := getattr(period, name)) is not None:
            check_time(name, value)
    if period.since and period.until and period.since > period.until:
        raise InvalidInputError(
            f"`since` must not be later than `until`, got {shown(period.since)} "
            f"and {shown(period.until)}"
        )
