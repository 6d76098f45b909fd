"""Archives as tests write and read them: without memkit's help, whatever they say."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import zstandard

from memkit import Memory

Entry = dict[str, Any]

_NUMBERS = {"number", "record", "synthesis"} | {"checksum"}  # which is of numbers, too
_TABLES = {
    "records": "SELECT * FROM records ORDER BY number",
    "versions": "SELECT * FROM versions ORDER BY record, version",
    "turns": "SELECT turns.*, records.id AS of FROM turns LEFT JOIN records "
    "ON records.number = turns.record ORDER BY turns.number",
    "items": "SELECT items.*, hex(vector) FROM items LEFT JOIN item_vectors "
    "ON item = items.number ORDER BY items.number, position",
    "ttls": "SELECT * FROM ttls ORDER BY scope",
    "examples": "SELECT syntheses.*, examples.*, records.id FROM syntheses "
    "JOIN records ON records.number = record "
    "LEFT JOIN examples ON synthesis = syntheses.number "
    "ORDER BY syntheses.number, position",
}


def content(memory: Memory) -> dict[str, list[Entry]]:
    """All that an export has to carry, read from SQLite itself."""
    file = memory._engine.ledger.directory / "ledger.sqlite3"  # noqa: SLF001 - no verb shows it
    with sqlite3.connect(file) as connection:
        connection.row_factory = sqlite3.Row
        found = {name: list(map(dict, connection.execute(sql))) for name, sql in _TABLES.items()}
    connection.close()
    return {
        name: [{k: v for k, v in row.items() if k not in _NUMBERS} for row in rows]
        for name, rows in found.items()
    }


def lines(path: Path) -> list[Entry]:
    """The lines of an archive."""
    with path.open("rb") as file:
        data = zstandard.ZstdDecompressor().stream_reader(file).read()
    return [json.loads(line) for line in data.decode().split("\n") if line]


def forge(path: Path, entries: Iterable[Any]) -> Path:
    """Write an archive with a right checksum, whatever it says."""
    data = b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)
    end = {"kind": "end", "sha256": hashlib.sha256(data).hexdigest()}
    path.write_bytes(zstandard.compress(data + json.dumps(end).encode() + b"\n"))
    return path


def archive(path: Path, *entries: Entry) -> Path:
    """Write an archive of these entries, with a right first line."""
    counts = Counter(entry["kind"] for entry in entries)
    return forge(path, [header(counts=dict(counts)), *entries])


def header(**changes: object) -> Entry:
    """A first line."""
    return {"format": "memkit archive", "version": 1, "memkit": "0", "counts": {}} | changes


def record(**changes: object) -> Entry:
    """A record without anything special."""
    names = "id scope text question answer metadata created_at updated_at version key expires_at"
    one: Entry = dict.fromkeys(names.split()) | {"kind": "record", "pinned": False, "said_at": None}
    one |= {"id": "r", "scope": {}, "text": "Said.", "metadata": {}, "version": 1}
    return one | {"created_at": 1.5, "updated_at": 2} | changes


def version(**changes: object) -> Entry:
    """An older version of the record before it."""
    one: Entry = {"kind": "version", "version": 1, "text": "Said once.", "metadata": {}}
    one |= {"question": None, "answer": None, "created_at": 1, "said_at": None}
    return one | changes


def turn(**changes: object) -> Entry:
    """A turn without a record."""
    one: Entry = {"kind": "turn", "id": "t", "scope": {}, "role": "user", "content": "Hi."}
    one |= {"created_at": 1, "added_at": 1, "expires_at": None, "source": None, "name": None}
    return one | {"record": None} | changes


def item(**changes: object) -> Entry:
    """An empty item that stays."""
    one: Entry = {"kind": "item", "namespace": "a", "key": "k", "scope": {}, "value": {}}
    one |= {"created_at": 1, "updated_at": 1, "expires_at": None, "ttl": None, "vectors": []}
    return one | changes


def ttl(**changes: object) -> Entry:
    """A default time to live."""
    return {"kind": "ttl", "scope": {}, "seconds": 60} | changes
