"""Turns scopes and filters into SQL conditions on ``records``."""

# ruff: noqa: S608 - only constants are formatted into the SQL; what users say is a parameter
from __future__ import annotations

import json

from memkit.errors import InvalidInputError
from memkit.ledger import filters
from memkit.scope import canonical, visible_keys
from memkit.types import Metadata, Scope

Condition = tuple[str, list[object]]


def select_sql(
    *,
    visible_to: Scope | None = None,
    within: Scope | None = None,
    where: Metadata | None = None,
) -> Condition:
    """Give the SQL condition, with its parameters, for the records that are asked for.

    Args:
        visible_to: Only what a query of this scope sees; None for all.
        within: Only this scope and narrower ones; None for all.
        where: Metadata filter; None for all.
    """
    conditions: list[Condition] = [("1", [])]
    if visible_to is not None:
        conditions.append(visible_sql("records.scope", visible_to))
    if within is not None:
        conditions.append(within_sql("records.scope", within))
    if where is not None:
        conditions.append(filters.compile(where))
    parameters = [parameter for _, own in conditions for parameter in own]
    return " AND ".join(sql for sql, _ in conditions), parameters


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
    return sql, [canonical(selector)]


def check_limit(name: str, value: int) -> None:
    """Check a number of results.

    Raises:
        InvalidInputError: If it is no integer or is below 1.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidInputError(f"`{name}` must be an integer of at least 1, got {value!r}")
