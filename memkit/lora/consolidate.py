"""Moving records into the weights: train, verify, commit, one module at a time.

A module becomes visible in one ledger transaction, after its recall was verified and its file
was flushed. A run that fails or is killed leaves at most a directory that no ledger row names;
the next run, or the next opening, removes it.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from tqdm import tqdm

from memkit.errors import MemkitError, RecordNotFoundError
from memkit.forget import ADAPTERS, destroy, sweep_orphans
from memkit.ledger import Ledger
from memkit.ledger.locks import adapters_lock
from memkit.lora.capacity import (
    RECORDS_PER_MODULE,
    SAFETY,
    Limits,
    Part,
    halves,
    next_rank,
    plan,
)
from memkit.lora.laws import law_for
from memkit.lora.lessons import adapted_share, answer_tokens, fitting
from memkit.lora.locality import PROMPTS, measure
from memkit.lora.lora import LoraBackend, staged_key
from memkit.lora.manifest import Outcome
from memkit.lora.peft_format import save_adapter
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.supervision import TemplateSynthesizer
from memkit.lora.threshold import calibrate
from memkit.lora.train import Trained, Trainer
from memkit.lora.verify import canonical, verify
from memkit.outcomes import ConsolidationReport, Locality, ModuleReport
from memkit.protocols import Example, Query, Synthesizer
from memkit.types import Module, Record, Route

logger = logging.getLogger("memkit")

MAX_RANK = 16
RETRIES = 2
_NEXT = "next"  # stands for the module that a record would be trained into


@dataclass(frozen=True)
class Recipe:
    """How records become modules.

    Attributes:
        lora: Shape of the adapters.
        train: How they are trained.
        synthesizer: Makes training examples of records.
        records_per_module: At most so many records share a module; fewer if their answers are
            long (`memkit.lora.capacity.plan`).
        max_rank: The rank of ``lora`` is doubled, up to this, for a record that is too long for
            it, and for records that verification missed.
        retries: At most so many more modules are trained for the records that one missed.
        reworded_bar: Share of its held-out wordings that a record must be recalled by to count
            as held; every question that it was trained on must be answered exactly.
        progress: Show a progress bar; None shows one on terminals only.
    """

    lora: LoraSpec = field(default_factory=LoraSpec)
    train: TrainSpec = field(default_factory=TrainSpec)
    synthesizer: Synthesizer = field(default_factory=TemplateSynthesizer)
    records_per_module: int = RECORDS_PER_MODULE
    max_rank: int = MAX_RANK
    retries: int = RETRIES
    reworded_bar: float = 0.5
    progress: bool | None = None


class Consolidator:
    """Trains records into modules.

    Args:
        recipe: How.
        lock_timeout: Bound on waiting for another process that consolidates, in seconds.
    """

    def __init__(self, recipe: Recipe, *, lock_timeout: float = 30.0) -> None:
        self.recipe = recipe
        self._lock_timeout = lock_timeout
        self._trainers: dict[int, Trainer] = {}  # by rank

    def run(
        self, backend: LoraBackend, records: Sequence[Record], *, name: str | None = None
    ) -> ConsolidationReport:
        """Train records into modules; each is committed as soon as it is verified.

        Args:
            backend: Where the modules go.
            records: Partitioned by scope, then in the order given. Those that are gone or held
                by the time that it is this run's turn are left out.
            name: Retrain this module with them, if they fit into one; None for new modules.

        Raises:
            BusyError: If another process consolidates this memory for too long.
            ReadOnlyError: If the memory cannot be written to.
            TrainingError: If training diverges; modules committed before it stay.
        """
        started = time.perf_counter()
        with adapters_lock(backend.ledger.directory, self._lock_timeout):
            records = _waiting(backend.ledger, records)
            sweep_orphans(backend.ledger)
            if records:
                calibrate(backend, self.recipe.synthesizer, records)
            parts = self._plan(backend, records)
            reports = self._modules(backend, parts, name if len(parts) == 1 else None)
        return ConsolidationReport(tuple(reports), time.perf_counter() - started)

    def recalibrate(self, backend: LoraBackend) -> None:
        """Measure the router's threshold again, for another embedder."""
        calibrate(backend, self.recipe.synthesizer, [])

    def _plan(self, backend: LoraBackend, records: Sequence[Record]) -> list[Part]:
        if not records:
            return []
        recipe = self.recipe
        law = law_for(backend.base)
        share = SAFETY * adapted_share(backend.layers, recipe.lora)
        tokens = answer_tokens(backend.base, recipe.synthesizer.examples(records))
        limits = Limits(
            recipe.records_per_module,
            recipe.lora.rank,
            recipe.max_rank,
            room=lambda rank: share * law.tokens(rank),
        )
        return plan(records, tokens, limits)

    def _modules(
        self, backend: LoraBackend, parts: Sequence[Part], name: str | None
    ) -> list[ModuleReport]:
        reports = []
        with self._bar(len(parts)) as bar:
            for number, part in enumerate(parts, start=1):
                bar.set_description(f"module {number}/{len(parts)}")
                reports += self._attempts(backend, part, name, bar)
                bar.update(number * self.recipe.train.epochs - bar.n)
        return reports

    def _attempts(
        self, backend: LoraBackend, part: Part, name: str | None, bar: tqdm[NoReturn]
    ) -> list[ModuleReport]:
        """Train a part; the records that it misses get modules of their own, within bounds."""
        reports: list[ModuleReport] = []
        queue, spare = deque([part]), self.recipe.retries
        while queue:
            now = queue.popleft()
            report = self._module(backend, now, None if reports else name, bar)
            if report is not None:
                reports.append(report)
                again = self._again(backend, now, report, spare)
                spare -= len(again)
                queue.extend(again)
        return reports

    def _again(
        self, backend: LoraBackend, part: Part, report: ModuleReport, spare: int
    ) -> list[Part]:
        """What to train anew: the missed records at the next rank, most of a part in halves."""
        missed = self._reachable(backend, report.missed) if spare else []
        rank = next_rank(part.rank, self.recipe.max_rank)
        if not missed or (len(part.records) == 1 and rank == part.rank):
            return []  # the same training would give the same weights
        pieces = 2 if 2 * len(missed) > len(part.records) else 1
        attempt = report.attempt + 1
        return [Part(tuple(p), rank, attempt) for p in halves(missed, min(pieces, spare))]

    def _reachable(self, backend: LoraBackend, ids: Sequence[str]) -> list[Record]:
        """Those of the records that would be asked if a module held them: others stay with rag.

        A question whose nearest fact is another record is not helped by better weights.
        """
        records = backend.ledger.records.get(backend.ledger.records.existing(ids))
        examples = canonical(fitting(backend.base, self.recipe.synthesizer.examples(records)))
        scopes = {record.id: record.scope for record in records}
        asked = [Query(e.question, scope=scopes[e.record_id or ""]) for e in examples]
        routes = backend.router.route(asked, pending=dict.fromkeys(scopes, _NEXT))
        lost = {
            e.record_id for e, r in zip(examples, routes, strict=True) if _NEXT not in r.weights
        }
        taught = {example.record_id for example in examples} - lost
        return [record for record in records if record.id in taught]

    def _module(
        self, backend: LoraBackend, part: Part, name: str | None, bar: tqdm[NoReturn]
    ) -> ModuleReport | None:
        """Train and commit one module; None if a record was forgotten while it was trained."""
        started = time.perf_counter()
        records, lora = part.records, replace(self.recipe.lora, rank=part.rank)
        examples = fitting(backend.base, self.recipe.synthesizer.examples(records))
        taught = {example.record_id for example in examples if not example.held_out}
        learners = [record for record in records if record.id in taught]
        if not learners:
            return _nothing_learned(records)
        trained = self._train(backend, lora, examples, bar)
        name = name or backend.ledger.modules.next_name()
        with backend.staged(name, trained.adapter, lora, learners) as ask:
            recalled = verify(examples, ask)
            locality = _locality(backend, name, learners)
        outcome = Outcome(learners, lora, trained, recalled, locality, part.attempt)
        held = outcome.held(self.recipe.reworded_bar)
        version = 0
        if held:
            try:
                version = self._commit(backend, name, outcome).version
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
        )

    def _train(
        self,
        backend: LoraBackend,
        lora: LoraSpec,
        examples: Sequence[Example],
        bar: tqdm[NoReturn],
    ) -> Trained:
        def progress(mastered: float) -> None:
            bar.set_postfix(mastered=f"{mastered:.0%}", refresh=False)
            bar.update()

        trainer = self._trainers.get(lora.rank)
        if trainer is None or trainer.layers is not backend.layers:
            trainer = Trainer(backend.base, backend.layers, lora, self.recipe.train)
            self._trainers[lora.rank] = trainer
        return trainer.fit(examples, progress)

    def _commit(self, backend: LoraBackend, name: str, outcome: Outcome) -> Module:
        """Write the file under a name that nothing refers to, then commit the row that does."""
        ledger, records = backend.ledger, outcome.records
        manifest = outcome.manifest(backend.base, self.recipe.train)
        reworded = {one.record_id: one.reworded for one in outcome.recalled}
        held = outcome.held(self.recipe.reworded_bar)
        folder = ledger.directory / ADAPTERS / f"{name}-{secrets.token_hex(6)}"
        try:
            digest, size = save_adapter(
                folder,
                outcome.trained.adapter,
                outcome.lora,
                manifest,
                conv1d=backend.layers.conv1d,
            )
            return ledger.modules.commit(
                name,
                records[0].scope,
                manifest,
                file=f"{ADAPTERS}/{folder.name}",
                digest=digest,
                size=size,
                members=records,
                held={id: reworded[id] for id in held},
            )
        except MemkitError:
            destroy(folder)
            raise

    def _bar(self, modules: int) -> tqdm[NoReturn]:
        show = self.recipe.progress
        return tqdm(
            total=modules * self.recipe.train.epochs,
            unit="epoch",
            disable=None if show is None else not show,
        )


def _waiting(ledger: Ledger, records: Sequence[Record]) -> list[Record]:
    """Those of the records that still exist and that no module holds, as they are now."""
    ids = [record.id for record in records]
    with ledger.transaction():
        here, placed = set(ledger.records.existing(ids)), ledger.modules.placements(ids)
        return ledger.records.get([id for id in ids if id in here and id not in placed])


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
