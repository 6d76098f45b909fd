"""What callers give as a JSON schema, as a constraint on the answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from memkit.errors import InvalidInputError
from memkit.types import Constraint
from memkit.types.validate import describe

Schema = Mapping[str, Any] | type

# Beside these, what an object may hold is not said by its own properties alone.
_OPEN = frozenset(
    {
        *("$ref", "additionalProperties", "allOf", "anyOf", "oneOf", "patternProperties"),
        *("propertyNames", "minProperties", "maxProperties", "unevaluatedProperties"),
    }
)

# Where a schema has others: under names, in a list, alone.
_NAMED = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_LISTED = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SINGLE = frozenset({"items", "additionalProperties", "contains"})


def constraint_of(schema: Schema | None) -> Constraint | None:
    """The constraint that a schema is; None without one.

    An object whose schema names properties gets no others, unless the schema speaks of them: a
    model could add some forever, and whoever reads the answer does not expect them.

    Args:
        schema: A JSON schema, or a class with ``model_json_schema``, as Pydantic's have.

    Raises:
        InvalidInputError: If it is neither.
    """
    return None if schema is None else Constraint(closed(schema, "schema"))


def closed(schema: object, name: str) -> str:
    """A schema as JSON, with its objects closed.

    Args:
        schema: See `constraint_of`.
        name: Of the argument, for errors.
    """
    if isinstance(schema, type) and hasattr(schema, "model_json_schema"):
        schema = schema.model_json_schema()
    if not isinstance(schema, Mapping):
        raise InvalidInputError(
            f"`{name}` must be a JSON schema or a class of Pydantic, got {describe(schema)}",
            hint='like {"type": "object", "properties": {"name": {"type": "string"}}}',
        )
    try:
        plain = json.loads(json.dumps(schema, allow_nan=False))
        text = json.dumps(_closed(plain), ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:  # of Unicode, too
        raise InvalidInputError(
            f"`{name}` must be JSON, got {describe(schema)}: {error}"
        ) from error
    return text


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Close the objects that name their properties, unless several schemas describe one."""
    nodes = list(_nodes(schema))
    if any(
        len(node.get("allOf", ())) > 1 or len({"$ref", "properties"} & node.keys()) > 1
        for node in nodes
    ):
        return schema
    for node in nodes:
        named = node.get("properties")
        if not isinstance(named, dict) or not _OPEN.isdisjoint(node):
            continue
        if set(node.get("required", ())) <= named.keys():
            node["additionalProperties"] = False
    return schema


def _nodes(schema: object) -> Iterator[dict[str, Any]]:
    """All schemas within a schema, itself included; never the names of properties."""
    if not isinstance(schema, dict):
        return
    yield schema
    for key, value in schema.items():
        inner: Iterable[object] = ()
        if key in _NAMED and isinstance(value, dict):
            inner = value.values()
        elif key in _LISTED and isinstance(value, list):
            inner = value
        elif key in _SINGLE:
            inner = [value]
        for part in inner:
            yield from _nodes(part)
