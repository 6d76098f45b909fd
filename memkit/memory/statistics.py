"""Counts what a memory holds."""

from __future__ import annotations

from pathlib import Path

from memkit.files import files_below
from memkit.memory.engine import Engine
from memkit.types import Scope, Stats
from memkit.types.validate import check_characters, check_part


def stats(engine: Engine, scope: Scope | None) -> Stats:
    """Count what a memory holds, or a scope of it."""
    ledger = engine.ledger
    modules = ledger.modules.active(within=scope)
    return Stats(
        records=ledger.records.count(within=scope),
        versions=ledger.records.count_versions(within=scope),
        turns=ledger.turns.count(within=scope),
        passages=ledger.passages.count(within=scope),
        modules=len(modules),
        held=sum(len(module.records) for module in modules),
        bytes_on_disk=sum(map(_size, files_below(ledger.directory))),
        embedder=ledger.get_meta("embedder"),
        base_model=modules[0].manifest["base_model"] if modules else None,
        expired=ledger.records.count_expired(within=scope),
        backends={b.name: dict(b.stats()) for b in engine.backends_asked} if scope is None else {},
    )


def count_tokens(engine: Engine, text: str) -> int:
    """Count the tokens of a text as for a budget."""
    check_part("text", text, str, "a string")
    return engine.counter[1](check_characters("text", text))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # another process has removed it
        return 0
