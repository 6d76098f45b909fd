"""Forgets records and what has expired, checks that it is gone, and reports it in a receipt."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from memkit.errors import InvalidInputError, MemkitError, RecordNotFoundError
from memkit.ledger import Ledger
from memkit.ledger.stored_paths import CLUSTERS, INDEX
from memkit.lora.store.adapter_check import weights_left
from memkit.memory.engine import Engine
from memkit.memory.erasure import Erased, erase, finish
from memkit.memory.reach import selected_by
from memkit.memory.residue import samples, search_files
from memkit.memory.telemetry import traced
from memkit.types import AnyScope, Exposure, Metadata, ModuleReport, Receipt, Scope
from memkit.types.validate import check_flag, check_ids, shown

if TYPE_CHECKING:
    from memkit.lora.consolidation.exposure import Probe

logger = logging.getLogger(__name__)

NO_TEXT = "no file holds their texts"  # checks of the receipt
NO_VECTOR = "no file holds their vectors"
NO_WEIGHTS = "no file holds their weights"
UNKNOWN = "weights know it no better than what they never saw"

NOTHING = Receipt((), 0, 0, (), (), (), (), {})


@traced("delete_memory", "forget", about=True)
def forget(
    engine: Engine,
    id: str | Sequence[str] | None,
    *,
    scope: AnyScope | None,
    where: Metadata | None,
    retrain: bool,
) -> Receipt:
    """Erase the selected records, retrain what is left of their modules, check, and report."""
    check_flag("retrain", retrain)
    reach = selected_by(scope)
    turns: list[str] = []
    ids = [id] if isinstance(id, str) else id
    if ids is not None:
        ids = check_ids("id", ids, single=True)
        records = engine.ledger.records.existing(ids, expired=True)
        turns = engine.ledger.turns.loose([id for id in ids if id not in records], **reach)
        ids = [id for id in ids if id not in turns]
    try:
        selected = _select(engine, ids, scope, where)
    except RecordNotFoundError:
        if engine.ledger.destruction_pending:  # of what an earlier call has taken out
            finish(engine.ledger, engine.backends)
        raise
    turns_of = reach.get("within") if ids is None and where is None else None
    receipt = NOTHING
    if turns and where is None:  # turns have no metadata
        receipt = _without_turns(engine, engine.ledger.turns.drop(turns))
    if turns and not selected:
        return receipt
    rest = _forget(engine, selected, turns_of=turns_of, retrain=retrain)
    checks = {
        name: passed and receipt.checks.get(name, True) for name, passed in rest.checks.items()
    }
    files, count = (*receipt.files, *rest.files), receipt.turns + rest.turns
    return replace(rest, turns=count, files=files, checks=checks)


@traced("delete_memory", "forget_all")
def forget_all(engine: Engine) -> Receipt:
    """Erase all records, turns and items of all scopes; the empty memory stays."""
    ids = engine.ledger.records.ids(expired=True)
    return _forget(engine, ids, turns_of={}, retrain=False)


@traced("delete_memory", "clear")
def clear(engine: Engine, scope: Scope) -> Receipt:
    """Erase the turns of exactly one conversation; records stay."""
    return _without_turns(engine, engine.ledger.turns.clear(scope))


def _without_turns(engine: Engine, texts: Sequence[str]) -> Receipt:
    """Destroy what deleted turns have left, and report it."""
    if not texts:
        return NOTHING
    files = finish(engine.ledger, engine.backends)
    engine.drop_caches()
    pieces = dict.fromkeys(piece for text in texts for piece in samples(text))
    return replace(
        NOTHING,
        turns=len(texts),
        files=tuple(files),
        checks={
            _of_files(engine, NO_TEXT): _destroyed(engine)
            and not _left(engine, list(pieces), ())[0]
        },
        remains=engine.ledger.beyond_reach,
    )


@traced("delete_memory", "sweep")
def sweep(engine: Engine, *, retrain: bool) -> Receipt:
    """Erase what has expired; if nothing has, finish what is still to be destroyed."""
    check_flag("retrain", retrain)
    ledger = engine.ledger
    expired = ledger.records.expired()
    turns, items = ledger.turns.delete_expired(), ledger.items.delete_expired()
    if not (expired or ledger.destruction_pending):
        return NOTHING
    texts = [*turns, *items]
    receipt = _forget(engine, expired, turns_of=None, retrain=retrain, also=texts)
    return replace(receipt, turns=receipt.turns + len(turns), items=receipt.items + len(items))


def _forget(
    engine: Engine,
    selected: Sequence[str],
    *,
    turns_of: Scope | None,
    retrain: bool,
    also: Sequence[str] = (),
) -> Receipt:
    """Erase records, and report on them; ``also`` are other texts that were deleted already."""
    probes = _probes(engine, selected) if retrain else []
    erased = erase(
        engine.ledger,
        selected,
        backends=engine.backends,
        turns_of=turns_of,
    )
    pieces = (piece for text in also for piece in samples(text))
    erased = replace(erased, samples=tuple(dict.fromkeys([*erased.samples, *pieces])))
    engine.drop_caches()
    trained = _retrain(engine, erased) if retrain and engine.lora is not None else []
    exposure = _exposure(engine, probes, trained)
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
        checks=_checks(engine, erased, exposure),
        exposure=exposure,
        items=erased.items,
        remains=engine.ledger.beyond_reach,
    )


def _select(
    engine: Engine, ids: Sequence[str] | None, scope: AnyScope | None, where: Metadata | None
) -> list[str]:
    records, reach = engine.ledger.records, selected_by(scope)
    unfiltered = where is None or (isinstance(where, Mapping) and not where)
    if ids is None and unfiltered and "within" not in reach:
        raise InvalidInputError(
            f"expected an id, a `scope` or a `where` to forget by, "
            f"got ids={shown(ids)}, scope={shown(scope)}, where={shown(where)}",
            hint="forget(id) erases a record, forget(scope={'user': 'u1'}) a tenant, forget_all() "
            "everything",
        )
    if ids is None:
        return records.ids(**reach, where=where, expired=True)
    # Their ids alone are read: what is damaged can be forgotten as well.
    visible_to, within = reach.get("visible_to"), reach.get("within")
    chosen = dict.fromkeys(records.resolve(ids, scope=visible_to, within=within, expired=True))
    passing = set(records.ids(**reach, where=where, expired=True)) if where is not None else None
    return [id for id in chosen if passing is None or id in passing]


def _retrain(engine: Engine, erased: Erased) -> list[ModuleReport]:
    """Train the modules without what was erased; those that fail stay dropped."""
    lora = engine.need_lora("forget()")
    reports: list[ModuleReport] = []
    for name, others in erased.modules.items():
        if not others:
            continue
        try:
            records = engine.ledger.records.get(others)
            reports += engine.consolidator.run(lora, records, name=name).modules
        except MemkitError as exc:  # what was erased is erased: the receipt has to say so
            logger.warning("module %s is dropped, as it cannot be trained anew: %s", name, exc)
    return reports


def _probes(engine: Engine, ids: Sequence[str]) -> list[Probe]:
    """What to ask the weights once the records are gone; kept in memory only."""
    if engine.lora is None:
        return []
    from memkit.lora.consolidation.exposure import probes

    try:
        return probes(engine.lora, ids)
    except MemkitError as exc:  # no reason to keep what is to be forgotten
        logger.warning("the weights will not be asked for what is forgotten: %s", exc)
        return []


def _exposure(
    engine: Engine, probes: Sequence[Probe], trained: Sequence[ModuleReport]
) -> tuple[Exposure, ...]:
    """How far the forgotten answers stand out in the modules that were trained anew."""
    if not probes or not trained:
        return ()
    from memkit.lora.consolidation.exposure import ask

    lora = engine.need_lora("forget()")
    exposures = []
    for module in trained:
        for probe in probes:
            if module.held and module.name in probe.modules:
                try:
                    exposures.append(ask(lora, probe, module.name))
                except MemkitError as exc:  # the module may be gone again
                    logger.warning("module %s cannot be asked: %s", module.name, exc)
    return tuple(exposure for exposure in exposures if exposure is not None)


def _checks(engine: Engine, erased: Erased, exposure: Sequence[Exposure]) -> dict[str, bool]:
    """Look for what was erased in every place where it could be."""
    ledger, deleted = engine.ledger, set(erased.records)
    texts, vectors = _left(engine, erased.samples, erased.vectors)
    destroyed = _destroyed(engine)
    checks = {
        "no record or version is left": not ledger.records.existing(deleted, expired=True),
        "no adapter was trained on them": not ledger.modules.holding(list(deleted)),
        _of_files(engine, NO_TEXT): destroyed and not texts,
        _of_files(engine, NO_VECTOR): destroyed and not vectors and not _in_clusters(ledger),
        _of_files(engine, NO_WEIGHTS): destroyed and not weights_left(ledger, erased.weights),
    }
    if exposure:
        checks[UNKNOWN] = not any(each.stands_out for each in exposure)
    return checks


def _of_files(engine: Engine, check: str) -> str:
    """What a check of files is called: of a memory on a server, only those here are looked into."""
    return f"{check} here" if engine.ledger.shared else check


def _destroyed(engine: Engine) -> bool:
    """Whether nothing waits for its destruction, as it does while others read what was there.

    Samples prove presence, never absence: only this tells that no other byte is left.
    """
    return not engine.ledger.destruction_pending


def _left(
    engine: Engine, texts: Sequence[str], vectors: Sequence[bytes]
) -> tuple[list[str], list[bytes]]:
    """Pieces of erased texts and vectors that some file still has, though no record does."""
    ledger = engine.ledger
    left, numbers = search_files(ledger.directory, texts, vectors)
    # Others may rightly keep the same words, such as another tenant, and so the same vectors.
    return (
        [text for text in left if not ledger.records.has_text(text)],
        [piece for piece in numbers if not ledger.passages.has_vector(piece)],
    )


def _in_clusters(ledger: Ledger) -> bool:
    """Whether the index is still computed from what was erased."""
    if not (ledger.directory / INDEX / CLUSTERS).exists():
        return False
    from memkit.rag.index_check import remembers_removed  # loads FAISS

    return remembers_removed(ledger)
