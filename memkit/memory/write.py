"""Stores, notes and rewrites knowledge; each call writes all of it or nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from memkit.errors import InvalidInputError
from memkit.ledger.turns.turn_table import check_turn
from memkit.memory.engine import Engine
from memkit.memory.erasure import remove
from memkit.memory.options import DraftOptions, TurnOptions, draft_of, refuse_unknown
from memkit.types import Draft, Metadata, Record, Role, Scope, Turn, TurnDraft
from memkit.types.drafts import DraftLike, drafts_of
from memkit.types.validate import (
    check_flag,
    check_id,
    check_part,
    check_scope,
    check_time,
    validate_draft,
)


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
    about = {key: value for key, value in options.items() if key != "scope"}
    turn = TurnDraft(role, content, **about)  # type: ignore[arg-type]  # the rest of TurnOptions
    return _note(engine, [_checked(turn)], options.get("scope", {}))[0]


def note_all(engine: Engine, turns: Iterable[TurnDraft], scope: Scope) -> list[Turn]:
    """Add the turns that the conversation does not have yet, with their records."""
    checked = []
    for place, turn in enumerate(turns):
        try:
            checked.append(_checked(turn))
        except InvalidInputError as exc:
            raise InvalidInputError(f"turn {place}: {exc.message}", exc.hint) from exc
    return _note(engine, checked, scope)


def _checked(turn: TurnDraft) -> TurnDraft:
    """A turn that can be stored, its strings in normal form."""
    check_part("turn", turn, TurnDraft, "a `TurnDraft`", "TurnDraft('user', 'Hello!')")
    check_flag("remember", turn.remember)
    if turn.at is not None:
        check_time("at", turn.at)
    return replace(
        turn,
        content=check_turn(turn.role, turn.content),
        name=None if turn.name is None else check_id("name", turn.name),
        id=None if turn.id is None else check_id("id", turn.id),
    )


def _note(engine: Engine, turns: Sequence[TurnDraft], scope: Scope) -> list[Turn]:
    scope = check_scope(scope)
    prepare(engine, [_record_of(turn, scope) for turn in turns if _is_remembered(turn)])
    table = engine.ledger.turns
    with engine.ledger.transaction():
        fresh = _without_known(turns, table.sources(scope) if any(t.id for t in turns) else set())
        remembered = [_record_of(turn, scope) for turn in fresh if _is_remembered(turn)]
        records = iter(write(engine, remembered))
        return [
            table.add(
                turn.role,
                turn.content,
                scope,
                record_id=next(records).id if _is_remembered(turn) else None,
                source=_source_of(turn),
                name=turn.name,
                at=turn.at,
            )
            for turn in fresh
        ]


def _without_known(turns: Sequence[TurnDraft], known: set[str]) -> list[TurnDraft]:
    fresh = []
    for turn in turns:
        source = _source_of(turn)
        if source in known:
            continue
        if source is not None:
            known.add(source)
        fresh.append(turn)
    return fresh


def _source_of(turn: TurnDraft) -> str | None:
    """The digest by which a turn is known again: the same as in logs, which may come as well."""
    if turn.id is None:
        return None
    return hashlib.sha256(json.dumps(["id", turn.id]).encode()).hexdigest()


def _is_remembered(turn: TurnDraft) -> bool:
    return turn.remember and turn.role != "system"


def _record_of(turn: TurnDraft, scope: Scope) -> Draft:
    speaker = {"role": turn.role} if turn.name is None else {"role": turn.role, "name": turn.name}
    return Draft(turn.content, scope=scope, metadata=speaker, at=turn.at)


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
        draft = validate_draft(draft)
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
            if records.get([old.id])[0].version != old.version:
                continue  # somebody else has updated it meanwhile; do not undo that
            record = records.update(
                old.id,
                text=draft.text,
                question=draft.question,
                answer=draft.answer,
                metadata=draft.metadata,
            )
            for backend in engine.backends:
                backend.write([record])
            return record
