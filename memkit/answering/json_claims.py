"""What an answer in JSON says, as words that can be compared with what is stored."""

from __future__ import annotations

import json


def values_in(text: str) -> str:
    r"""The values of a JSON text, each on a line, without the names of fields.

    Numbers stay as they are written: of digits there may be more than Python makes a number of.

    Example:
        >>> values_in('{"name": "Nora", "extensions": [4417, 4502], "away": false}')
        'Nora\n4417\n4502'
    """
    return "\n".join(_values(json.loads(text, parse_int=str, parse_float=str)))


def _values(value: object) -> list[str]:
    if isinstance(value, dict):
        return [each for inner in value.values() for each in _values(inner)]
    if isinstance(value, list):
        return [each for inner in value for each in _values(inner)]
    if isinstance(value, bool) or value is None:  # what they say is in the name of the field
        return []
    return [str(value)]
