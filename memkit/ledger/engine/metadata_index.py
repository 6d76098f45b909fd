"""The metadata of records in SQL: an index of keys and values, and comparisons.

The index, a table with one row for each key and value that a record has, answers no filter by
itself. It gives the records among which those that pass must be, and the comparison judges them.
So long strings are cut, and how deep a key lies is not kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from memkit.ledger.engine.dialect import Condition

CUT = 64  # characters of a string that are looked up

# NULL, lists and objects have no value; a key they have as well.
_VALUE = (
    f"CASE {{0}}.type WHEN 'text' THEN substr({{0}}.atom, 1, {CUT}) "
    "ELSE coalesce({0}.atom, x'') END"
)
_TERMS = f"SELECT DISTINCT node.key, {_VALUE.format('node')}, {{0}}.number"
_NODES = "json_tree({0}.metadata) AS node WHERE typeof(node.key) = 'text'"  # none in a list
_NEW, _OLD = (f"{_TERMS.format(row)} FROM {_NODES.format(row)}" for row in ("new", "old"))
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
ALL = (
    f"{_TERMS.format('records')} FROM records, json_tree("
    "iif(json_valid(records.metadata), records.metadata, '{}')) AS node "
    "WHERE typeof(node.key) = 'text'"
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


def having(key: str) -> Lookup:
    """The records that have a key, at any depth."""
    return "SELECT record FROM metadata_terms WHERE key = ?", [key]


def having_one_of(key: str, values: Sequence[object]) -> Lookup:
    """The records that may have one of the values under a key."""
    sql, parameters = having(key)
    return f"{sql} AND value IN ({_ASKED})", [*parameters, _json(values)]


def having_within(key: str, operator: str, bound: float | str) -> Lookup:
    """The records that may have a value on one side of a bound; the operator names the side."""
    sql, parameters = having(key)
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


def comparison(
    column: str, path: Sequence[str], sign: str | None, choices: Sequence[object]
) -> Condition:
    """The condition that metadata has a value at a path, and that it compares with a choice.

    ``json_each`` compares whole keys, whatever characters they hold; SQLite's JSON paths have
    no way to quote some.

    Args:
        column: Holds the metadata as JSON text.
        path: Keys from the outside in.
        sign: "=", "<" and so on, between values of one JSON type; None if any value will do.
        choices: One of them has to compare.
    """
    sources, tests, parameters = [], [], list[object]()
    for level, key in enumerate(path):
        sources.append(f"json_each({column}) AS at{level}")
        tests.append(f"at{level}.key = ?")
        parameters.append(key)
        column = f"CASE at{level}.type WHEN 'object' THEN at{level}.value ELSE '{{}}' END"
    if sign is not None:
        value = f"at{len(path) - 1}"
        tests.append(
            "EXISTS (SELECT 1 FROM json_each(?) AS asked "
            f"WHERE {_KIND.format(value)} = {_KIND.format('asked')} "
            f"AND {value}.atom {'IS' if sign == '=' else sign} asked.atom)"  # NULL is NULL
        )
        parameters.append(_json(choices))
    return f"EXISTS (SELECT 1 FROM {', '.join(sources)} WHERE {' AND '.join(tests)})", parameters
