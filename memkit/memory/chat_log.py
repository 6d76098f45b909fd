"""Takes in chat logs: what was said becomes turns and records, once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from memkit.memory import write as writing
from memkit.memory.engine import Engine
from memkit.memory.messages import INSTRUCTIONS, Message, read_messages, without_recalled
from memkit.types import Draft, ImportReport, Scope, Turn
from memkit.types.scope import scope_key

_CANDIDATES = 20  # passages that may be where a line of evidence comes from
_RECENT = 200  # turns that may be


def import_messages(
    parts: Engine,
    messages: Sequence[Mapping[str, Any]],
    scope: Scope,
    *,
    remember: bool,
    at: datetime | None = None,
) -> ImportReport:
    """Add the messages of a log that are not there yet; see `Memory.add_messages`."""
    scope_key(scope)
    read = read_messages(messages)
    told = [message for message in read if message.role not in INSTRUCTIONS]
    there = parts.ledger.turns.sources(scope)
    fresh = [message for message in told if message.source not in there]
    known = _known(parts, scope)
    said = [replace(one, content=without_recalled(one.content, known)) for one in fresh]
    said = [message for message in said if message.content]
    drafts = [_draft(message, scope, at) if remember else None for message in said]
    turns = _write(parts, said, drafts, scope, at)
    return ImportReport(
        turns=tuple(turn.id for turn in turns),
        records=tuple(dict.fromkeys(turn.record_id for turn in turns if turn.record_id)),
        known=len(told) - len(fresh),
        left_out=len(messages) - len(told) + len(fresh) - len(said),
    )


def _draft(message: Message, scope: Scope, at: datetime | None) -> Draft | None:
    """The record of a message; what tools return is none."""
    if message.role == "tool":
        return None
    about = {"role": message.role, "name": message.name, "message_id": message.id}
    metadata = {key: value for key, value in about.items() if value is not None}
    return Draft(message.content, scope=scope, metadata=metadata, at=at)


def _write(
    parts: Engine,
    said: Sequence[Message],
    drafts: Sequence[Draft | None],
    scope: Scope,
    at: datetime | None,
) -> list[Turn]:
    """Add turns and their records in one transaction, without those that others have added."""
    prepared = writing.prepare(parts, [draft for draft in drafts if draft is not None])
    turns: list[Turn] = []
    with parts.ledger.transaction():
        there = parts.ledger.turns.sources(scope)
        for message, draft in zip(said, drafts, strict=True):
            if message.source in there:
                continue
            there.add(message.source)
            records = writing.write(parts, [draft], prepared) if draft is not None else []
            turn = parts.ledger.turns.add(
                message.role,
                message.content,
                scope,
                record_id=records[0].id if records else None,
                source=message.source,
                name=message.name,
                at=at,
            )
            turns.append(turn)
    return turns


def _known(parts: Engine, scope: Scope) -> Callable[[str], Sequence[str]]:
    """Finds the texts of records and turns that a line may come from."""
    ledger = parts.ledger

    def containing(line: str) -> list[str]:
        found = ledger.passages.lexical(line, k=_CANDIDATES, visible_to=scope, where=None)
        passages = ledger.passages.get([key for key, _ in found])
        ids = ledger.records.existing({one.record_id for one in passages.values()})
        texts = [record.text for record in ledger.records.get(ids)]
        texts += [turn.content for turn in ledger.turns.recent(scope, _RECENT)]
        return [text for text in texts if line in text]

    return containing
