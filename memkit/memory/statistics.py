"""Counts what a memory holds."""

from __future__ import annotations

from dataclasses import replace

from memkit.files import files_below, size_of
from memkit.memory.engine import Engine
from memkit.types import Scope, Stats
from memkit.types.validate import check_characters, check_part


def stats(engine: Engine, scope: Scope | None) -> Stats:
    """Count what a memory holds, or a scope of it; all is in the ledger, so no model is loaded."""
    ledger = engine.ledger
    modules = ledger.modules.active(within=scope)
    counted = Stats(
        records=ledger.records.count(within=scope),
        versions=ledger.records.count_versions(within=scope),
        turns=ledger.turns.count(within=scope),
        passages=ledger.passages.count(within=scope),
        modules=len(modules),
        held=sum(len(module.records) for module in modules),
        bytes_on_disk=sum(map(size_of, files_below(ledger.directory))),
        embedder=ledger.get_meta("embedder"),
        base_model=modules[0].manifest["base_model"] if modules else None,
        expired=ledger.records.count_expired(within=scope),
    )
    if scope is not None:
        return counted
    return replace(counted, backends=_by_backend(engine, counted), caches=engine.caches)


def _by_backend(engine: Engine, counted: Stats) -> dict[str, dict[str, int]]:
    """What each backend has, in order of precedence."""
    own = {backend.name: dict(backend.stats()) for backend in engine.config.own_backends}
    counts = {
        "buffer": {"turns": counted.turns},
        "rag": {"passages": counted.passages},
        **own,
        "lora": {"modules": counted.modules, "held": counted.held},
    }
    return {name: count for name, count in counts.items() if name in engine.names}


def count_tokens(engine: Engine, text: str) -> int:
    """Count the tokens of a text as for a budget."""
    check_part("text", text, str, "a string")
    return engine.counter[1](check_characters("text", text))
