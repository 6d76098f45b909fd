"""What the writing verbs do: store, rewrite and forget, each all or nothing."""

from __future__ import annotations

from collections.abc import Sequence

from memkit.errors import InvalidInputError
from memkit.forget import Erased, erase, found_in_files
from memkit.types import Draft, Metadata, ModuleReport, Receipt, Record, Scope
from memkit.validate import validate_draft
from memkit.wiring import Parts

BATCH = 64  # records that are embedded and committed together


def store(parts: Parts, drafts: Sequence[Draft]) -> list[Record]:
    """Check all drafts, then add and index them batch by batch.

    Known content is not embedded again. Embedding takes its time and may fail, so it comes
    before the write lock is taken.
    """
    for draft in drafts:
        validate_draft(draft)
    return [
        record
        for start in range(0, len(drafts), BATCH)
        for record in _store_batch(parts, drafts[start : start + BATCH])
    ]


def _store_batch(parts: Parts, drafts: Sequence[Draft]) -> list[Record]:
    ledger, index = parts.ledger, parts.index
    known = ledger.records.find_duplicates(drafts)
    fresh = [draft for draft, before in zip(drafts, known, strict=True) if before is None]
    prepared = index.prepare(fresh) if index is not None else []
    with ledger.transaction():
        records = ledger.records.add(drafts)
        if index is not None:
            added = [r for r, before in zip(records, known, strict=True) if before is None]
            index.write(added, prepared)
    return records


def rewrite(
    parts: Parts,
    old: Record,
    *,
    text: str | None,
    question: str | None,
    answer: str | None,
    metadata: Metadata | None,
) -> Record:
    """Write a new version of a record and index it; what is None stays as it is.

    Raises:
        InvalidInputError: If the old answer would stay although the new text lacks it.
    """
    stays = text is not None and answer is None and old.answer is not None
    if stays and old.answer in old.text and old.answer not in (text or ""):  # type: ignore[operator]
        raise InvalidInputError(
            f"the new `text` does not contain {old.answer!r}, the answer to {old.question!r}",
            hint="give the new `answer` as well",
        )
    draft = Draft(
        text=old.text if text is None else text,
        question=old.question if question is None else question,
        answer=old.answer if answer is None else answer,
        scope=old.scope,
        metadata=old.metadata if metadata is None else metadata,
    )
    validate_draft(draft)
    prepared = parts.index.prepare([draft]) if parts.index is not None else []
    with parts.ledger.transaction():
        record = parts.ledger.records.update(
            old.id,
            text=draft.text,
            question=draft.question,
            answer=draft.answer,
            metadata=draft.metadata,
        )
        if parts.index is not None:
            parts.index.write([record], prepared)
    return record


def forget(
    parts: Parts,
    ids: Sequence[str] | None,
    *,
    scope: Scope | None,
    where: Metadata | None,
    retrain: bool,
) -> Receipt:
    """Erase the selected records, retrain what is left of their modules, check, and report."""
    selected = _select(parts, ids, scope, where)
    erased = erase(
        parts.ledger,
        selected,
        index=parts.index,
        drop=parts.drop_module,
        turns_of=scope if ids is None and where is None else None,
    )
    parts.drop_caches()
    trained = _retrain(parts, erased) if retrain and parts.lora is not None else []
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
        checks=_checks(parts, erased),
    )


def _select(
    parts: Parts, ids: Sequence[str] | None, scope: Scope | None, where: Metadata | None
) -> list[str]:
    if ids is None and not scope and not where:
        raise InvalidInputError(
            f"expected an id, a `scope` or a `where` to forget by, got {ids=}, {scope=}, {where=}",
            hint="forget(id) erases a record, forget(scope={'user': 'u1'}) a tenant",
        )
    matching = parts.ledger.records.ids(within=scope, where=where)
    if ids is None:
        return matching
    parts.ledger.records.get(ids)  # raises for unknown ids
    allowed = set(matching)
    return [id for id in dict.fromkeys(ids) if id in allowed]


def _retrain(parts: Parts, erased: Erased) -> list[ModuleReport]:
    lora = parts.need_lora("forget")
    return [
        report
        for name, others in erased.modules.items()
        if others
        for report in parts.consolidator.run(
            lora, parts.ledger.records.get(others), name=name
        ).modules
    ]


def _checks(parts: Parts, erased: Erased) -> dict[str, bool]:
    """Look for what was erased in every place where it could be."""
    ledger, gone = parts.ledger, set(erased.records)
    # Another tenant may rightly keep the same words.
    elsewhere = [text for text in erased.texts if ledger.records.has_text(text)]
    texts = [text for text in erased.texts if text not in elsewhere]
    return {
        "no record or version is left": not ledger.records.existing(gone),
        "no adapter was trained on them": not ledger.modules.holding(list(gone)),
        "no file holds their texts": not found_in_files(ledger.directory, texts),
    }
