"""Trains one module: the attempts that it takes, its verification, and its commit.

A module becomes visible in one ledger transaction, after its recall was verified and its row
was flushed. A run that fails or is killed leaves at most a row that no version names; the next
run, or the next opening, wipes it.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

from tqdm import tqdm

from memkit.errors import RecordNotFoundError
from memkit.lora.capacity import Part, halves, next_rank
from memkit.lora.lessons import fitting
from memkit.lora.locality import PROMPTS, measure
from memkit.lora.lora import LoraBackend, staged_key
from memkit.lora.manifest import Outcome
from memkit.lora.recipe import Recipe
from memkit.lora.shelf import keep
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.train import Trained, Trainer
from memkit.lora.verify import canonical, verify
from memkit.outcomes import Locality, ModuleReport
from memkit.protocols import Example, Query
from memkit.types import Module, Record, Route

Trainers = dict[tuple[LoraSpec, TrainSpec], Trainer]  # each knows how the base model answers

logger = logging.getLogger("memkit")

_NEXT = "next"  # stands for the module that a record would be trained into


class Workshop:
    """Trains modules by one recipe.

    Args:
        backend: Where they go.
        recipe: How they are trained and what they have to recall.
        trainers: Those that there are; new ones are added.
    """

    def __init__(self, backend: LoraBackend, recipe: Recipe, trainers: Trainers) -> None:
        self.recipe = recipe
        self._backend = backend
        self._trainers = trainers

    def attempts(self, part: Part, name: str | None, bar: tqdm[NoReturn]) -> list[ModuleReport]:
        """Train a part; the records that it misses get modules of their own, within bounds."""
        reports: list[ModuleReport] = []
        queue, spare = deque([part]), self.recipe.retries
        while queue:
            now = queue.popleft()
            report = self._module(now, None if reports else name, bar)
            if report is not None:
                reports.append(report)
                again = self._again(now, report, spare)
                spare -= len(again)
                queue.extend(again)
        return reports

    def _again(self, part: Part, report: ModuleReport, spare: int) -> list[Part]:
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
        records = self._backend.ledger.records.get(self._backend.ledger.records.existing(ids))
        examples = canonical(fitting(self._backend.base, self.recipe.synthesizer.examples(records)))
        scopes = {record.id: record.scope for record in records}
        asked = [Query(e.question, scope=scopes[e.record_id or ""]) for e in examples]
        coming = {example.record_id or "": _NEXT for example in examples}
        routes = self._backend.router.route(asked, pending=coming)
        lost = {
            e.record_id for e, r in zip(examples, routes, strict=True) if _NEXT not in r.weights
        }
        taught = {example.record_id for example in examples} - lost
        return [record for record in records if record.id in taught]

    def _module(self, part: Part, name: str | None, bar: tqdm[NoReturn]) -> ModuleReport | None:
        """Train and commit one module; None if a record was forgotten while it was trained."""
        started = time.perf_counter()
        records, lora = part.records, replace(self.recipe.lora, rank=part.rank)
        examples = fitting(self._backend.base, self.recipe.synthesizer.examples(records))
        taught = {example.record_id for example in examples if not example.held_out}
        learners = [record for record in records if record.id in taught]
        if not learners:
            return _nothing_learned(records)
        trained = self._train(lora, examples, bar)
        name = name or self._backend.ledger.modules.next_name()
        before = self._backend.ledger.modules.last_version(name)
        with self._backend.staged(name, trained.adapter, lora, learners) as ask:
            recalled = verify(examples, ask)
            locality = _locality(self._backend, name, learners)
        outcome = Outcome(learners, lora, trained, recalled, locality, part.attempt)
        held = outcome.held(self.recipe.reworded_bar)
        version = 0
        if held:
            try:
                version = self._commit(name, outcome).version
            except RecordNotFoundError:
                logger.info("module %s is discarded: a record was forgotten meanwhile", name)
                return None
        return ModuleReport(
            name=name,
            version=version,
            held=tuple(held),
            missed=tuple(record.id for record in records if record.id not in held),
            recall=outcome.recall,
            paraphrase_recall=outcome.paraphrase_recall,
            steps=trained.steps,
            seconds=time.perf_counter() - started,
            locality=locality,
            attempt=part.attempt,
            unchanged=0 < version <= before,
        )

    def _train(self, lora: LoraSpec, examples: Sequence[Example], bar: tqdm[NoReturn]) -> Trained:
        def progress(mastered: float) -> None:
            bar.set_postfix(mastered=f"{mastered:.0%}", refresh=False)
            bar.update()

        how = lora, self.recipe.train
        trainer = self._trainers.get(how)
        if trainer is None or trainer.layers is not self._backend.layers:
            trainer = self._trainers[how] = Trainer(self._backend.base, self._backend.layers, *how)
        return trainer.fit(examples, progress)

    def _commit(self, name: str, outcome: Outcome) -> Module:
        """Write a row that nothing refers to, then commit the version that does."""
        ledger, records = self._backend.ledger, outcome.records
        manifest = outcome.manifest(self._backend.base, self.recipe.train)
        reworded = {one.record_id: one.reworded for one in outcome.recalled}
        held = outcome.held(self.recipe.reworded_bar)
        with keep(ledger, self._backend.row(outcome.trained.adapter, outcome.lora)) as file:
            return ledger.modules.commit(
                name,
                records[0].scope,
                manifest,
                file=file.path,
                digest=file.digest,
                size=file.size,
                members=records,
                held={id: reworded[id] for id in held},
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


def _nothing_learned(records: Sequence[Record]) -> ModuleReport:
    missed = tuple(record.id for record in records)
    return ModuleReport("", 0, (), missed, recall=0.0, paraphrase_recall=0.0, steps=0, seconds=0.0)
