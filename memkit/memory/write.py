"""Stores, notes and rewrites knowledge; each call writes all of it or nothing."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from memkit.answering.grounding import states, tokens
from memkit.errors import InvalidInputError
from memkit.memory.engine import Engine
from memkit.memory.erasure import remove
from memkit.memory.options import DraftOptions, TurnOptions, draft_of, refuse_unknown
from memkit.memory.telemetry import traced
from memkit.text.small_talk import is_small_talk
from memkit.types import (
    UNCHANGED,
    Draft,
    Metadata,
    Record,
    Role,
    Scope,
    Turn,
    TurnDraft,
    Unchanged,
)
from memkit.types.drafts import DraftLike, drafts_of
from memkit.types.roles import role_of
from memkit.types.validate import (
    check_flag,
    check_id,
    check_part,
    check_scope,
    check_text,
    check_time,
    describe,
    validate_draft,
)

logger = logging.getLogger(__name__)


@traced("upsert_memory", "add")
def store(
    engine: Engine, texts: DraftLike | Iterable[DraftLike], options: DraftOptions
) -> Record | list[Record]:
    """Add one record or several, and bring them to the backends."""
    drafts, single = drafts_of(texts, draft_of(options))
    prepare(engine, drafts)
    with engine.ledger.transaction():
        records = write(engine, drafts)
    _warn_of_answers(records)
    return records[0] if single else records


@traced("create_memory", "add_turn")
def note(engine: Engine, role: str, content: str, options: TurnOptions) -> Turn:
    """Add a turn and, if it is to be remembered, a record of the same content."""
    refuse_unknown(options, TurnOptions)
    about = {key: value for key, value in options.items() if key != "scope"}
    turn = TurnDraft(role_of(role), content, **about)  # type: ignore[arg-type]  # TurnOptions
    return _note(engine, [_checked(turn)], options.get("scope", {}))[0]


@traced("create_memory", "add_turns")
def note_all(engine: Engine, turns: Iterable[TurnDraft], scope: Scope) -> list[Turn]:
    """Add the turns that the conversation does not have yet, with their records."""
    if isinstance(turns, str | bytes | Mapping) or not isinstance(turns, Iterable):
        raise InvalidInputError(
            f"`turns` must be a list of `TurnDraft`s, got {describe(turns)}", "Put it into a list."
        )
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
        role=role_of(turn.role),
        content=check_text("content", turn.content),
        name=None if turn.name is None else check_id("name", turn.name),
        id=None if turn.id is None else check_id("id", turn.id),
    )


def _note(engine: Engine, turns: Sequence[TurnDraft], scope: Scope) -> list[Turn]:
    scope = check_scope(scope)
    drafts = [_record_of(turn, scope) for turn in turns]
    prepare(engine, [draft for draft in drafts if draft is not None], enrich=False)
    with engine.ledger.transaction():
        known = engine.ledger.turns.sources(scope) if any(turn.id for turn in turns) else set()
        added = []
        for turn, draft in zip(turns, drafts, strict=True):
            source = _source_of(turn)
            if source is not None and source in known:
                continue
            added.append(add_turn(engine, turn, draft, scope=scope, source=source))
            known |= {source} if source is not None else set()
    return added


def add_turn(
    engine: Engine, turn: TurnDraft, draft: Draft | None, *, scope: Scope, source: str | None
) -> Turn:
    """Add a checked turn and its prepared record, if it has one, inside a transaction."""
    records = write(engine, [draft], enrich=False) if draft is not None else []
    return engine.ledger.turns.add(
        turn.role,
        turn.content,
        scope,
        record_id=records[0].id if records else None,
        source=source,
        name=turn.name,
        at=turn.at,
    )


def _source_of(turn: TurnDraft) -> str | None:
    """The digest by which a turn is known again: the same as in logs, which may come as well."""
    if turn.id is None:
        return None
    return hashlib.sha256(json.dumps(["id", turn.id]).encode()).hexdigest()


def _record_of(turn: TurnDraft, scope: Scope) -> Draft | None:
    if not turn.remember:
        return None
    return draft_of_turn(turn.role, turn.content, {"name": turn.name}, scope=scope, at=turn.at)


def draft_of_turn(
    role: Role,
    content: str,
    about: Mapping[str, str | None],
    *,
    scope: Scope,
    at: datetime | None,
) -> Draft | None:
    """The record of a turn; instructions, what tools return and small talk are none.

    Whatever is known ``about`` the turn becomes its metadata, beside the role.
    """
    if role not in ("user", "assistant") or is_small_talk(content):
        return None
    metadata = {"role": role} | {key: value for key, value in about.items() if value is not None}
    return Draft(content, scope=scope, metadata=metadata, at=at)


def prepare(engine: Engine, drafts: Sequence[Draft], *, enrich: bool = True) -> None:
    """Check drafts and let backends embed the new ones: that takes too long for a lock."""
    unsaid = engine.ledger.records.unsaid(drafts, enrich=enrich)
    backends = engine.backends  # made now, as `Engine.parts` asks, and not inside a transaction
    for backend in backends if unsaid else ():
        backend.prepare(unsaid)


def write(engine: Engine, drafts: Sequence[Draft], *, enrich: bool = True) -> list[Record]:
    """Add prepared drafts and bring what is new to the backends, inside a transaction.

    What was said in a turn does not ``enrich`` a record: who said it first, and when, stays.
    """
    ledger = engine.ledger
    expired = ledger.records.conflicting(drafts)
    if expired:
        remove(ledger, expired, engine.backends)
    records, written = ledger.records.put(drafts, enrich=enrich)
    fresh = {record.id: record for record in records if record.id in written}
    for backend in engine.backends if fresh else ():
        backend.write(list(fresh.values()))
    return records


@dataclass(frozen=True)
class Changes:
    """What a new version of a record says differently; None takes away what is there."""

    text: str | Unchanged
    question: str | Unchanged | None
    answer: str | Unchanged | None
    metadata: Metadata | Unchanged | None

    def of(self, old: Record) -> Draft:
        """The new version.

        Raises:
            InvalidInputError: If it cannot be stored, or if the old answer would stay although
                the new text lacks it.
        """
        metadata = old.metadata if self.metadata is UNCHANGED else self.metadata
        draft = Draft(
            text=old.text if self.text is UNCHANGED else self.text,
            question=old.question if self.question is UNCHANGED else self.question,
            answer=old.answer if self.answer is UNCHANGED else self.answer,
            metadata={} if metadata is None else metadata,
        )
        if (draft.question is None) != (draft.answer is None) and old.question is not None:
            raise InvalidInputError(
                "`question` and `answer` go together, only one of them was taken away",
                "Take both away with question=None, answer=None.",
            )
        draft = validate_draft(draft)
        stays = old.answer if self.answer is UNCHANGED else None
        if stays is not None and stays in old.text and stays not in draft.text:
            raise InvalidInputError(
                f"the new `text` does not contain {stays!r}, the answer to {draft.question!r}",
                hint="give the new `answer` as well",
            )
        return draft


@traced("update_memory", "update", about=True)
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
        _warn_of_answers([record])
        return record


@traced("update_memory", "merge")
def merge(engine: Engine, ids: Sequence[str], *, scope: Scope | None) -> Record:
    """Make one record of several that the scope sees; see `Memory.merge`."""
    records = engine.ledger.records.get(ids, scope=scope)
    return engine.ledger.merge([record.id for record in records])


def _warn_of_answers(records: Sequence[Record]) -> None:
    """Say which answers their texts do not know: prompt and weights would contradict each other.

    They are stored all the same, as only a reader can tell whether "two" follows from a text.
    What is stored is not told, as logs are read by others than memories.
    """
    foreign = [r.id for r in records if r.answer and not _knows(r.text, r.answer)]
    if foreign:
        logger.warning(
            "the text of the record %s does not say the answer to its question%s: put the answer "
            "into the text, or correct it with update()",
            foreign[0],
            f" (nor do those of {len(foreign) - 1} others)" if foreign[1:] else "",
        )


def _knows(text: str, answer: str) -> bool:
    """Whether a text has all numbers of an answer and any of its words; "yes" is in none."""
    if is_small_talk(answer) or answer.casefold() in text.casefold():
        return True
    words, held = set(tokens(answer)), set(tokens(text))
    numbers = {word for word in words if any(map(str.isdigit, word))}
    return states(text, answer) or (numbers <= held and bool(words & held))
