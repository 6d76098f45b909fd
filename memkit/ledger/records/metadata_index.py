"""Where metadata is looked up: one row for each key and value that a record has.

The table answers no filter by itself. It gives the records among which those that pass must be;
`memkit.ledger.records.filters` judges them. So long strings are cut, and how deep a key lies
is not kept.
Triggers keep it in step with ``records``, whoever writes those.
"""

# ruff: noqa: S608 - only constants are formatted into the SQL; what users say is a parameter

from __future__ import annotations

import json
from collections.abc import Sequence

CUT = 64  # characters of a string that are looked up

# NULL, lists and objects have no value; a key they have as well.
_VALUE = (
    f"CASE {{0}}.type WHEN 'text' THEN substr({{0}}.atom, 1, {CUT}) "
    "ELSE coalesce({0}.atom, x'') END"
)
_TERMS = f"SELECT DISTINCT node.key, {_VALUE.format('node')}, {{0}}.rowid"
_NODES = "json_tree({0}.metadata) AS node WHERE typeof(node.key) = 'text'"  # none in a list
_NEW, _OLD = (f"{_TERMS.format(row)} FROM {_NODES.format(row)}" for row in ("new", "old"))
_ADD = f"INSERT INTO metadata_terms {_NEW};"
_REMOVE = f"DELETE FROM metadata_terms WHERE (key, value, record) IN ({_OLD});"

MIGRATION = (
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
    f"INSERT INTO metadata_terms {_TERMS.format('records')} "
    f"FROM records, {_NODES.format('records')}",
)

# All rows that the table is to have.
ALL = (
    f"{_TERMS.format('records')} FROM records, json_tree("
    "iif(json_valid(records.metadata), records.metadata, '{}')) AS node "
    "WHERE typeof(node.key) = 'text'"
)

Lookup = tuple[str, list[object]]  # SQL that gives records, with its parameters

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
