"""Small modules, which come of single new facts, and what they hold together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from memkit.ledger import Ledger
from memkit.types import Module, Record, Scope
from memkit.types.scope import scope_key


def small_modules(ledger: Ledger, *, most: int, within: Scope | None) -> list[list[Module]]:
    """The modules of each scope that hold ``most`` records at most, in the order of their names.

    Imported ones are left out: memkit's own training need not do as well.
    """
    small = [
        module
        for module in ledger.modules.active(within=within)
        if len(module.records) <= most and "imported" not in module.manifest
    ]
    ordered = sorted(small, key=lambda module: (scope_key(module.scope), module.name))
    return [list(group) for _, group in groupby(ordered, key=lambda m: scope_key(m.scope))]


def held_by(ledger: Ledger, modules: Sequence[Module]) -> list[Record]:
    """The records that modules hold, in the order of the modules."""
    return ledger.records.find([id for module in modules for id in module.records])
