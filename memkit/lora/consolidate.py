"""Moving records into the weights: train, verify, commit, one module at a time.

A module becomes visible in one ledger transaction, after its recall was verified and its file
was flushed. A run that fails or is killed leaves at most a directory that no ledger row names;
the next run, or the next opening, removes it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from tqdm import tqdm

from memkit import __version__
from memkit.errors import MemkitError, RecordNotFoundError
from memkit.forget import ADAPTERS, destroy, sweep_orphans
from memkit.ledger import Ledger
from memkit.ledger.locks import adapters_lock
from memkit.lora.capacity import RECORDS_PER_MODULE, partition
from memkit.lora.lora import LoraBackend
from memkit.lora.peft_format import save_adapter
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.supervision import TemplateSynthesizer
from memkit.lora.train import Trained, Trainer
from memkit.lora.verify import Recalled, verify
from memkit.models.base import BaseModel
from memkit.protocols import Example, Query, Synthesizer
from memkit.routing.calibrate import UNRELATED_PROMPTS, threshold_between
from memkit.scope import canonical
from memkit.types import ConsolidationReport, Module, ModuleReport, Record

logger = logging.getLogger("memkit")

THRESHOLD = "router_threshold"  # ledger meta
_CALIBRATION_RECORDS = 256
# Share of the model's context that a prompt and an answer may take each: verification asks in
# batches, where the longest prompt may meet the longest answer.
_ROOM = 0.45


@dataclass(frozen=True)
class Recipe:
    """How records become modules.

    Attributes:
        lora: Shape of the adapters.
        train: How they are trained.
        synthesizer: Makes training examples of records.
        records_per_module: At most so many records share a module.
        reworded_bar: Share of its held-out wordings that a record must be recalled by to count
            as held; every question that it was trained on must be answered exactly.
        progress: Show a progress bar; None shows one on terminals only.
    """

    lora: LoraSpec = field(default_factory=LoraSpec)
    train: TrainSpec = field(default_factory=TrainSpec)
    synthesizer: Synthesizer = field(default_factory=TemplateSynthesizer)
    records_per_module: int = RECORDS_PER_MODULE
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
        self._trainer: Trainer | None = None

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
            parts = partition(records, self.recipe.records_per_module)
            reports = self._modules(backend, parts, name if len(parts) == 1 else None)
        return ConsolidationReport(tuple(reports), time.perf_counter() - started)

    def recalibrate(self, backend: LoraBackend) -> None:
        """Measure the router's threshold again, for another embedder."""
        calibrate(backend, self.recipe.synthesizer, [])

    def _modules(
        self, backend: LoraBackend, parts: Sequence[list[Record]], name: str | None
    ) -> list[ModuleReport]:
        reports = []
        with self._bar(len(parts)) as bar:
            for number, part in enumerate(parts, start=1):
                bar.set_description(f"module {number}/{len(parts)}")
                report = self._module(backend, part, name, bar)
                if report is not None:
                    reports.append(report)
                bar.update(number * self.recipe.train.epochs - bar.n)
        return reports

    def _module(
        self, backend: LoraBackend, records: list[Record], name: str | None, bar: tqdm[NoReturn]
    ) -> ModuleReport | None:
        """Train and commit one module; None if a record was forgotten while it was trained."""
        started = time.perf_counter()
        examples = _fitting(backend.base, self.recipe.synthesizer.examples(records))
        taught = {example.record_id for example in examples if not example.held_out}
        learners = [record for record in records if record.id in taught]
        if not learners:
            return _nothing_learned(records)
        trained = self._train(backend, examples, bar)
        name = name or backend.ledger.modules.next_name()
        with backend.staged(name, trained.adapter, self.recipe.lora, learners) as ask:
            recalled = verify(examples, ask)
        held = self._held(recalled)
        version = 0
        if held:
            try:
                version = self._commit(backend, name, learners, trained, recalled).version
            except RecordNotFoundError:
                logger.info("module %s is discarded: a record was forgotten meanwhile", name)
                return None
        return ModuleReport(
            name=name,
            version=version,
            held=tuple(held),
            missed=tuple(record.id for record in records if record.id not in held),
            recall=_mean([r.trained for r in recalled]),
            paraphrase_recall=_mean([r.reworded for r in recalled]),
            steps=trained.steps,
            seconds=time.perf_counter() - started,
        )

    def _train(
        self, backend: LoraBackend, examples: Sequence[Example], bar: tqdm[NoReturn]
    ) -> Trained:
        def progress(mastered: float) -> None:
            bar.set_postfix(mastered=f"{mastered:.0%}", refresh=False)
            bar.update()

        if self._trainer is None or self._trainer.layers is not backend.layers:
            recipe = self.recipe
            self._trainer = Trainer(backend.base, backend.layers, recipe.lora, recipe.train)
        return self._trainer.fit(examples, progress)

    def _commit(
        self,
        backend: LoraBackend,
        name: str,
        records: Sequence[Record],
        trained: Trained,
        recalled: Sequence[Recalled],
    ) -> Module:
        """Write the file under a name that nothing refers to, then commit the row that does."""
        ledger, lora = backend.ledger, self.recipe.lora
        manifest = self._manifest(backend, records, trained, recalled)
        versions = {record.id: record.version for record in records}
        reworded = {r.record_id: r.reworded for r in recalled}
        folder = ledger.directory / ADAPTERS / f"{name}-{secrets.token_hex(6)}"
        try:
            digest, size = save_adapter(
                folder, trained.adapter, lora, manifest, conv1d=backend.layers.conv1d
            )
            return ledger.modules.commit(
                name,
                records[0].scope,
                manifest,
                file=f"{ADAPTERS}/{folder.name}",
                digest=digest,
                size=size,
                members=list(versions),
                held={id: (versions[id], reworded[id]) for id in self._held(recalled)},
            )
        except MemkitError:
            destroy(folder)
            raise

    def _held(self, recalled: Sequence[Recalled]) -> list[str]:
        return [r.record_id for r in recalled if r.passes(self.recipe.reworded_bar)]

    def _manifest(
        self,
        backend: LoraBackend,
        records: Sequence[Record],
        trained: Trained,
        recalled: Sequence[Recalled],
    ) -> dict[str, Any]:
        return {
            "memkit": __version__,
            "base_model": backend.base.name,
            "fingerprint": backend.base.fingerprint,
            "data": _data_hash(records),
            "lora": self.recipe.lora.as_dict(),
            "train": self.recipe.train.as_dict(),
            "steps": trained.steps,
            "loss": trained.loss,
            "recall": _mean([r.trained for r in recalled]),
            "paraphrase_recall": _mean([r.reworded for r in recalled]),
        }

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


def calibrate(backend: LoraBackend, synthesizer: Synthesizer, records: Sequence[Record]) -> None:
    """Measure where "none" begins for this memory, and remember it.

    It depends on the index alone, so it comes before training: verification routes with it.
    Related similarities come from held-out wordings of the records to be learned and of those
    held already, unrelated ones from general prompts asked in every scope among them.
    """
    ledger = backend.ledger
    held = [id for module in ledger.modules.active() for id in module.records]
    known = ledger.records.get(ledger.records.existing(held)) + list(records)
    if not known:
        return
    sample = known[:: math.ceil(len(known) / _CALIBRATION_RECORDS)]
    scopes = {record.id: record.scope for record in sample}
    examples = [e for e in synthesizer.examples(sample) if e.record_id is not None]
    if not examples:
        return
    # A synthesizer need not hold anything out.
    asked = [example for example in examples if example.held_out] or examples
    related = [Query(e.question, scope=scopes[e.record_id or ""]) for e in asked]
    unrelated = [
        Query(prompt, scope=scope)
        for scope in {canonical(scope): scope for scope in scopes.values()}.values()
        for prompt in UNRELATED_PROMPTS
    ]
    threshold = threshold_between(
        backend.router.similarities(related), backend.router.similarities(unrelated)
    )
    ledger.set_meta(THRESHOLD, repr(threshold))


def _fitting(base: BaseModel, examples: Sequence[Example]) -> list[Example]:
    """Leave out the records that the model's context has no room for; rag keeps them."""
    if base.context is None:
        return list(examples)
    room = int(base.context * _ROOM)
    too_long = {
        example.record_id
        for example in examples
        if max(len(base.prompt(example.question)), len(base.answer_ids(example.answer))) > room
    }
    return [example for example in examples if example.record_id not in too_long]


def _nothing_learned(records: Sequence[Record]) -> ModuleReport:
    missed = tuple(record.id for record in records)
    return ModuleReport("", 0, (), missed, recall=0.0, paraphrase_recall=0.0, steps=0, seconds=0.0)


def _data_hash(records: Sequence[Record]) -> str:
    """SHA-256 over ids, versions and contents, in order."""
    parts = [[record.id, record.version, record.content_hash] for record in records]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
