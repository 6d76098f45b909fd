"""Moves knowledge into the weights; see `memkit.lora.consolidation.consolidate`."""

from __future__ import annotations

from dataclasses import dataclass

from memkit.ledger.records.filters import parse
from memkit.memory.engine import Engine
from memkit.memory.forget import sweep
from memkit.memory.telemetry import traced
from memkit.types import ConsolidationReport, Metadata, Scope
from memkit.types.validate import check_flag, check_scope


@dataclass(frozen=True)
class Learnable:
    """Which records are to be learned; see `Memory.consolidate`."""

    scope: Scope | None
    where: Metadata | None
    include_turns: bool
    retry_missed: bool

    def __post_init__(self) -> None:
        if self.scope is not None:
            check_scope(self.scope)
        if self.where is not None:
            parse(self.where)
        check_flag("include_turns", self.include_turns)
        check_flag("retry_missed", self.retry_missed)


@traced("upsert_memory", "consolidate")
def consolidate(engine: Engine, learnable: Learnable) -> ConsolidationReport:
    """Train, verify and commit modules for records that no module holds as they are now."""
    lora = engine.need_lora("consolidate()")
    sweep(engine, retrain=True)
    lora.retire_outdated()
    records = engine.ledger.modules.unplaced(
        within=learnable.scope, where=learnable.where, include_turns=learnable.include_turns
    )
    return engine.consolidator.run(lora, records, retry_missed=learnable.retry_missed)
