"""SQL that every database writes in its own way, as SQLite writes it and as PostgreSQL does.

The tables above the engine are written in SQL that both know, with ``?`` for each parameter in
order. What has no such form they take from here: `either` puts both forms into one text. It is
SQLite's statement as it stands, with PostgreSQL's form of a part in a comment before it;
`memkit.ledger.engine.postgres.portable` takes the comment instead of the part.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache

from memkit.errors import InvalidInputError
from memkit.types import Scope
from memkit.types.scope import scope_key
from memkit.types.validate import shown

Condition = tuple[str, list[object]]  # SQL and its parameters

# Where PostgreSQL's form begins and ends, and where SQLite's, which follows it, does.
OPEN, INSTEAD_OF, CLOSE = "/*:", ":*/", "/**/"


def either(sqlite: str, postgres: str) -> str:
    """Write a part of a statement for both databases.

    Args:
        sqlite: SQLite's form; such parts may be in it.
        postgres: PostgreSQL's form: there ``?0``, ``?1`` and so on are the parameters of
            SQLite's form, which may be used in any order, several times or not at all, and
            ``?now`` is the ledger's clock.
    """
    return f"{OPEN}{postgres}{INSTEAD_OF}{sqlite}{CLOSE}"


# The ledger's clock; in SQLite a subquery, so that it is asked once a statement.
NOW = either("(SELECT now())", "?now")
# A clock that all clients share, whatever theirs say: in PostgreSQL the server's.
SHARED_NOW = either("(SELECT now())", "extract(epoch FROM clock_timestamp())::double precision")
# Behind a SELECT whose row is going to be changed: rows that others have locked are passed over.
UNLESS_LOCKED = either("", "FOR UPDATE OF part SKIP LOCKED")
# Joins a table to those before it, and is not taken first: what comes before it is the smaller.
THEN_JOIN = either("CROSS JOIN", "JOIN")
# Passages that have a word, given as `WordIndex.asked` has it, as a table with their keys.
MATCHING = either(
    "(SELECT rowid AS key FROM passages_fts WHERE passages_fts MATCH ?) AS matching",
    "(SELECT passage AS key FROM word_counts WHERE word = ?0) AS matching",
)
WORDS = 100  # that one statement looks up, well below SQLite's limit on compound ones


@cache
def in_list(column: str) -> str:
    """The condition that a column of texts has one of the values of a `list_parameter`."""
    return either(
        f"{column} IN (SELECT value FROM json_each(?))",
        f"{column} = ANY (ARRAY(SELECT jsonb_array_elements_text(?0::jsonb)))",
    )


@cache
def in_numbers(column: str) -> str:
    """As `in_list`, for a column of whole numbers."""
    return either(
        f"{column} IN (SELECT value FROM json_each(?))",
        f"{column} = ANY (ARRAY(SELECT jsonb_array_elements_text(?0::jsonb)::bigint))",
    )


@cache
def listed(alias: str) -> str:
    """The texts of a `list_parameter` as a table with the column ``value``."""
    return either(
        f"json_each(?) AS {alias}", f"jsonb_array_elements_text(?0::jsonb) AS {alias}(value)"
    )


@cache
def listed_numbers(alias: str) -> str:
    """As `listed`, for whole numbers."""
    return either(
        f"json_each(?) AS {alias}",
        "(SELECT element::bigint AS value FROM jsonb_array_elements_text(?0::jsonb) AS element) "
        f"AS {alias}",
    )


@cache
def listed_rows(alias: str, *columns: str) -> str:
    """The rows of a `list_parameter` of lists of texts as a table with these columns."""
    fields = (f"json_extract(value, '$[{place}]') AS {name}" for place, name in enumerate(columns))
    others = (f"value ->> {place} AS {name}" for place, name in enumerate(columns))
    return either(
        f"(SELECT {', '.join(fields)} FROM json_each(?)) AS {alias}",
        f"(SELECT {', '.join(others)} FROM jsonb_array_elements(?0::jsonb) AS value) AS {alias}",
    )


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


@cache
def gathered(*columns: str) -> str:
    """Aggregate columns of all rows of a group into one JSON list of lists."""
    return either(
        f"json_group_array(json_array({', '.join(columns)}))",
        f"coalesce(jsonb_agg(jsonb_build_array({', '.join(columns)})), '[]')::text",
    )


@cache
def holds_text(column: str) -> str:
    """The condition that a text, its parameter, is part of a column; also of binary values."""
    return either(f"instr({column}, ?)", f"holds_part({column}, ?0)")


@cache
def same(value: str, other: str) -> str:
    """The condition that two values are equal or both NULL; one of them may be a parameter."""
    return either(f"{value} IS {other}", f"{value} IS NOT DISTINCT FROM {other}".replace("?", "?0"))


def octets(column: str) -> str:
    """The length of a binary value in bytes."""
    return f"length({column})"


def is_object(column: str) -> str:
    """The condition that a text is a JSON object."""
    return either(
        f"iif(json_valid({column}), json_type({column}), '') = 'object'",
        f"{column} IS JSON OBJECT",
    )


def within_scope(column: str, selector: Scope) -> Condition:
    """The condition that a scope, in canonical form, has every label of ``selector``."""
    return _within(column), [scope_key(selector)]


@cache
def _within(column: str) -> str:
    sqlite = f"""
        NOT EXISTS (
            SELECT 1 FROM json_each(?) AS asked WHERE NOT EXISTS (
                SELECT 1 FROM json_each({column}) AS held
                WHERE held.key = asked.key AND held.value = asked.value
            )
        )
    """
    return either(sqlite, f"{column}::jsonb @> ?0::jsonb")


def shortcut(condition: Condition) -> Condition:
    """A condition that only SQLite looks at: it excludes nothing that others do not exclude."""
    sql, parameters = condition
    return either(sql, "TRUE"), parameters
