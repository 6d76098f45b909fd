"""Moves knowledge into the weights; see `memkit.lora.consolidation.consolidate`.

That is done at once, or it becomes a job, which a worker does.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from memkit.errors import InvalidInputError
from memkit.ledger.records.filters import parse
from memkit.memory.engine import Engine
from memkit.memory.forget import sweep
from memkit.memory.options import ConsolidateOptions, refuse_unknown
from memkit.memory.telemetry import traced
from memkit.types import ConsolidationReport, Record
from memkit.types.validate import check_flag, check_scope, shown

if TYPE_CHECKING:
    from memkit.lora.consolidation.module_builder import Committing

logger = logging.getLogger(__name__)

_ROUNDS = 3  # of training what was changed, or shared a module with what was forgotten, meanwhile
_MOST = 2**31 - 1  # a priority


@traced("upsert_memory", "consolidate")
def consolidate(engine: Engine, options: ConsolidateOptions) -> ConsolidationReport:
    """Train, verify and commit modules for records that no module holds as they are now."""
    options = _checked(options)
    if options.get("priority"):
        raise InvalidInputError(
            f"`priority` is for jobs, got {shown(options['priority'])} for training at once",
            "Say wait=False, or leave it out.",
        )
    lora = engine.need_lora("consolidate()")
    sweep(engine, retrain=True)
    lora.retire_outdated()
    records = _chosen(engine, options)
    if in_work := set(engine.ledger.jobs.in_work()):
        logger.info("what a worker is training right now is left to it: %d records", len(in_work))
        records = [record for record in records if record.id not in in_work]
    retry_missed = options.get("retry_missed", False)
    return engine.consolidator.run(lora, records, retry_missed=retry_missed)


def put(engine: Engine, options: ConsolidateOptions) -> str:
    """Make a job of what `consolidate` would train, in the transaction that chooses it.

    No model is loaded for that. Returns the job's id.
    """
    options = _checked(options)
    engine.require("lora", "consolidate(wait=False)")
    trainer = trainer_of(engine)
    if _is_outdated(engine):
        engine.need_lora("consolidate(wait=False)").retire_outdated()
    with engine.ledger.transaction():
        return engine.ledger.jobs.put(
            _chosen(engine, options),
            trainer=trainer,
            priority=options.get("priority", 0),
            retry_missed=options.get("retry_missed", False),
        )


@traced("upsert_memory", "consolidate")
def learn(
    engine: Engine, ids: Sequence[str], *, retry_missed: bool, committing: Committing
) -> ConsolidationReport:
    """Do what `consolidate` does for the records of a job, while others train others.

    Records may be changed or forgotten meanwhile: those that lose their module by that are trained
    again.
    """
    lora = engine.need_lora("a job")
    sweep(engine, retrain=True)
    lora.retire_outdated()
    reports: list[ConsolidationReport] = []
    for _ in range(_ROUNDS):
        records = engine.ledger.records.find(ids)
        reports.append(
            engine.consolidator.run_beside(
                lora, records, retry_missed=retry_missed, committing=committing
            )
        )
        settled = {id for report in reports for id in (*report.missed, *report.left_out)}
        if not set(_unheld(engine, ids)) - settled:
            break
    return ConsolidationReport(
        tuple(module for report in reports for module in report.modules),
        sum(report.seconds for report in reports),
        reports[-1].left_out,
    )


def outcome(engine: Engine, ids: Sequence[str]) -> tuple[int, int]:
    """Count those of the records that modules hold by now, and those that none does."""
    unheld = len(_unheld(engine, ids))
    return len(engine.ledger.records.find(ids)) - unheld, unheld


def trainer_of(engine: Engine) -> str:
    """Name what a worker must have to train like this memory: base model and recipe."""
    recipe = engine.config.recipe
    digest = "default"
    if recipe is not None and recipe.digest != type(recipe)().digest:
        digest = recipe.digest
    return json.dumps({"base_model": engine.base_name, "recipe": digest}, ensure_ascii=False)


def told(trainer: str) -> str:
    """Say for people what `trainer_of` names."""
    named = json.loads(trainer)
    return f"the base model {named['base_model']!r} and the recipe {named['recipe']!r}"


def _checked(options: ConsolidateOptions) -> ConsolidateOptions:
    refuse_unknown(options, ConsolidateOptions)
    if (scope := options.get("scope")) is not None:
        check_scope(scope)
    if (where := options.get("where")) is not None:
        parse(where)
    check_flag("include_turns", options.get("include_turns", False))
    check_flag("retry_missed", options.get("retry_missed", False))
    _check_priority(options.get("priority", 0))
    return options


def _check_priority(priority: object) -> None:
    if type(priority) is not int or abs(priority) > _MOST:
        raise InvalidInputError(
            f"`priority` must be a whole number of up to {_MOST}, got {shown(priority)}"
        )


def _chosen(engine: Engine, options: ConsolidateOptions) -> list[Record]:
    return engine.ledger.modules.unplaced(
        within=options.get("scope"),
        where=options.get("where"),
        include_turns=options.get("include_turns", False),
    )


def _unheld(engine: Engine, ids: Sequence[str]) -> list[str]:
    from memkit.lora.consolidation.jobs import waiting

    return [record.id for record in waiting(engine.ledger, engine.ledger.records.find(ids))]


def _is_outdated(engine: Engine) -> bool:
    """Whether a module was trained behind another prompt format than the memory's."""
    modules = engine.ledger.modules.active()
    if not modules:
        return False
    from memkit.lora.compatibility import fits_prompt

    return not all(fits_prompt(module.manifest, engine.prompt_format) for module in modules)
