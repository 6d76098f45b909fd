"""Entries of a file beside the columns that they become."""

from __future__ import annotations

import json
from typing import Any

from memkit.ledger.records.record_rows import content_hash, dump_metadata
from memkit.ledger.transfer.export import Entry, Kind
from memkit.types.scope import scope_key


def digest_of(entry: Entry) -> str:
    """The checksum of what a record or a version says."""
    return content_hash(entry["text"], entry["question"], entry["answer"])


def same_entry(kind: Kind, entry: Entry, stored: Entry) -> bool:
    """Whether an entry says what is here."""
    return stored_values(kind, entry) == stored_values(kind, stored)


def stored_values(kind: Kind, entry: Entry) -> tuple[Any, ...]:
    """The columns of an entry, as they are stored."""
    return tuple(_column(name, entry[name]) for name in kind.columns)


def _column(name: str, value: Any) -> Any:  # noqa: ANN401 - the column decides
    if name == "scope":
        return scope_key(value)
    if name == "metadata":
        return dump_metadata(value)
    return json.dumps(value, ensure_ascii=False) if name == "value" else value
