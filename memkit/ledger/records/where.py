"""Turns scopes, filters and times into SQL conditions on ``records``."""

# ruff: noqa: S608 - only constants are formatted into the SQL; what users say is a parameter

from __future__ import annotations

import json
from collections.abc import Sequence

from memkit.ledger.records import filters
from memkit.types import ALWAYS, Metadata, Period, Scope
from memkit.types.scope import scope_key, visible_keys
from memkit.types.validate import check_period

Condition = tuple[str, list[object]]

# Not expired. The subquery makes SQLite ask for the time once a statement, not once a row.
LIVE = "(records.expires_at IS NULL OR records.expires_at > (SELECT now()))"
EXPIRED = "records.expires_at <= (SELECT now())"  # its negation, but found through the index
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
    conditions: list[Condition] = [("1" if expired else LIVE, [])]
    if visible_to is not None or within is not None:
        conditions.append(scope_sql("records.scope", visible_to=visible_to, within=within))
    if where is not None:
        found = filters.lookup(where)
        if found is not None:
            conditions.append((f"records.rowid IN ({found[0]})", found[1]))
        conditions.append(filters.compile(where))
    conditions += _period_sql(period)
    return _all(conditions)


def scope_sql(column: str, *, visible_to: Scope | None, within: Scope | None) -> Condition:
    """Give the condition on a scope column; see `select_sql`."""
    conditions: list[Condition] = [("1", [])]
    if visible_to is not None:
        conditions.append(visible_sql(column, visible_to))
    if within is not None:
        conditions.append(within_sql(column, within))
    return _all(conditions)


def _all(conditions: Sequence[Condition]) -> Condition:
    parameters = [parameter for _, own in conditions for parameter in own]
    return " AND ".join(sql for sql, _ in conditions), parameters


def _period_sql(period: Period) -> list[Condition]:
    check_period(period)
    bounds = (
        (f"{AT} >= ?", period.since),
        (f"{AT} < ?", period.until),
        ("records.updated_at <= ?", period.as_of),
    )
    return [(sql, [at.timestamp()]) for sql, at in bounds if at is not None]


def visible_sql(column: str, scope: Scope) -> Condition:
    """Give the condition that a scope column is visible to a query of ``scope``."""
    keys = json.dumps(visible_keys(scope))
    return f"{column} IN (SELECT value FROM json_each(?))", [keys]


def within_sql(column: str, selector: Scope) -> Condition:
    """Give the condition that a scope column contains ``selector``."""
    sql = f"""
        NOT EXISTS (
            SELECT 1 FROM json_each(?) AS asked WHERE NOT EXISTS (
                SELECT 1 FROM json_each({column}) AS held
                WHERE held.key = asked.key AND held.value = asked.value
            )
        )
    """
    return sql, [scope_key(selector)]
