"""Trains one module: the attempts that it takes, its verification, and its commit.

A module becomes visible in one ledger transaction, after its recall was verified and its row
was flushed. A run that fails or is killed leaves at most a row that no version names; the next
run, or the next opening, wipes it.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from memkit.errors import RecordNotFoundError
from memkit.lora.consolidation.examples import stored_examples
from memkit.lora.consolidation.fit_context import fitting
from memkit.lora.consolidation.locality import PROMPTS, measure
from memkit.lora.consolidation.manifest import Candidate, Outcome
from memkit.lora.consolidation.partition import Part, halves, next_rank
from memkit.lora.lora_backend import LoraBackend, staged_key
from memkit.lora.recipe import Recipe
from memkit.lora.store.adapter_rows import written_row
from memkit.lora.training.trainer import Trainers
from memkit.lora.training_progress import TrainingProgress
from memkit.lora.verify import canonical, verify
from memkit.types import Example, Locality, Module, ModuleReport, Query, Record, Route

logger = logging.getLogger(__name__)

Committing = Callable[[], AbstractContextManager[None]]
_NEXT = "next"  # stands for the module that a record would be trained into


class ModuleBuilder:
    """Trains modules by one recipe, on the examples that the ledger has.

    Args:
        backend: Where they go.
        recipe: How they are trained.
        trainers: By which they are.
        committing: What each commit is wrapped in, unless the lock of the adapters is held all
            the time.
    """

    def __init__(
        self,
        backend: LoraBackend,
        recipe: Recipe,
        trainers: Trainers,
        committing: Committing = nullcontext,
    ) -> None:
        self.recipe = recipe
        self._backend = backend
        self._trainers = trainers
        self._committing = committing

    def attempts(
        self, part: Part, name: str | None, number: int, progress: TrainingProgress
    ) -> list[ModuleReport]:
        """Train a part; the records that it misses get modules of their own, within bounds."""
        reports: list[ModuleReport] = []
        queue, spare = deque([part]), self.recipe.retries
        while queue:
            now = queue.popleft()
            progress.module(number, len(now.records), now.attempt)
            report = self._module(now, None if reports else name, progress)
            if report is not None:
                progress.trained(report)
                reports.append(report)
                retries = self._retries(now, report, spare)
                spare -= len(retries)
                queue.extend(retries)
        return reports

    def _retries(self, part: Part, report: ModuleReport, spare: int) -> list[Part]:
        """What to train anew: the missed records at the next rank, most of a part in halves."""
        missed = self._reachable(report.missed) if spare else []
        rank = next_rank(part.rank, self.recipe.max_rank)
        if not missed or (len(part.records) == 1 and rank == part.rank):
            return []  # the same training would give the same weights
        pieces = 2 if 2 * len(missed) > len(part.records) else 1
        attempt = report.attempt + 1
        return [Part(tuple(p), rank, attempt) for p in halves(missed, min(pieces, spare))]

    def _reachable(self, ids: Sequence[str]) -> list[Record]:
        """Those of the records that would be asked if a module held them: others stay with rag.

        A question whose nearest fact is another record is not helped by better weights.
        """
        records = self._backend.ledger.records.find(ids)
        examples = canonical(fitting(self._backend.base, self._stored(records)))
        scopes = {record.id: record.scope for record in records}
        queries = [Query(e.question, scope=scopes[e.record_id or ""]) for e in examples]
        coming = {example.record_id or "": _NEXT for example in examples}
        routes = self._backend.router.route(queries, pending=coming)
        lost = {
            e.record_id for e, r in zip(examples, routes, strict=True) if _NEXT not in r.weights
        }
        taught = {example.record_id for example in examples} - lost
        return [record for record in records if record.id in taught]

    def adopt(self, candidate: Candidate) -> ModuleReport:
        """Verify and commit weights that were trained elsewhere, like memkit's own.

        Raises:
            RecordNotFoundError: If one of the records was forgotten meanwhile.
            NonFiniteError: If a weight is too large to be stored.
        """
        started = time.perf_counter()
        examples, learners = self._trainable(candidate.records)
        if not learners:
            return _nothing_learned(candidate.records)
        report = self._admit(None, examples, replace(candidate, records=learners))
        missed = _others(candidate.records, report.held)
        return replace(report, missed=missed, seconds=time.perf_counter() - started)

    def _module(
        self, part: Part, name: str | None, progress: TrainingProgress
    ) -> ModuleReport | None:
        """Train and commit one module; None if a record was forgotten while it was trained."""
        started = time.perf_counter()
        lora = replace(self.recipe.lora, rank=part.rank)
        examples, learners = self._trainable(part.records)
        if not learners:
            return _nothing_learned(part.records)
        backend, recipe = self._backend, self.recipe
        trainer = self._trainers.get(
            backend.base, backend.layers, lora, recipe.train, recipe.prompt_format
        )
        trained = trainer.fit(examples, progress.epoch)
        origin = {
            "train": trainer.train.as_dict(),
            "attempt": part.attempt,
            "steps": trained.steps,
            "loss": trained.loss,
        }
        try:
            report = self._admit(name, examples, Candidate(learners, lora, trained.adapter, origin))
        except RecordNotFoundError:
            logger.info("a module is discarded: a record was forgotten while it was trained")
            return None
        return replace(
            report,
            missed=_others(part.records, report.held),
            steps=trained.steps,
            seconds=time.perf_counter() - started,
            attempt=part.attempt,
        )

    def _trainable(self, records: Sequence[Record]) -> tuple[list[Example], list[Record]]:
        """The examples that fit the base model, and the records that they teach."""
        examples = fitting(self._backend.base, self._stored(records))
        taught = {example.record_id for example in examples if not example.held_out}
        return examples, [record for record in records if record.id in taught]

    def _stored(self, records: Sequence[Record]) -> list[Example]:
        return stored_examples(self._backend.ledger, self.recipe.synthesizer, records)

    def _admit(
        self, name: str | None, examples: Sequence[Example], candidate: Candidate
    ) -> ModuleReport:
        """Verify a candidate through the path that serves it; commit it if it holds anything."""
        modules = self._backend.ledger.modules
        name = name or modules.next_name()
        before = modules.last_version(name)
        staged = self._backend.staged(name, candidate.adapter, candidate.lora, candidate.records)
        with staged as ask:
            results = verify(examples, ask)
            locality = _locality(self._backend, name, candidate.records)
        outcome = Outcome(candidate, results, locality)
        held = tuple(outcome.held(self.recipe.reworded_bar))
        version = self._commit(name, outcome).version if held else 0
        return ModuleReport(
            name=name,
            version=version,
            held=held,
            missed=_others(candidate.records, held),
            recall=outcome.recall,
            paraphrase_recall=outcome.paraphrase_recall,
            steps=0,
            seconds=0.0,
            locality=locality,
            unchanged=0 < version <= before,
        )

    def _commit(self, name: str, outcome: Outcome) -> Module:
        """Write a row that nothing refers to, then commit the version that does."""
        backend, recipe, candidate = self._backend, self.recipe, outcome.candidate
        manifest = outcome.manifest(backend.base, recipe.synthesizer.key, recipe.prompt_format)
        row = backend.row(candidate.adapter, candidate.lora)
        with self._committing(), written_row(backend.ledger, row) as file:
            return backend.ledger.modules.commit(
                name,
                candidate.records[0].scope,
                manifest,
                file=file.path,
                digest=file.digest,
                size=file.size,
                members=candidate.records,
                held=outcome.held(recipe.reworded_bar),
            )


def _locality(backend: LoraBackend, name: str, records: Sequence[Record]) -> Locality:
    """What a staged module does to unrelated prompts, asked in the scope of its records."""
    key = {name: staged_key(name)}
    queries = [Query(prompt, scope=records[0].scope) for prompt in PROMPTS]
    return measure(
        backend.base,
        backend.router.route(queries, pending={record.id: name for record in records}),
        Route({name: 1.0}),
        lambda routes: backend.adapters(routes, pending=key),
    )


def _others(records: Sequence[Record], held: Sequence[str]) -> tuple[str, ...]:
    return tuple(record.id for record in records if record.id not in held)


def _nothing_learned(records: Sequence[Record]) -> ModuleReport:
    missed = _others(records, ())
    return ModuleReport("", 0, (), missed, recall=0.0, paraphrase_recall=0.0, steps=0, seconds=0.0)
