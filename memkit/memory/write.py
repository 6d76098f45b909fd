"""Stores, notes and rewrites knowledge; each call writes all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from memkit.errors import InvalidInputError
from memkit.ledger.turns.turn_table import check_turn
from memkit.memory.engine import Engine
from memkit.memory.erasure import remove
from memkit.memory.options import DraftOptions, TurnOptions, draft_of, refuse_unknown
from memkit.types import Draft, Metadata, Record, Role, Scope, Turn
from memkit.types.drafts import DraftLike, drafts_of
from memkit.types.validate import check_text, validate_draft


def store(
    engine: Engine, texts: DraftLike | Iterable[DraftLike], options: DraftOptions
) -> Record | list[Record]:
    """Add one record or several, and bring them to the backends."""
    drafts, single = drafts_of(texts, draft_of(options))
    prepare(engine, drafts)
    with engine.ledger.transaction():
        records = write(engine, drafts)
    return records[0] if single else records


def note(engine: Engine, role: Role, content: str, options: TurnOptions) -> Turn:
    """Add a turn and, if it is to be remembered, a record of the same content."""
    refuse_unknown(options, TurnOptions)
    scope, name, at = options.get("scope", {}), options.get("name"), options.get("at")
    check_turn(role, content)
    if name is not None:
        check_text("name", name)
    drafts = []
    if options.get("remember", True) and role != "system":
        speaker = {"role": role} if name is None else {"role": role, "name": name}
        drafts = [Draft(content, scope=scope, metadata=speaker, at=at)]
    prepare(engine, drafts)
    with engine.ledger.transaction():
        ids = [record.id for record in write(engine, drafts)]
        record_id = ids[0] if ids else None
        return engine.ledger.turns.add(role, content, scope, record_id=record_id, name=name, at=at)


def prepare(engine: Engine, drafts: Sequence[Draft]) -> None:
    """Check drafts and let backends embed the new ones: that takes too long for a lock."""
    known = engine.ledger.records.find_duplicates(drafts)
    fresh = [draft for draft, record in zip(drafts, known, strict=True) if record is None]
    for backend in engine.backends if fresh else ():
        backend.prepare(fresh)


def write(engine: Engine, drafts: Sequence[Draft]) -> list[Record]:
    """Add prepared drafts and bring what is new to the backends, inside a transaction."""
    ledger = engine.ledger
    expired = ledger.records.conflicting(drafts)
    if expired:
        remove(ledger, expired, engine.backends)
    known = ledger.records.find_duplicates(drafts)  # others may have written meanwhile
    records = ledger.records.add(drafts)
    fresh = {
        record.id: record for record, before in zip(records, known, strict=True) if before is None
    }
    for backend in engine.backends if fresh else ():
        backend.write(list(fresh.values()))
    return records


@dataclass(frozen=True)
class Changes:
    """What a new version of a record says differently; None stays as it is."""

    text: str | None
    question: str | None
    answer: str | None
    metadata: Metadata | None

    def of(self, old: Record) -> Draft:
        """The new version.

        Raises:
            InvalidInputError: If it cannot be stored, or if the old answer would stay although
                the new text lacks it.
        """
        draft = Draft(
            text=old.text if self.text is None else self.text,
            question=old.question if self.question is None else self.question,
            answer=old.answer if self.answer is None else self.answer,
            metadata=old.metadata if self.metadata is None else self.metadata,
        )
        validate_draft(draft)
        stays = old.answer if self.answer is None else None
        if stays is not None and stays in old.text and stays not in draft.text:
            raise InvalidInputError(
                f"the new `text` does not contain {stays!r}, the answer to {draft.question!r}",
                hint="give the new `answer` as well",
            )
        return draft


def rewrite(engine: Engine, id: str, changes: Changes, *, scope: Scope | None) -> Record:
    """Write a new version of a record and bring it to the backends."""
    records = engine.ledger.records
    while True:
        old = records.get([id], scope=scope)[0]
        draft = changes.of(old)
        for backend in engine.backends:
            backend.prepare([draft])
        with engine.ledger.transaction():
            if records.get([id])[0].version != old.version:
                continue  # somebody else has updated it meanwhile; do not undo that
            record = records.update(
                id,
                text=draft.text,
                question=draft.question,
                answer=draft.answer,
                metadata=draft.metadata,
            )
            for backend in engine.backends:
                backend.write([record])
            return record
