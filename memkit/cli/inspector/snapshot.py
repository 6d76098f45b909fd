"""What the inspector knows of a memory, read from its ledger. Neither model is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from memkit.cli.inspector.disk_usage import disk_usage
from memkit.cli.inspector.fact_map import GRID, fact_map
from memkit.cli.inspector.module_rows import module_rows
from memkit.cli.inspector.record_columns import RecordColumns, scope_numbers, seconds
from memkit.cli.inspector.stored_routes import stored_routes
from memkit.ledger import Ledger
from memkit.memory.place import check_place
from memkit.routing.calibrator import STALE
from memkit.types import Module, Scope
from memkit.types.calibration import CALIBRATION, Calibration
from memkit.types.scope import contains, scope_key
from memkit.types.validate import check_limit, check_scope
from memkit.version import __version__

RECORDS = 100_000
ROUTES = 300
_EVENTS = 1_000


@dataclass(frozen=True)
class Limits:
    """How much the page holds at most.

    Attributes:
        records: The latest ones.
        routes: Of stored questions; those of records that modules hold come first.
    """

    records: int = RECORDS
    routes: int = ROUTES

    def __post_init__(self) -> None:
        check_limit("records", self.records)
        check_limit("routes", self.routes, least=0)


def overview(path: str | Path, scope: Scope | None = None) -> dict[str, Any]:
    """Count what a memory holds, or a scope of it and narrower ones, as JSON values.

    Raises:
        NotAMemoryError: If there is no memory.
    """
    with closing(_open(path)) as ledger, ledger.snapshot():
        within = None if scope is None else check_scope(scope)
        modules = ledger.modules.active(within=within)
        scopes = _scopes(ledger, within, modules)
        return {
            **_general(ledger, within, modules),
            "scopes": _counted(ledger, scopes, modules),
            "modules": module_rows(
                ledger, modules, scope_numbers(scopes), _learned(ledger, _trained(ledger, modules))
            ),
        }


def snapshot(
    path: str | Path, scope: Scope | None = None, limits: Limits | None = None
) -> dict[str, Any]:
    """Read everything that the page shows, as JSON values.

    Args:
        path: The memory's directory, or its URL; others may have it open.
        scope: Only what is of this scope and of narrower ones; None for all.
        limits: How much at most.

    Raises:
        NotAMemoryError: If there is no memory.
    """
    limits, within = limits or Limits(), None if scope is None else check_scope(scope)
    with closing(_open(path)) as ledger:
        with ledger.snapshot():
            modules = ledger.modules.active(within=within)
            scopes = _scopes(ledger, within, modules)
            numbers = {module.name: number for number, module in enumerate(modules)}
            trained = _trained(ledger, modules)
            shown = RecordColumns(
                ledger,
                within,
                limits.records,
                scopes=scope_numbers(scopes),
                modules=numbers,
                trained=trained,
                routes=limits.routes,
            )
            places = fact_map(ledger, shown.ids)
            rows = module_rows(ledger, modules, scope_numbers(scopes), _learned(ledger, trained))
            general = _general(ledger, within, modules)
        routes = stored_routes(ledger, shown.asking, numbers, shown.index)
    return {
        **general,
        "scopes": [{"labels": dict(scope)} for scope in scopes],
        "modules": rows,
        "records": shown.columns | {"x": places.x, "y": places.y},
        "versions": shown.versions,
        "cut": shown.cut,
        "longest": shown.longest,
        "left_out": shown.left_out,
        "map": {"explained": places.explained, "dim": places.dim, "grid": GRID},
        "routes": {"rows": routes, "questions": shown.questions},
    }


def _open(path: str | Path) -> Ledger:
    return Ledger.open(check_place(path), create=False)


def _general(ledger: Ledger, within: Scope | None, modules: Sequence[Module]) -> dict[str, Any]:
    whole = within is None
    return {
        "memkit": __version__,
        "made": int(datetime.now(UTC).timestamp()),
        "name": ledger.name if ledger.shared else ledger.directory.name,
        "scope": None if within is None else dict(within),
        "totals": {
            "records": ledger.records.count(within=within),
            "versions": ledger.records.count_versions(within=within),
            "turns": ledger.turns.count(within=within),
            "passages": ledger.passages.count(within=within),
            "modules": len(modules),
            "held": sum(len(module.records) for module in modules),
            "expired": ledger.records.count_expired(within=within),
            "unindexed": ledger.records.count_unindexed() if whole else None,
        },
        "embedder": ledger.get_meta("embedder"),
        "base": modules[0].manifest.get("base_model") if modules else None,
        "calibration": _calibration(ledger),
        # Of the whole memory, and therefore left out where only a scope of it may be seen.
        "events": _events(ledger) if whole else None,
        "disk": disk_usage(ledger.directory) if whole else None,
    }


def _scopes(ledger: Ledger, within: Scope | None, modules: Sequence[Module]) -> list[Scope]:
    """All scopes with records, turns or modules, in the order of their names."""
    stored = [s for s in ledger.scopes() if within is None or contains(s, within)]
    found = {scope_key(scope): scope for scope in [*stored, *(module.scope for module in modules)]}
    return [found[key] for key in sorted(found)]


def _counted(
    ledger: Ledger, scopes: Sequence[Scope], modules: Sequence[Module]
) -> list[dict[str, Any]]:
    """How many records each scope has itself, without narrower ones, and how many are held."""
    records = ledger.records.count_by_scope()
    held: Counter[str] = Counter()
    for module in modules:
        held[scope_key(module.scope)] += len(module.records)
    keys = [scope_key(scope) for scope in scopes]
    return [
        {"labels": dict(scope), "records": records.get(key, 0), "held": held[key]}
        for scope, key in zip(scopes, keys, strict=True)
    ]


def _calibration(ledger: Ledger) -> dict[str, Any] | None:
    stored = ledger.get_meta(CALIBRATION)
    measured = None if stored is None else Calibration.from_json(stored)
    if measured is None:
        return None
    changes = ledger.passages.last_change() - measured.changes
    return {
        "threshold": measured.threshold,
        "false_activation": measured.false_activation,
        "false_refusal": measured.false_refusal,
        "unstored": measured.unstored,
        "curve": [[step.predicted, step.observed, step.n] for step in measured.curve],
        "changes": changes,
        "stale": changes > STALE * measured.passages,  # measured anew with the next question
    }


def _events(ledger: Ledger) -> list[list[Any]]:
    """Time, kind and detail of the latest events, oldest first."""
    found: list[list[Any]] = []
    after = 0
    while page := ledger.events(after=after, limit=_EVENTS):
        found += [[seconds(event.created_at), event.kind, dict(event.detail)] for event in page]
        after = page[-1].seq
    return found[-_EVENTS:]


def _trained(ledger: Ledger, modules: Sequence[Module]) -> dict[str, str]:
    """The module that each record's text is in, by the record's id: whether it holds it or not."""
    return {id: m.name for m in modules for id in ledger.modules.members(m.name)}


def _learned(ledger: Ledger, trained: Collection[str]) -> dict[str, str]:
    """What is learned of each record that a module was trained on: its answer, else its text."""
    records = ledger.records.find(list(trained))
    return {record.id: record.answer or record.text for record in records}
