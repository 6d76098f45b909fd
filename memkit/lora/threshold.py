"""Where "none" begins for a memory: measured before training, kept in its ledger."""

from __future__ import annotations

import math
from collections.abc import Sequence

from memkit.lora.lora import LoraBackend
from memkit.protocols import Query, Synthesizer
from memkit.routing.calibrate import UNRELATED_PROMPTS, threshold_between
from memkit.scope import canonical
from memkit.types import Record

THRESHOLD = "router_threshold"  # ledger meta
SAMPLE = 256  # records that are asked about


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
    sample = known[:: math.ceil(len(known) / SAMPLE)]
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
