"""Records as rows, and drafts as the rows that they will be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from memkit.errors import CorruptFileError, InvalidInputError
from memkit.ledger.engine.checksums import verify
from memkit.ledger.engine.database import Row
from memkit.ledger.engine.readable import as_text, readable, whole_number
from memkit.ledger.records.question_key import question_key, shown_key
from memkit.types import Draft, Metadata, Record, Version
from memkit.types.scope import parse_scope_key, scope_key
from memkit.types.validate import ttl_seconds, validate_draft

COLUMNS = """
    records.id, records.text, records.question, records.answer, records.scope,
    records.metadata, records.created_at, records.updated_at, records.version,
    records.content_hash, records.key, records.expires_at, records.pinned, records.said_at,
    records.checksum
"""
Content = tuple[str, str | None, str | None]  # text, question, answer
WIDTH = COLUMNS.count(",") + 1


@dataclass(frozen=True)
class Entry:
    """A checked draft, as it would be stored: scope and metadata in canonical form."""

    draft: Draft
    scope: str
    metadata: str
    content_hash: str
    key: str | None  # what the draft is about: its own key, or else its question
    ttl: float | None  # how long it lives by its own word, in seconds
    said_at: float | None  # in seconds since 1970


def entry_of(draft: Draft) -> Entry:
    """Check a draft.

    Raises:
        InvalidInputError: If it cannot be stored.
    """
    draft = validate_draft(draft)
    made = None if draft.question is None else question_key(draft.question)
    if draft.key == made:  # as if it were not given
        draft = replace(draft, key=None)
    return Entry(
        draft=draft,
        scope=scope_key(draft.scope),
        metadata=dump_metadata(draft.metadata),
        content_hash=content_hash(draft.text, draft.question, draft.answer),
        key=made if draft.key is None else draft.key,
        ttl=None if draft.ttl is None else ttl_seconds(draft.ttl),
        said_at=None if draft.at is None else draft.at.timestamp(),
    )


def entries_of(drafts: Sequence[Draft]) -> list[Entry]:
    """Check drafts; the error says which of several is wrong."""
    entries = []
    for place, draft in enumerate(drafts):
        try:
            entries.append(entry_of(draft))
        except InvalidInputError as exc:
            if len(drafts) == 1:
                raise
            message = f"entry {place} of the list: {exc.message}"
            raise InvalidInputError(message, exc.hint) from exc
    return entries


def record_of(row: Row) -> Record:
    """Make a record from a row that starts with `COLUMNS`.

    Raises:
        CorruptFileError: If it does not say what was stored.
    """
    return readable("records", row[0], _record, row)


def _record(row: Row) -> Record:
    id, text, question, answer, scope, metadata, created_at, updated_at, *rest = row[:WIDTH]
    version, digest, key, expires_at, pinned, said_at, checksum = rest
    check_content(id, (text, question, answer), digest)
    record = Record(
        id=as_text(id),
        text=text,
        question=question,
        answer=answer,
        scope=parse_scope_key(scope),
        metadata=json.loads(metadata),
        created_at=datetime.fromtimestamp(created_at, UTC),
        updated_at=datetime.fromtimestamp(updated_at, UTC),
        version=whole_number(version),
        content_hash=digest,
        key=None if key is None else shown_key(as_text(key), question, id),
        expires_at=time_of(expires_at),
        pinned=bool(pinned),
        said_at=time_of(said_at),
    )
    about = id, scope, metadata, created_at, updated_at, version, key, expires_at, pinned, said_at
    verify("records", (*about, checksum))
    return record


def version_of(id: str, row: Row) -> Version:
    """Make an older version of a record from its checked columns."""

    def make(row: Row) -> Version:
        verify("versions", row)
        _, number, *content, metadata, created_at, said_at, _ = row
        text, question, answer = (None if each is None else as_text(each) for each in content)
        at, said = datetime.fromtimestamp(created_at, UTC), time_of(said_at)
        about = json.loads(metadata)
        return Version(id, whole_number(number), as_text(text), question, answer, about, at, said)

    return readable("versions", id, make, row)


def current_version(record: Record) -> Version:
    """Give a record as the last of its versions."""
    return Version(
        record.id,
        record.version,
        record.text,
        record.question,
        record.answer,
        record.metadata,
        record.updated_at,
        record.said_at,
    )


def check_content(id: str, content: Content, digest: str) -> None:
    """Check that a record's text, question and answer are those that were stored.

    Raises:
        CorruptFileError: If they have another checksum.
    """
    if content_hash(*content) != digest:
        raise CorruptFileError(
            f"expected record {id!r} as it was stored, its text has another checksum",
            "Restore a backup, or `forget` the record; `memkit check --repair` takes the text as "
            "it is now.",
        )


def content_hash(text: str, question: str | None, answer: str | None) -> str:
    """SHA-256 over what a record says."""
    # As JSON, so that no two different triples give the same bytes.
    content = json.dumps([text, question, answer], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


def dump_metadata(metadata: Metadata) -> str:
    """Give the text under which metadata is stored."""
    # Sorted, so that equal metadata gives equal text; `default` takes mappings that are no dict.
    return json.dumps(metadata, ensure_ascii=False, sort_keys=True, default=dict)


def time_of(seconds: float | None) -> datetime | None:
    """Make a moment of seconds since 1970."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
