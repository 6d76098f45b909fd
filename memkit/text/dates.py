"""Finds the days that an English question names: "on 8 May 2023", "in June", "last week".

Ambiguous words such as "May" or "2023" count as a time only after a preposition or the like, as
in "in May".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from memkit.text.words import MONTHS
from memkit.types import Period

FADES = 7  # days before and after a named day within which its bonus fades to nothing

_SHORT = 31  # days of a span that is searched on its own
_NEVER = date.max.toordinal()  # the distance, in days, to a date that does not exist
_MOST = 8  # days of a question that count
_NAMES = tuple(name.lower() for name in MONTHS)
_MONTHS = {name[:3]: number for number, name in enumerate(_NAMES, start=1)}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_COUNTS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}

_MONTH = rf"\b(?P<month>sept|{'|'.join(rf'{name[:3]}(?:{name[3:]})?' for name in _NAMES)})\b\.?"
_DAY = r"\b(?P<day>0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?\b"
_YEAR = r"\b(?P<year>(?:19|20)\d\d)\b"
_OF_YEAR = rf"(?:(?:,| of)? ?{_YEAR})?"
_WITHIN = r"\b(?:in|of|during|by|since|until|early|mid|late|this|last)[ -]"
_DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?P<year>(?:19|20)\d\d)-(?P<month>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12]\d|3[01])\b",
        rf"{_DAY}(?: of)? {_MONTH}{_OF_YEAR}",
        rf"{_MONTH} {_DAY}{_OF_YEAR}",
        rf"{_MONTH}(?:,| of)? {_YEAR}",
        rf"{_WITHIN}{_MONTH}",
        rf"{_WITHIN}{_YEAR}",
    )
)
_FROM_TODAY = re.compile(
    r"\b(?:(?P<today>today|tonight)|(?P<yesterday>yesterday|last night)"
    r"|(?P<which>this|last) (?P<unit>week|month|year)"
    rf"|(?P<count>\d{{1,3}}|{'|'.join(_COUNTS)}) (?P<units>day|week|month|year)s? ago"
    rf"|last (?P<weekday>{'|'.join(_WEEKDAYS)}))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Days:
    """A stretch of days, both ends included."""

    first: date
    last: date

    def gap(self, day: date) -> int:
        """Days from this span to a day: 0 within it, negative before it, positive after it."""
        return min((day - self.first).days, 0) or max((day - self.last).days, 0)


@dataclass(frozen=True)
class Yearly:
    """A month of any year, or a day of it."""

    month: int
    day: int | None

    def gap(self, day: date) -> int:
        """`Days.gap` in the year in which it is smallest."""
        near = self._in(day.year - 1, day.year, day.year + 1)
        return min((days.gap(day) for days in near), key=abs, default=_NEVER)

    def latest(self, today: date) -> Days | None:
        """The last of them that has begun."""
        begun = [days for days in self._in(today.year - 1, today.year) if days.first <= today]
        return begun[-1] if begun else None

    def _in(self, *years: int) -> list[Days]:
        return [days for year in years if (days := _days(year, self.month, self.day))]


def named_days(text: str, today: date) -> list[Days | Yearly]:
    """Find the days that a text names, at most eight of them.

    Relative days, such as "yesterday", count only if the text names no date.

    Args:
        text: A question.
        today: What relative days are relative to.

    Example:
        >>> named_days("Who called on 3 May 2023?", date(2024, 1, 1))
        [Days(first=datetime.date(2023, 5, 3), last=datetime.date(2023, 5, 3))]
    """
    named: list[Days | Yearly | None] = []
    for pattern in _DATES:
        named += [_date(**match.groupdict()) for match in pattern.finditer(text)]
        text = pattern.sub(";", text)  # "3 May 2023" is not "of May" as well
    named = named or [_from_today(match, today) for match in _FROM_TODAY.finditer(text)]
    return [days for days in named if days is not None][:_MOST]


def periods(days: Sequence[Days | Yearly], today: date, within: Period) -> Iterator[Period]:
    """Give the periods in which people may have spoken of some days: until a week after them.

    Args:
        days: As `named_days` gives them. Spans longer than a month are left out: they select
            little.
        today: Days without a year are taken in the last year in which they have begun.
        within: Bounds the periods.
    """
    for named in days:
        span = named if isinstance(named, Days) else named.latest(today)
        if span is None or (span.last - span.first).days > _SHORT:
            continue
        since = datetime.combine(span.first, time(), UTC)
        until = datetime.combine(span.last + timedelta(days=FADES), time(), UTC)
        since = max(since, within.since or since)
        until = min(until, within.until or until)
        if since < until:
            yield replace(within, since=since, until=until)


def _date(
    month: str | None = None, day: str | None = None, year: str | None = None
) -> Days | Yearly | None:
    """Make a date of its parts; None for an impossible one such as 31 June 2023."""
    number = None if month is None else _MONTHS.get(month[:3].lower()) or int(month)
    within = None if day is None else int(day)
    if year is None and number is not None:
        return Yearly(number, within)
    return _days(int(year or 0), number, within)


def _days(year: int, month: int | None, day: int | None) -> Days | None:
    try:
        first = date(year, month or 1, day or 1)
    except ValueError:  # there is no such day
        return None
    if day is not None:
        return Days(first, first)
    return _unit(first, "year" if month is None else "month", 0)


def _from_today(match: re.Match[str], today: date) -> Days | None:
    if match["today"] or match["yesterday"]:
        return _unit(today, "day", 0 if match["today"] else 1)
    if match["weekday"]:
        back = (today.weekday() - _WEEKDAYS.index(match["weekday"].lower()) - 1) % 7 + 1
        return _unit(today, "day", back)
    if match["unit"]:
        return _unit(today, match["unit"].lower(), int(match["which"].lower() == "last"))
    count = match["count"].lower()
    return _unit(today, match["units"].lower(), _COUNTS.get(count) or int(count))


def _unit(day: date, unit: str, ago: int) -> Days | None:
    """The day, week (from Monday), month or year that is ``ago`` of them before that of a day."""
    try:
        if unit == "day":
            first = last = day - timedelta(days=ago)
        elif unit == "week":
            first = day - timedelta(days=day.weekday() + 7 * ago)
            last = first + timedelta(days=6)
        elif unit == "month":
            months = 12 * day.year + day.month - 1 - ago
            first = date(months // 12, months % 12 + 1, 1)
            last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        else:
            first, last = date(day.year - ago, 1, 1), date(day.year - ago, 12, 31)
    except (OverflowError, ValueError):  # before the year 1
        return None
    return Days(first, last)
