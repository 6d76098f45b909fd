"""The metadata of records in SQL: an index of keys and values, and comparisons.

The index, a table with one row for each key and value that a record has, answers no filter by
itself. It gives the records among which those that pass must be, and the comparison judges them.
So long strings are cut, and how deep a key lies is not kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from memkit.ledger.engine.dialect import Condition, either, in_list, list_parameter

CUT = 64  # characters of a string that are looked up

# NULL, lists and objects have no value; a key they have as well.
_VALUE = (
    f"CASE {{0}}.type WHEN 'text' THEN substr({{0}}.atom, 1, {CUT}) "
    "ELSE coalesce({0}.atom, x'') END"
)
_ELEMENTS = "json_each(CASE {0}.type WHEN 'array' THEN {0}.value ELSE '[]' END)"
_KEYED = "WHERE typeof(node.key) = 'text'"  # what is in a list has no key of its own


def _terms(row: str, nodes: str) -> str:
    """The rows that metadata is to have: for each key its value, and what is in it if a list."""
    return (
        f"SELECT node.key, {_VALUE.format('node')}, {row}.number FROM {nodes} {_KEYED} "
        f"UNION SELECT node.key, {_VALUE.format('element')}, {row}.number "
        f"FROM {nodes}, {_ELEMENTS.format('node')} AS element {_KEYED}"
    )


_NEW, _OLD = (_terms(row, f"json_tree({row}.metadata) AS node") for row in ("new", "old"))
_ADD = f"INSERT INTO metadata_terms {_NEW};"
_REMOVE = f"DELETE FROM metadata_terms WHERE (key, value, record) IN ({_OLD});"

# Triggers keep the table in step with ``records``, whoever writes those.
TABLES = (
    """
    CREATE TABLE metadata_terms (
        key TEXT NOT NULL,
        value NOT NULL,
        record INTEGER NOT NULL,
        PRIMARY KEY (key, value, record)
    ) WITHOUT ROWID
    """,
    f"CREATE TRIGGER terms_added AFTER INSERT ON records BEGIN {_ADD} END",
    f"CREATE TRIGGER terms_removed AFTER DELETE ON records BEGIN {_REMOVE} END",
    f"""
    CREATE TRIGGER terms_changed AFTER UPDATE OF metadata ON records BEGIN
        {_REMOVE} {_ADD}
    END
    """,
)

# All rows that the table is to have.
ALL = _terms(
    "records",
    "records, json_tree(iif(json_valid(records.metadata), records.metadata, '{}')) AS node",
)

Lookup = Condition  # SQL that gives the numbers of records, with its parameters

_ASKED = f"SELECT {_VALUE.format('asked')} FROM json_each(?) AS asked"
# Not strict, as what was cut may be equal. Numbers come before all text, text before x''.
_RANGES = {
    ("$gt", False): f"value >= ({_ASKED}) AND value < ''",
    ("$lt", False): f"value <= ({_ASKED})",
    ("$gt", True): f"value >= ({_ASKED}) AND value < x''",
    ("$lt", True): f"value <= ({_ASKED}) AND value >= ''",
}


def having(keys: Sequence[str]) -> Lookup:
    """The records that have one of the keys, at any depth."""
    return (
        f"SELECT record FROM metadata_terms WHERE {in_list('key')}",
        [list_parameter("keys", keys)],
    )


def having_one_of(keys: Sequence[str], values: Sequence[object]) -> Lookup:
    """The records that may have one of the values under one of the keys."""
    sql, parameters = having(keys)
    return f"{sql} AND value IN ({_ASKED})", [*parameters, _json(values)]


def having_within(keys: Sequence[str], operator: str, bound: float | str) -> Lookup:
    """The records that may have a value on one side of a bound; the operator names the side."""
    sql, parameters = having(keys)
    test = _RANGES[operator[:3], isinstance(bound, str)]
    return f"{sql} AND {test}", [*parameters, _json([bound])]


def combined(word: str, lookups: Sequence[Lookup]) -> Lookup | None:
    """All that several lookups give, or what each of them gives; None for no lookup."""
    if not lookups:
        return None
    sql = f" {word} ".join(f"SELECT record FROM ({sql})" for sql, _ in lookups)
    return sql, [parameter for _, own in lookups for parameter in own]


def _json(values: Sequence[object]) -> str:
    # As the stored values were written, so that numbers are read alike.
    return json.dumps(list(values), ensure_ascii=False)


# The JSON types of SQLite, by the names that filters give them.
_KIND = (
    "CASE {0}.type WHEN 'integer' THEN 'number' WHEN 'real' THEN 'number' "
    "WHEN 'text' THEN 'string' ELSE {0}.type END"
)


# What a filter's key leads to: the rows of `reached` without a rest. A full stop in it leads into
# an object, or is part of a key.
_REACHED = """
    WITH RECURSIVE reached(type, value, atom, rest) AS (
        SELECT 'object', {column}, NULL, ?
        UNION ALL
        SELECT node.type, node.value, node.atom,
            CASE WHEN node.key <> reached.rest THEN substr(reached.rest, length(node.key) + 2) END
        FROM reached, json_each(
            CASE WHEN reached.type = 'object' AND rest IS NOT NULL THEN reached.value
            ELSE '{{}}' END
        ) AS node
        WHERE node.key = reached.rest
            OR substr(reached.rest, 1, length(node.key) + 1) = node.key || '.'
    )
    SELECT 1 FROM reached WHERE rest IS NULL AND {test}
"""
_OF_ONE_KEY = "SELECT 1 FROM json_each({column}) AS reached WHERE reached.key = ? AND {test}"
_IN_REACHED = f"SELECT type, atom FROM {_ELEMENTS.format('reached')}"
_HELD = f"SELECT reached.type, reached.atom UNION ALL {_IN_REACHED}"
_COMPARES = (
    "EXISTS (SELECT 1 FROM json_each(?) AS asked, ({held}) AS held "
    f"WHERE {_KIND.format('held')} = {_KIND.format('asked')} AND held.atom {{sign}} asked.atom)"
)
_HAS_PART = (
    "reached.type = 'text' AND EXISTS (SELECT 1 FROM json_each(?) AS asked "
    "WHERE asked.type = 'text' AND instr(reached.atom, asked.atom))"
)
# An operator of filters that holds if there is a value, and its test of that value.
_TESTS = {
    "$exists": "TRUE",
    "$in": _COMPARES.format(held=_HELD, sign="IS"),  # NULL is NULL
    "$contains": f"({_COMPARES.format(held=_IN_REACHED, sign='IS')} OR {_HAS_PART})",
    "$gt": _COMPARES.format(held=_HELD, sign=">"),
    "$gte": _COMPARES.format(held=_HELD, sign=">="),
    "$lt": _COMPARES.format(held=_HELD, sign="<"),
    "$lte": _COMPARES.format(held=_HELD, sign="<="),
}


def comparison(column: str, key: str, operator: str, choices: Sequence[object]) -> Condition:
    """The condition that metadata has a value at a key, and that an operator holds for it.

    ``json_each`` compares whole keys, whatever characters they hold; SQLite's JSON paths have
    no way to quote some.

    Args:
        column: Holds the metadata as JSON text.
        key: As in a filter; see `memkit.ledger.records.filters`.
        operator: One of `_TESTS`.
        choices: It has to hold for one of them.
    """
    test = _TESTS[operator]
    form = _REACHED if "." in key else _OF_ONE_KEY
    choices_asked = test.count("?")
    parameters: list[object] = [key, *[_json(choices)] * choices_asked]
    return (
        either(
            f"EXISTS ({form.format(column=column, test=test)})",
            f"metadata_holds({column}, ?0, '{operator}', {'?1' if choices_asked else 'NULL'})",
        ),
        parameters,
    )
