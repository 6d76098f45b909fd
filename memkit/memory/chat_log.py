"""Takes in chat logs: what was said becomes turns and records, once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from memkit.memory.engine import Engine
from memkit.memory.messages import Message, again, read_messages, without_recalled
from memkit.memory.options import MessageOptions, refuse_unknown
from memkit.memory.telemetry import traced
from memkit.memory.write import add_turn, draft_of_turn, prepare
from memkit.text.quoting import quoted
from memkit.types import Draft, ImportReport, Scope, Turn, TurnDraft
from memkit.types.validate import check_flag, check_scope, check_time

_CANDIDATES = 20  # passages that may be where a line of evidence comes from
_RECENT = 200  # turns that may be


@traced("create_memory", "add_messages")
def import_messages(
    engine: Engine, messages: Sequence[Mapping[str, Any]], options: MessageOptions
) -> ImportReport:
    """Add the messages of a log that are not there yet; see `Memory.add_messages`."""
    refuse_unknown(options, MessageOptions)
    scope, at = options.get("scope", {}), options.get("at")
    remember = options.get("remember", True)
    check_flag("remember", remember)
    scope = check_scope(scope)
    if at is not None:
        check_time("at", at)
    known = engine.ledger.turns.sources(scope)
    continues = options.get("continues", False)
    check_flag("continues", continues)
    read = read_messages(messages, after=known if continues else ())
    spoken = [message for message in read if message.role != "system"]
    fresh = [message for message in spoken if message.source not in known]
    known_texts = _texts_with(engine, scope)
    headings = engine.prompt_format.facts, engine.prompt_format.turns
    fresh_texts = [
        replace(m, content=without_recalled(m.content, headings, known_texts)) for m in fresh
    ]
    added = [message for message in fresh_texts if message.content]
    drafts = [_draft(message, scope, at) if remember else None for message in added]
    turns = _write(engine, added, drafts, options)
    return ImportReport(
        turns=tuple(turn.id for turn in turns),
        records=tuple(dict.fromkeys(turn.record_id for turn in turns if turn.record_id)),
        known=len(spoken) - len(fresh),
        left_out=len(messages) - len(spoken) + len(fresh) - len(added),
    )


def _draft(message: Message, scope: Scope, at: datetime | None) -> Draft | None:
    about = {"name": message.name, "message_id": message.id}
    return draft_of_turn(message.role, message.content, about, scope=scope, at=at)


def _write(
    engine: Engine,
    messages: Sequence[Message],
    drafts: Sequence[Draft | None],
    options: MessageOptions,
) -> list[Turn]:
    """Add turns and their records in one transaction, without those that others have added."""
    scope, at = options.get("scope", {}), options.get("at")
    prepare(engine, [draft for draft in drafts if draft is not None], enrich=False)
    turns: list[Turn] = []
    with engine.ledger.transaction():
        known = engine.ledger.turns.sources(scope)
        for message, draft in zip(messages, drafts, strict=True):
            source = message.source
            while options.get("continues") and source in known and not message.id:
                source = again(source)
            if source in known:
                continue
            known.add(source)
            turn = TurnDraft(message.role, message.content, message.name, at)
            turns.append(add_turn(engine, turn, draft, scope=scope, source=source))
    return turns


def _texts_with(engine: Engine, scope: Scope) -> Callable[[str], Sequence[str]]:
    """Finds the texts, as evidence quotes them, that a line may come from."""
    ledger = engine.ledger

    def containing(line: str) -> list[str]:
        matches = ledger.passages.lexical(line, k=_CANDIDATES, visible_to=scope, where=None)
        passages = ledger.passages.get([key for key, _ in matches])
        records = ledger.records.find(list({p.record_id for p in passages.values()}))
        texts = [record.text for record in records]
        texts += [turn.content for turn in ledger.turns.recent(scope, _RECENT)]
        shown = [quoted(text, special_tokens=engine.counter.special_tokens) for text in texts]
        return [text for text in shown if _holds(text, line)]

    return containing


def _holds(text: str, line: str) -> bool:
    """Whether a text has a line in it, of whole words and numbers: 12 is no part of 128."""
    return re.search(rf"(?<![a-zA-Z0-9]){re.escape(line)}(?![a-zA-Z0-9])", text) is not None
