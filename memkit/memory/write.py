"""What the writing verbs do: store, note, rewrite and forget, each all or nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from memkit.errors import InvalidInputError, MemkitError, RecordNotFoundError
from memkit.ledger import NewPassage
from memkit.ledger.records.record_rows import content_hash
from memkit.ledger.turns.turn_table import check_turn
from memkit.memory.engine import Engine
from memkit.memory.erasure import Erased, erase, remove
from memkit.memory.residue import remains
from memkit.types import Draft, Exposure, Metadata, ModuleReport, Receipt, Record, Role, Scope, Turn
from memkit.types.validate import check_text, validate_draft

if TYPE_CHECKING:
    from memkit.lora.consolidation.exposure import Probe

logger = logging.getLogger("memkit")

UNKNOWN = "weights know it no better than what they never saw"  # a check of the receipt

NOTHING = Receipt((), 0, 0, (), (), (), (), {})

# What is indexed, by content hash; nothing for what the memory knows already.
Prepared = Mapping[str, Sequence[NewPassage]]


def drafts_of(text: str | Sequence[str | Draft], rest: Draft) -> list[Draft]:
    """Make drafts of a text or a list; drafts in a list stay as they are.

    Args:
        text: What `Memory.add` was given.
        rest: What was given beside it.

    Raises:
        InvalidInputError: If ``text`` is something else, or if a part of ``rest`` would have no
            effect: above all a scope, without which a draft is shared with everybody.
    """
    if isinstance(text, str):
        return [replace(rest, text=text)]
    if not isinstance(text, list | tuple):
        raise InvalidInputError(
            f"expected `text` to be a string or a list of strings or drafts, got {text!r}",
            hint="put a single draft into a list: add([Draft(text, question, answer)])",
        )
    own = (rest.question, rest.answer, rest.id, rest.key)
    if any(part is not None for part in own):
        raise InvalidInputError(
            "`question`, `answer`, `id` and `key` belong to a single text, got a list",
            hint="put them into `Draft` objects: add([Draft(text, question, answer), ...])",
        )
    shared = (rest.scope, rest.metadata, rest.ttl, rest.pinned, rest.at)
    if any(shared) and any(isinstance(one, Draft) for one in text):
        raise InvalidInputError(
            "`scope`, `metadata`, `ttl`, `pinned` and `at` belong to plain texts, got a list "
            "with drafts",
            hint="put them into the drafts: Draft(text, scope={'user': 'u1'})",
        )
    return [one if isinstance(one, Draft) else replace(rest, text=one) for one in text]


def store(parts: Engine, drafts: Sequence[Draft]) -> list[Record]:
    """Add records and index them."""
    prepared = prepare(parts, drafts)
    with parts.ledger.transaction():
        records = write(parts, drafts, prepared)
    if parts.index is not None:
        parts.index.keep_up()
    return records


def note(
    parts: Engine,
    role: Role,
    content: str,
    scope: Scope,
    *,
    remember: bool,
    name: str | None = None,
    at: datetime | None = None,
) -> Turn:
    """Add a turn and, if it is to be remembered, a record of the same content."""
    check_turn(role, content)
    if name is not None:
        check_text("name", name)
    remember = remember and role != "system"
    said = {"role": role} if name is None else {"role": role, "name": name}
    drafts = [Draft(content, scope=scope, metadata=said, at=at)] if remember else []
    prepared = prepare(parts, drafts)
    with parts.ledger.transaction():
        ids = [record.id for record in write(parts, drafts, prepared)]
        record_id = ids[0] if ids else None
        return parts.ledger.turns.add(role, content, scope, record_id=record_id, name=name, at=at)


def prepare(parts: Engine, drafts: Sequence[Draft]) -> Prepared:
    """Check drafts and embed the new ones: that may fail, and takes too long for a lock."""
    known = parts.ledger.records.find_duplicates(drafts)
    if parts.index is None:
        return {}
    fresh = [draft for draft, before in zip(drafts, known, strict=True) if before is None]
    hashes = [content_hash(draft.text, draft.question, draft.answer) for draft in fresh]
    return dict(zip(hashes, parts.index.prepare(fresh), strict=True))


def write(parts: Engine, drafts: Sequence[Draft], prepared: Prepared) -> list[Record]:
    """Add and index prepared drafts, inside a transaction."""
    ledger, index = parts.ledger, parts.index
    expired = ledger.records.in_the_way(drafts)
    if expired:
        remove(ledger, expired, parts.drop_module)
    records = ledger.records.add(drafts)
    if index is not None:
        bare = set(ledger.records.without_passages([record.id for record in records]))
        fresh = {record.id: record for record in records if record.id in bare}.values()
        known = [record for record in fresh if record.content_hash in prepared]
        # Others may have deleted meanwhile what was known while drafts were prepared.
        late = [record for record in fresh if record.content_hash not in prepared]
        if known:
            index.write(known, [prepared[record.content_hash] for record in known])
        if late:
            index.write(late)
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


def rewrite(parts: Engine, id: str, changes: Changes, *, scope: Scope | None) -> Record:
    """Write a new version of a record and index it."""
    ledger, index = parts.ledger, parts.index
    while True:
        old = ledger.records.get([id], scope=scope)[0]
        draft = changes.of(old)
        prepared = index.prepare([draft]) if index is not None else []
        with ledger.transaction():
            if ledger.records.get([id])[0].version != old.version:
                continue  # somebody else has updated it meanwhile; do not undo that
            record = ledger.records.update(
                id,
                text=draft.text,
                question=draft.question,
                answer=draft.answer,
                metadata=draft.metadata,
            )
            if index is not None:
                index.write([record], prepared)
            return record


def forget(
    parts: Engine,
    ids: Sequence[str] | None,
    *,
    scope: Scope | None,
    where: Metadata | None,
    retrain: bool,
) -> Receipt:
    """Erase the selected records, retrain what is left of their modules, check, and report."""
    selected = _select(parts, ids, scope, where)
    turns_of = scope if ids is None and where is None else None
    return _forget(parts, selected, turns_of=turns_of, retrain=retrain)


def sweep(parts: Engine, *, retrain: bool) -> Receipt:
    """Erase what has expired; if nothing has, finish what is still to be destroyed."""
    ledger = parts.ledger
    expired = ledger.records.expired()
    turns = ledger.turns.delete_expired()
    ledger.items.sweep()
    if not (expired or ledger.destruction_pending):
        return NOTHING
    receipt = _forget(parts, expired, turns_of=None, retrain=retrain)
    return replace(receipt, turns=receipt.turns + turns)


def _forget(
    parts: Engine, selected: Sequence[str], *, turns_of: Scope | None, retrain: bool
) -> Receipt:
    probes = _probes(parts, selected) if retrain else []
    erased = erase(
        parts.ledger,
        selected,
        index=parts.index,
        drop=parts.drop_module,
        turns_of=turns_of,
    )
    parts.drop_caches()
    trained = _retrain(parts, erased) if retrain and parts.lora is not None else []
    exposure = _exposure(parts, probes, trained)
    held = {id for module in trained for id in module.held}
    back = {module.name for module in trained if module.held}
    return Receipt(
        records=erased.records,
        versions=erased.versions,
        turns=erased.turns,
        retrained=tuple(f"{m.name} v{m.version}" for m in trained if m.held),
        dropped=tuple(name for name in erased.modules if name not in back),
        demoted=tuple(id for others in erased.modules.values() for id in others if id not in held),
        files=erased.files,
        checks=_checks(parts, erased, exposure),
        exposure=exposure,
        items=erased.items,
    )


def _select(
    parts: Engine, ids: Sequence[str] | None, scope: Scope | None, where: Metadata | None
) -> list[str]:
    if ids is None and not scope and not where:
        raise InvalidInputError(
            f"expected an id, a `scope` or a `where` to forget by, got {ids=}, {scope=}, {where=}",
            hint="forget(id) erases a record, forget(scope={'user': 'u1'}) a tenant",
        )
    records = parts.ledger.records
    if ids is None:
        return records.ids(within=scope, where=where, expired=True)
    ids = [record.id for record in records.get(list(dict.fromkeys(ids)), expired=True)]
    if scope is not None:
        inside = set(records.ids(within=scope, expired=True))
        for id in ids:
            if id not in inside:
                raise RecordNotFoundError(f"no record of scope {dict(scope)!r} has the id {id!r}")
    passing = set(records.ids(where=where, expired=True)) if where is not None else set(ids)
    return [id for id in ids if id in passing]


def _retrain(parts: Engine, erased: Erased) -> list[ModuleReport]:
    """Train the modules without what was erased; those that fail stay dropped."""
    lora = parts.need_lora("forget()")
    reports: list[ModuleReport] = []
    for name, others in erased.modules.items():
        if not others:
            continue
        try:
            records = parts.ledger.records.get(others)
            reports += parts.consolidator.run(lora, records, name=name).modules
        except MemkitError as exc:  # what was erased is erased: the receipt has to say so
            logger.warning("module %s is dropped, as it cannot be trained anew: %s", name, exc)
    return reports


def _probes(parts: Engine, ids: Sequence[str]) -> list[Probe]:
    """What to ask the weights once the records are gone; kept in memory only."""
    if parts.lora is None:
        return []
    from memkit.lora.consolidation.exposure import probes

    try:
        return probes(parts.lora, ids)
    except MemkitError as exc:  # no reason to keep what is to be forgotten
        logger.warning("the weights will not be asked for what is forgotten: %s", exc)
        return []


def _exposure(
    parts: Engine, probes: Sequence[Probe], trained: Sequence[ModuleReport]
) -> tuple[Exposure, ...]:
    """How far the forgotten answers stand out in the modules that were trained anew."""
    if not probes or not trained:
        return ()
    from memkit.lora.consolidation.exposure import ask

    lora = parts.need_lora("forget()")
    found = []
    for module in trained:
        for probe in probes:
            if module.held and module.name in probe.modules:
                try:
                    found.append(ask(lora, probe, module.name))
                except MemkitError as exc:  # the module may be gone again
                    logger.warning("module %s cannot be asked: %s", module.name, exc)
    return tuple(one for one in found if one is not None)


def _checks(parts: Engine, erased: Erased, exposure: Sequence[Exposure]) -> dict[str, bool]:
    """Look for what was erased in every place where it could be."""
    ledger, gone = parts.ledger, set(erased.records)
    found = remains(ledger.directory, erased.samples)
    # Others may rightly keep the same words, such as another tenant.
    left = [text for text in found if not ledger.records.has_text(text)]
    checks = {
        "no record or version is left": not ledger.records.existing(gone, expired=True),
        "no adapter was trained on them": not ledger.modules.holding(list(gone)),
        "no file holds their texts": not left,
    }
    if exposure:
        checks[UNKNOWN] = not any(one.stands_out for one in exposure)
    return checks
