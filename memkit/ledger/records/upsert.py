"""Which record a draft is about: one of the same key, or one that says the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Self

from memkit.errors import InvalidInputError
from memkit.ledger.engine.database import Database
from memkit.ledger.engine.dialect import THEN_JOIN, list_parameter, listed_rows
from memkit.ledger.records.question_key import is_made, marked_key, marked_range, question_key
from memkit.ledger.records.record_rows import Entry, content_hash, dump_metadata
from memkit.ledger.records.where import LIVE
from memkit.types import Record
from memkit.types.validate import check_metadata

_COLUMNS = (
    "records.number, records.id, records.scope, records.key, records.content_hash, records.text, "
    "records.question, records.answer, records.metadata, records.said_at"
)
_ASKED = "scope", "content_hash", "key", "text", "marked", "beyond"
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
        return not is_made(self.key, self.question, self.id)

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
        self._by_question: dict[tuple[str, str], list[Stored]] = {}
        for record in records:
            self.note(record)

    @classmethod
    def of(cls, database: Database, entries: Sequence[Entry], *, condition: str = LIVE) -> Self:
        """Look up the records that entries may be about, oldest first."""
        same_scope = (
            f"SELECT {_COLUMNS} "
            f"FROM {listed_rows('draft', *_ASKED)} "
            f"{THEN_JOIN} records ON records.scope = draft.scope"
        )
        drafts = [
            [entry.scope, entry.content_hash, entry.key, entry.draft.text, *_marked(entry)]
            for entry in entries
        ]
        rows = database.rows(
            f"{same_scope} AND records.content_hash = draft.content_hash WHERE {condition} "
            f"UNION {same_scope} AND records.key = draft.key WHERE {condition} "
            f"UNION {same_scope} AND records.key >= draft.marked AND records.key < draft.beyond "
            f"WHERE {condition} "
            f"UNION {same_scope} AND {_SAME_TEXT} WHERE {condition} ORDER BY 1",
            *[list_parameter("drafts", drafts)] * 4,
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
        the same text of which one of the two has a question and the other has none. Of several
        it is the one with the lowest id, whichever was there first.
        """
        draft = entry.draft
        alike = self._by_content.get((entry.scope, entry.content_hash), [])
        same_text = [
            record
            for record in self._by_text.get((entry.scope, draft.text), [])
            if (record.question is None) != (draft.question is None)
        ]
        if draft.key is not None:
            named = self._by_key.get((entry.scope, draft.key))
            if named is not None:
                return named
            groups = [[record for record in group if not record.is_named]
                      for group in (alike, same_text)]  # fmt: skip
        else:
            groups = [alike, self._answers(entry), same_text]
        about = [record for group in groups for record in sorted(group, key=attrgetter("id"))]
        return next((record for record in about if draft.id in {None, record.id}), None)

    def _answers(self, entry: Entry) -> list[Stored]:
        """The records that answer the question of an entry, and have no key of their own."""
        if entry.key is None:
            return []
        return [
            record
            for record in self._by_question.get((entry.scope, entry.key), [])
            if not record.is_named
        ]

    def free_key(self, scope: str, record: Stored) -> str | None:
        """Give the key to store of a record to which nobody gave one."""
        made = None if record.question is None else question_key(record.question)
        if made is not None:
            taken = (scope, made) in self._by_key
        else:
            alike = self._by_content.get((scope, record.content_hash), [])
            taken = any(other.key is None for other in alike)
        return marked_key(record.question, record.id) if taken else made

    def twin(self, entry: Entry, record: Record, *, same_question: bool) -> Stored | None:
        """Give another record that an entry would make a record the same as; none has a key.

        Args:
            entry: What the record, which has no key of its own either, is about to say.
            record: It, as it is now.
            same_question: Whether it goes on answering its question, maybe beside others.
        """
        alike = self._by_content.get((entry.scope, entry.content_hash), [])
        twins = [other for other in alike if not other.is_named]
        if not same_question:
            twins += self._answers(entry)
            twins += [other for key, other in self._by_key.items() if key[1] == entry.key]
        return next((other for other in twins if other.id != record.id), None)

    def key_after(self, record: Stored, entry: Entry) -> str | None:
        """Give the key to store of a record, which was let go, once it says what an entry says."""
        question = entry.draft.question
        if record.is_named or is_made(record.key, question, record.id):
            return record.key
        return self.free_key(record.scope, Stored.of(record.id, None, entry))

    def note(self, record: Stored) -> None:
        """Take a record in."""
        for group, key in self._groups(record):
            group.setdefault((record.scope, key), []).append(record)
        if record.key is not None:
            self._by_key[record.scope, record.key] = record

    def forget(self, record: Stored) -> None:
        """Let a record go that is about to change."""
        for group, key in self._groups(record):
            group[record.scope, key].remove(record)
        if record.key is not None:
            del self._by_key[record.scope, record.key]

    def _groups(self, record: Stored) -> list[tuple[dict[tuple[str, str], list[Stored]], str]]:
        groups = [(self._by_content, record.content_hash), (self._by_text, record.text)]
        if record.question is not None:
            groups.append((self._by_question, question_key(record.question)))
        return groups


def _marked(entry: Entry) -> tuple[str, str] | tuple[None, None]:
    """Where the marked keys of the question of an entry are; nowhere if it has a key."""
    if entry.key is None or entry.draft.key is not None:
        return None, None
    return marked_range(entry.key)
