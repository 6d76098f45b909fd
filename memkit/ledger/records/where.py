"""Turns scopes, filters and times into SQL conditions on ``records``."""

from __future__ import annotations

from collections.abc import Sequence

from memkit.ledger.engine.dialect import (
    NOW,
    Condition,
    in_list,
    list_parameter,
    shortcut,
    within_scope,
)
from memkit.ledger.records.filters import parse
from memkit.types import ALWAYS, Metadata, Period, Scope
from memkit.types.scope import visible_keys
from memkit.types.validate import check_period

LAST = "\U0010ffff"  # of all characters
LIVE = f"(records.expires_at IS NULL OR records.expires_at > {NOW})"  # not expired
EXPIRED = f"records.expires_at <= {NOW}"  # its negation, but found through the index
AT = "coalesce(records.said_at, records.updated_at)"  # `Record.at`


def select_sql(
    *,
    visible_to: Scope | None = None,
    within: Scope | None = None,
    where: Metadata | None = None,
    period: Period = ALWAYS,
    expired: bool = False,
) -> Condition:
    """Give the SQL condition, with its parameters, for the records that are asked for.

    Args:
        visible_to: Only what a query of this scope sees; None for all.
        within: Only this scope and narrower ones; None for all.
        where: Metadata filter; None for all.
        period: Only records of this time.
        expired: Also what has expired and waits for its destruction.
    """
    conditions: list[Condition] = [("TRUE" if expired else LIVE, [])]
    if visible_to is not None:
        conditions.append(visible_sql("records.scope", visible_to))
    if within is not None:
        conditions.append(within_scope("records.scope", within))
    if where is not None:
        checked = parse(where)
        candidates = checked.lookup()
        if candidates is not None:
            sql, parameters = candidates
            conditions.append(shortcut((f"records.number IN ({sql})", parameters)))
        conditions.append(checked.sql())
    if period:
        conditions.append(period_sql(period, spoken=AT, written="records.updated_at"))
    return _all(conditions)


def _all(conditions: Sequence[Condition]) -> Condition:
    parameters = [parameter for _, own in conditions for parameter in own]
    return " AND ".join(sql for sql, _ in conditions), parameters


def period_sql(period: Period, *, spoken: str, written: str) -> Condition:
    """Give the condition on the columns that tell when something was said and written."""
    check_period(period)
    bounds = (
        (f"{spoken} >= ?", period.since),
        (f"{spoken} < ?", period.until),
        (f"{written} <= ?", period.as_of),
    )
    conditions: list[Condition] = [
        (sql, [at.timestamp()]) if at is not None else ("TRUE", []) for sql, at in bounds
    ]
    return _all(conditions)


def beginning_sql(column: str, start: str) -> Condition:
    """Give the condition that a column begins so, as a range of its index.

    Both databases compare texts byte by byte in UTF-8, which is the order of the code points.
    """
    head = start.rstrip(LAST)  # nothing comes between what begins so and what follows the head
    if not head:
        return f"{column} >= ?", [start]
    following = ord(head[-1]) + 1
    if following == 0xD800:  # no text has the surrogates that would come next
        following = 0xE000
    return f"{column} >= ? AND {column} < ?", [start, head[:-1] + chr(following)]


def visible_sql(column: str, scope: Scope) -> Condition:
    """Give the condition that a scope column is visible to a query of ``scope``."""
    return in_list(column), [list_parameter("scope", visible_keys(scope))]
