"""Which record a draft is about: one of the same key, or one that says the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from memkit.errors import InvalidInputError
from memkit.ledger.engine.database import Database
from memkit.ledger.engine.dialect import THEN_JOIN, list_parameter, listed_rows
from memkit.ledger.records.question_key import question_key
from memkit.ledger.records.record_rows import Entry, content_hash, dump_metadata
from memkit.ledger.records.where import LIVE
from memkit.types.validate import check_metadata

_COLUMNS = (
    "records.number, records.id, records.scope, records.key, records.content_hash, records.text, "
    "records.question, records.answer, records.metadata, records.said_at"
)
_SAME_TEXT = "substr(records.text, 1, 64) = substr(draft.text, 1, 64) AND records.text = draft.text"


@dataclass(frozen=True)
class Stored:
    """As much of a record as it takes to tell which drafts are about it, and what they change."""

    id: str
    scope: str
    key: str | None
    content_hash: str
    text: str
    question: str | None
    answer: str | None
    metadata: str
    said_at: float | None

    @classmethod
    def of(cls, id: str, key: str | None, entry: Entry) -> Self:
        """What is stored of an entry."""
        draft = entry.draft
        return cls(id, entry.scope, key, entry.content_hash, draft.text, draft.question,
                   draft.answer, entry.metadata, entry.said_at)  # fmt: skip

    def restated(self, entry: Entry, *, enrich: bool) -> Entry | None:
        """What this record says once an entry of the same text was added.

        It gets the question and answer that it lacks. If it is enriched, it also gets the
        metadata and the time of the entry; of equal keys the later value stays.

        Returns:
            None if the text is another one, or the answer: then the entry takes its place.
        """
        draft = entry.draft
        both = self.question is not None and draft.question is not None
        if draft.text != self.text or (both and entry.content_hash != self.content_hash):
            return None
        question, answer = draft.question, draft.answer
        if question is None:
            question, answer = self.question, self.answer
        metadata, said_at = self.metadata, self.said_at
        if enrich:
            metadata = self._merged(entry)
            said_at = said_at if entry.said_at is None else entry.said_at
        return replace(
            entry,
            draft=replace(draft, question=question, answer=answer),
            content_hash=content_hash(draft.text, question, answer),
            metadata=metadata,
            said_at=said_at,
        )

    @property
    def is_named(self) -> bool:
        """Whether somebody gave it a key; otherwise it has that of its question, or none."""
        made = None if self.question is None else question_key(self.question)
        return self.key is not None and self.key != made

    def _merged(self, entry: Entry) -> str:
        """Its metadata and that of an entry: each of them is fine, both together may not be."""
        try:
            both = {**json.loads(self.metadata), **json.loads(entry.metadata)}
            return dump_metadata(check_metadata(both))
        except InvalidInputError as exc:
            raise InvalidInputError(
                f"record {self.id!r} says the same already, and its metadata does not go with "
                f"what was given: {exc.message}",
                "update(id, metadata=...) replaces all of its metadata.",
            ) from exc

    def says(self, entry: Entry) -> bool:
        """Whether it is what an entry of the same record would make of it."""
        own = self.content_hash, self.metadata, self.said_at
        return own == (entry.content_hash, entry.metadata, entry.said_at)


class Known:
    """The records that some drafts may be about; kept in step while the drafts are stored."""

    def __init__(self, records: Iterable[Stored]) -> None:
        self._by_key: dict[tuple[str, str], Stored] = {}
        self._by_content: dict[tuple[str, str], list[Stored]] = {}
        self._by_text: dict[tuple[str, str], list[Stored]] = {}
        for record in records:
            self.note(record)

    @classmethod
    def of(cls, database: Database, entries: Sequence[Entry], *, condition: str = LIVE) -> Self:
        """Look up the records that entries may be about, oldest first."""
        same_scope = (
            f"SELECT {_COLUMNS} "
            f"FROM {listed_rows('draft', 'scope', 'content_hash', 'key', 'text')} "
            f"{THEN_JOIN} records ON records.scope = draft.scope"
        )
        drafts = [
            [entry.scope, entry.content_hash, entry.key, entry.draft.text] for entry in entries
        ]
        rows = database.rows(
            f"{same_scope} AND records.content_hash = draft.content_hash WHERE {condition} "
            f"UNION {same_scope} AND records.key = draft.key WHERE {condition} "
            f"UNION {same_scope} AND {_SAME_TEXT} WHERE {condition} ORDER BY 1",
            *[list_parameter("drafts", drafts)] * 3,
        )
        return cls(Stored(*row[1:]) for row in rows)

    @property
    def ids(self) -> list[str]:
        """The ids of the records."""
        return [record.id for alike in self._by_content.values() for record in alike]

    def match(self, entry: Entry) -> Stored | None:
        """Give the record that an entry is about; None if it is about nothing known.

        A key that was given decides. Otherwise an id that was given does: what has another id is
        another record. A record that says the same and has no key of its own counts for any key.
        Without a key, what says the same comes first, then an answer to the same question, then
        the same text of which one of the two has a question and the other has none.
        """
        named = self._by_key.get((entry.scope, entry.key)) if entry.key is not None else None
        alike = self._by_content.get((entry.scope, entry.content_hash), [])
        same_text = [
            record
            for record in self._by_text.get((entry.scope, entry.draft.text), [])
            if (record.question is None) != (entry.draft.question is None)
        ]
        if entry.draft.key is not None:
            if named is not None:
                return named
            about = [record for record in [*alike, *same_text] if not record.is_named]
        else:
            about = [*alike, *([named] if named is not None else []), *same_text]
        id = entry.draft.id
        return next((record for record in about if id in {None, record.id}), None)

    def is_taken(self, entry: Entry) -> bool:
        """Whether a record has the key of an entry or, as it has none, the same content."""
        if entry.key is not None:
            return (entry.scope, entry.key) in self._by_key
        alike = self._by_content.get((entry.scope, entry.content_hash), [])
        return any(record.key is None for record in alike)

    def note(self, record: Stored) -> None:
        """Take a record in."""
        if record.key is not None:
            self._by_key[record.scope, record.key] = record
        self._by_content.setdefault((record.scope, record.content_hash), []).append(record)
        self._by_text.setdefault((record.scope, record.text), []).append(record)

    def forget(self, record: Stored) -> None:
        """Let a record go that is about to change."""
        if record.key is not None:
            del self._by_key[record.scope, record.key]
        self._by_content[record.scope, record.content_hash].remove(record)
        self._by_text[record.scope, record.text].remove(record)
