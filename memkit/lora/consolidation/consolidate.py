"""Moving records into the weights: what there is to train, under a lock, module by module.

Each module is committed on its own (`memkit.lora.consolidation.module_builder`), so a run that
is killed leaves what was done, and the next one does the rest. Examples are committed before
training starts, so that a synthesizer is asked once for each content of a record.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

from memkit.ledger.engine.locks import adapters_lock
from memkit.lora.consolidation.capacity import law_for
from memkit.lora.consolidation.compaction import held_by, small_modules
from memkit.lora.consolidation.examples import make_missing, stored_examples
from memkit.lora.consolidation.fit_context import adapted_share, answer_tokens
from memkit.lora.consolidation.jobs import Job, plan_jobs, plan_retraining, waiting
from memkit.lora.consolidation.manifest import Candidate
from memkit.lora.consolidation.module_builder import Committing, ModuleBuilder
from memkit.lora.consolidation.partition import Limits, Part, plan
from memkit.lora.lora_backend import LoraBackend
from memkit.lora.recipe import Recipe
from memkit.lora.store.adapter_store import tidy
from memkit.lora.training.trainer import Trainers
from memkit.lora.training_progress import progress_of
from memkit.types import CacheUse, ConsolidationReport, ModuleReport, Record, Scope

__all__ = ["Consolidator", "Recipe"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Task:
    """A module to be trained: the next version of ``name``, or a new one; repeated as it was."""

    builder: ModuleBuilder
    part: Part
    name: str | None
    repeated: bool


class Consolidator:
    """Trains records into modules.

    Args:
        recipe: How.
        lock_timeout: Bound on waiting for another process that consolidates, in seconds.
    """

    def __init__(self, recipe: Recipe, *, lock_timeout: float = 30.0) -> None:
        self.recipe = recipe
        self._lock_timeout = lock_timeout
        self._trainers = Trainers()

    def run(
        self,
        backend: LoraBackend,
        records: Sequence[Record],
        *,
        name: str | None = None,
        retry_missed: bool = False,
    ) -> ConsolidationReport:
        """Train records into modules; each is committed as soon as it is verified.

        Modules that hold an older text of the records, or have lost their weights, are trained
        again with them (`memkit.lora.consolidation.jobs`).

        Args:
            backend: Where the modules go.
            records: Partitioned by scope, then in the order given. Those that are gone or held
                by the time that it is this run's turn are left out.
            name: Train the next version of this module on them and nothing else.
            retry_missed: Also try records on which the same training has failed already.

        Raises:
            BusyError: If another process consolidates this memory for too long.
            ReadOnlyError: If the memory cannot be written to.
            TrainingError: If training diverges; modules committed before it stay.
        """
        ledger = backend.ledger
        with adapters_lock(ledger, self._lock_timeout):
            tidy(ledger)
            report = self._run(backend, records, name, retry_missed=retry_missed)
            tidy(ledger)
        return report

    def run_beside(
        self,
        backend: LoraBackend,
        records: Sequence[Record],
        *,
        retry_missed: bool,
        committing: Committing,
    ) -> ConsolidationReport:
        """As `run`, while others may train records of other scopes.

        Args:
            backend: Where the modules go.
            records: Of which nobody else trains any meanwhile.
            retry_missed: As for `run`.
            committing: Holds the lock of the adapters while it is entered, as it is whenever
                their files are written.
        """
        with committing():
            tidy(backend.ledger)
        report = self._run(backend, records, retry_missed=retry_missed, committing=committing)
        with committing():
            tidy(backend.ledger)
        return report

    def _run(
        self,
        backend: LoraBackend,
        records: Sequence[Record],
        name: str | None = None,
        *,
        retry_missed: bool,
        committing: Committing = nullcontext,
    ) -> ConsolidationReport:
        started = time.perf_counter()
        ledger = backend.ledger
        unheld = waiting(ledger, records)
        tried = set() if retry_missed else self._tried(backend, unheld)
        untried = [record for record in unheld if record.id not in tried]
        jobs = plan_jobs(ledger, untried) if name is None else [Job(untried, name)]
        self._make_examples(backend, jobs)
        if untried:
            backend.router.calibrate(untried)
        reports = self._modules(backend, self._tasks(backend, jobs, committing))
        _drop_emptied(backend, [job.name for job in jobs if job.manifest is None])
        left_out = tuple(record.id for record in unheld if record.id in tried)
        return ConsolidationReport(tuple(reports), time.perf_counter() - started, left_out)

    def retrain(self, backend: LoraBackend, names: Sequence[str] | None) -> ConsolidationReport:
        """Train modules again as they were: the same records in the same order, spec and seed.

        Args:
            backend: Where they are.
            names: The modules; None for all, those included that have lost their weights.

        Raises:
            ModuleNotFoundInMemoryError: If one is unknown; nothing is trained then.
            BusyError: As `run`, also for the errors that follow.
        """
        started = time.perf_counter()
        ledger = backend.ledger
        with adapters_lock(ledger, self._lock_timeout):
            tidy(ledger)
            jobs = plan_retraining(ledger, names)
            self._make_examples(backend, jobs)
            reports = self._modules(backend, self._tasks(backend, jobs))
            tidy(ledger)
        return ConsolidationReport(tuple(reports), time.perf_counter() - started)

    def compact(self, backend: LoraBackend, *, scope: Scope | None) -> ConsolidationReport:
        """Train the records of small modules together, where that makes fewer modules.

        A small module goes when others hold all that it held; one whose record was missed by the
        larger one stays, and answers for it as before.

        Args:
            backend: Where they are.
            scope: Only modules of this scope or of narrower ones; None for all.

        Raises:
            BusyError: As `run`, also for the errors that follow.
        """
        started = time.perf_counter()
        ledger = backend.ledger
        with adapters_lock(ledger, self._lock_timeout):
            tidy(ledger)
            builder = ModuleBuilder(backend, replace(self.recipe, retries=0), self._trainers)
            tasks: list[_Task] = []
            small = small_modules(ledger, most=self.recipe.records_per_module // 2, within=scope)
            for modules in small:
                records = held_by(ledger, modules)
                make_missing(ledger, self.recipe.synthesizer, records)
                parts = self._plan(backend, records)
                if len(parts) < len(modules):
                    tasks += [_Task(builder, part, None, repeated=True) for part in parts]
            reports = self._modules(backend, tasks)
            _drop_emptied(backend, [module.name for modules in small for module in modules])
            tidy(ledger)
        kept = ledger.modules.placements([id for report in reports for id in report.missed])
        told = [replace(r, missed=tuple(id for id in r.missed if id not in kept)) for r in reports]
        return ConsolidationReport(tuple(told), time.perf_counter() - started)

    def adopt(self, backend: LoraBackend, candidate: Candidate) -> ModuleReport:
        """Verify and commit weights that were trained elsewhere.

        Raises:
            BusyError: As `run`.
            RecordNotFoundError: If one of its records was forgotten meanwhile.
        """
        with adapters_lock(backend.ledger, self._lock_timeout):
            tidy(backend.ledger)
            ids = [record.id for record in candidate.records]
            holders = set(backend.ledger.modules.placements(ids).values())
            make_missing(backend.ledger, self.recipe.synthesizer, candidate.records)
            backend.router.calibrate(candidate.records)
            report = ModuleBuilder(backend, self.recipe, self._trainers).adopt(candidate)
            _drop_emptied(backend, sorted(holders))
            tidy(backend.ledger)
        return report

    @property
    def cached(self) -> dict[str, CacheUse]:
        """What training caches of examples, and may cache."""
        return self._trainers.cached

    def forget_examples(self) -> None:
        """Let go of what training has cached of examples."""
        self._trainers.forget_examples()

    def _make_examples(self, backend: LoraBackend, jobs: Sequence[Job]) -> None:
        records = [record for job in jobs for record in job.records]
        make_missing(backend.ledger, self.recipe.synthesizer, records)

    def _tried(self, backend: LoraBackend, records: Sequence[Record]) -> set[str]:
        """Ids of the records on which this very training has failed."""
        missed = backend.ledger.failed_attempts.recipes([record.id for record in records])
        if not missed:
            return set()  # without a look at the base model
        key = self.recipe.key(backend.base)
        return {id for id, recipe in missed.items() if recipe == key}

    def _tasks(
        self, backend: LoraBackend, jobs: Sequence[Job], committing: Committing = nullcontext
    ) -> list[_Task]:
        own = ModuleBuilder(backend, self.recipe, self._trainers, committing)
        tasks = []
        for job in jobs:
            # What was right for another base model need not fit this one.
            if job.manifest is None or job.manifest["fingerprint"] != backend.base.fingerprint:
                parts = self._plan(backend, job.records)
                named = max(parts, key=lambda part: len(part.records), default=None)
                for part in parts:
                    name = job.name if part is named else None
                    tasks.append(_Task(own, part, name, repeated=False))
            else:
                recipe = self.recipe.like(job.manifest)
                builder = ModuleBuilder(backend, recipe, self._trainers, committing)
                attempt = job.manifest.get("attempt", 1)
                part = Part(tuple(job.records), builder.recipe.lora.rank, attempt)
                tasks.append(_Task(builder, part, job.name, repeated=True))
        return tasks

    def _plan(self, backend: LoraBackend, records: Sequence[Record]) -> list[Part]:
        if not records:
            return []
        recipe, law = self.recipe, law_for(backend.base)
        share = adapted_share(backend.layers, recipe.lora)
        examples = stored_examples(backend.ledger, recipe.synthesizer, records)
        limits = Limits(
            recipe.records_per_module,
            recipe.lora.rank,
            recipe.max_rank,
            room=lambda rank: share * law.room(rank),
        )
        return plan(records, answer_tokens(backend.base, examples), limits)

    def _modules(self, backend: LoraBackend, tasks: Sequence[_Task]) -> list[ModuleReport]:
        reports: list[ModuleReport] = []
        progress = progress_of(self.recipe.progress)
        progress.begin(len(tasks), self.recipe.train.visits())
        try:
            for number, task in enumerate(tasks, start=1):
                reported = task.builder.attempts(task.part, task.name, number, progress)
                missed = set(ConsolidationReport(tuple(reported), 0.0).missed)
                records = [record for record in task.part.records if record.id in missed]
                if records and not task.repeated:
                    backend.ledger.failed_attempts.note(records, self.recipe.key(backend.base))
                reports += reported
        finally:
            progress.end()
        return reports


def _drop_emptied(backend: LoraBackend, names: Sequence[str | None]) -> None:
    """Drop those modules whose records are all held by others now."""
    for module in backend.ledger.modules.active():
        if module.name in names and not module.records:
            logger.info("module %s is dropped: others hold its records", module.name)
            backend.drop(module.name)
