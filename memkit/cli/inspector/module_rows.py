"""Modules as the page shows them: rank, recall, size, versions, and how full they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from memkit.cli.inspector.record_columns import seconds
from memkit.ledger import Ledger
from memkit.lora.consolidation.capacity import known_law
from memkit.types import Module
from memkit.types.scope import scope_key

_BYTES = 4  # of English text, about, have a token; each digit has one in most vocabularies


def module_rows(
    ledger: Ledger,
    modules: Sequence[Module],
    scopes: Mapping[str, int],
    answers: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Describe modules in service.

    Args:
        ledger: Where they are.
        modules: Which.
        scopes: Scope as JSON to its number.
        answers: What is learned of each record, by id: its answer, else its text.
    """
    return [_row(ledger, module, scopes, answers) for module in modules]


def _row(
    ledger: Ledger, module: Module, scopes: Mapping[str, int], answers: Mapping[str, str]
) -> dict[str, Any]:
    manifest = module.manifest
    trained = ledger.modules.members(module.name)
    lora = manifest.get("lora", {})
    locality = manifest.get("locality") or {}
    return {
        "name": module.name,
        "version": module.version,
        "scope": scopes[scope_key(module.scope)],
        "held": len(module.records),
        "trained": len(trained),
        "rank": lora.get("rank"),
        "targets": lora.get("target_modules"),
        "recall": manifest.get("recall"),
        "reworded": manifest.get("paraphrase_recall"),
        "alone": locality.get("routed"),
        "size": ledger.modules.file(module.name).size,
        "steps": manifest.get("steps"),
        "loss": manifest.get("loss"),
        "base": manifest.get("base_model"),
        "synthesizer": manifest.get("synthesizer"),
        "created": seconds(module.created_at),
        "versions": _versions(ledger, module),
        **_capacity(manifest, [answers[id] for id in trained if id in answers]),
    }


def _versions(ledger: Ledger, module: Module) -> list[list[Any]]:
    """Number, time, records held and recall of the versions that are kept, oldest first."""
    kept = []
    for number in module.versions:
        version = ledger.modules.in_file(ledger.modules.file(module.name, number).path)
        recall = version.manifest.get("recall")
        kept.append([version.version, seconds(version.created_at), recall])
    return kept


def _capacity(manifest: Mapping[str, Any], answers: Sequence[str]) -> dict[str, Any]:
    """Answer tokens that a module was trained on and has room for, and whether that is measured."""
    rank, base = manifest.get("lora", {}).get("rank"), manifest.get("base_model")
    if rank is None or base is None:
        return {"tokens": None, "room": None, "measured": False}
    law, measured = known_law(base, manifest.get("fingerprint", ""))
    tokens = sum(estimated_tokens(answer) for answer in answers)
    return {"tokens": tokens, "room": math.floor(law.room(rank)), "measured": measured}


def estimated_tokens(answer: str) -> int:
    """About how many tokens an answer is learned by, the one that ends it included.

    No tokenizer is loaded: each digit counts one, and four bytes of anything else.

    Example:
        >>> estimated_tokens("7954"), estimated_tokens("floor 2, west wing")
        (5, 7)
    """
    digits = sum(character.isdigit() for character in answer)
    others = len("".join(c for c in answer if not c.isdigit()).encode())
    return digits + math.ceil(others / _BYTES) + 1
