"""SQL that every database writes in its own way, as SQLite writes it.

The tables above the engine are written in SQL that PostgreSQL knows as well, with ``?`` for each
parameter in order. What has no such form they take from here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from memkit.errors import InvalidInputError
from memkit.types import Scope
from memkit.types.scope import scope_key
from memkit.types.validate import shown

Condition = tuple[str, list[object]]  # SQL and its parameters

NOW = "(SELECT now())"  # the ledger's clock; a subquery, so that it is asked once a statement
# Joins a table to those before it, and is not taken first: what comes before it is the smaller.
THEN_JOIN = "CROSS JOIN"


def in_list(column: str) -> str:
    """The condition that a column has one of the values of a `list_parameter`."""
    return f"{column} IN (SELECT value FROM json_each(?))"


def listed(alias: str) -> str:
    """The values of a `list_parameter` as a table with the column ``value``."""
    return f"json_each(?) AS {alias}"


def listed_rows(alias: str, *columns: str) -> str:
    """The rows of a `list_parameter` of lists as a table with these columns."""
    fields = (f"json_extract(value, '$[{place}]') AS {name}" for place, name in enumerate(columns))
    return f"(SELECT {', '.join(fields)} FROM json_each(?)) AS {alias}"


def list_parameter(name: str, values: Iterable[object]) -> str:
    """Write many values, for the caller ``name``, as one parameter: there may be any number.

    Raises:
        InvalidInputError: If ``values`` is one string, or one of them holds a NUL, which would
            end it early in SQL.
    """
    if isinstance(values, str):
        raise InvalidInputError(
            f"`{name}` must be a list of strings, got the string {shown(values)}",
            "Put it into a list.",
        )
    values = list(values)
    for value in values:
        if isinstance(value, str) and "\0" in value:
            raise InvalidInputError(f"`{name}` must not contain NUL characters, got {shown(value)}")
    return json.dumps(values)


def gathered(*columns: str) -> str:
    """Aggregate columns of all rows of a group into one JSON list of lists."""
    return f"json_group_array(json_array({', '.join(columns)}))"


def holds_text(column: str) -> str:
    """The condition that a text, its parameter, is part of a column."""
    return f"instr({column}, ?)"


def same(value: str, other: str) -> str:
    """The condition that two values are equal or both NULL."""
    return f"{value} IS {other}"


def octets(column: str) -> str:
    """The length of a binary value in bytes."""
    return f"length({column})"


def is_object(column: str) -> str:
    """The condition that a text is a JSON object."""
    return f"iif(json_valid({column}), json_type({column}), '') = 'object'"


def within_scope(column: str, selector: Scope) -> Condition:
    """The condition that a scope, in canonical form, has every label of ``selector``."""
    sql = f"""
        NOT EXISTS (
            SELECT 1 FROM json_each(?) AS asked WHERE NOT EXISTS (
                SELECT 1 FROM json_each({column}) AS held
                WHERE held.key = asked.key AND held.value = asked.value
            )
        )
    """
    return sql, [scope_key(selector)]


def upsert(table: str, key: str, column: str) -> str:
    """Insert a key and a value, its parameters, or give the row that has the key the value."""
    return (
        f"INSERT INTO {table} ({key}, {column}) VALUES (?, ?) "
        f"ON CONFLICT ({key}) DO UPDATE SET {column} = excluded.{column}"
    )
