"""What a run has to train: new modules, and modules that are to be trained again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memkit.errors import ModuleNotFoundInMemoryError
from memkit.ledger import Ledger
from memkit.types import Module, Record


@dataclass(frozen=True)
class Job:
    """Records to be trained, in one module or, if they are too many for it, in several.

    Attributes:
        records: In the order of training.
        name: The module whose next version they become, or most of them; None for a new one.
        manifest: Of the version that is to be repeated: one module, trained as that was. None
            to train as the recipe says.
    """

    records: Sequence[Record]
    name: str | None = None
    manifest: Mapping[str, Any] | None = None


def waiting(ledger: Ledger, records: Sequence[Record]) -> list[Record]:
    """Those of the records that still exist and that no module holds, as they are now."""
    ids = [record.id for record in records]
    with ledger.transaction():
        placed = ledger.modules.placements(ids)
        return ledger.records.find([id for id in ids if id not in placed])


def plan_jobs(ledger: Ledger, records: Sequence[Record]) -> list[Job]:
    """What to do so that modules hold these records, which none holds as they are now.

    A module that has lost its weights is repeated as it was. A module that was trained on an
    older text of some of the records is trained on their new text and on what else it holds, so
    that the old text leaves the weights in service. All other records make new modules.
    """
    with ledger.transaction():  # nothing is forgotten between one look and the next
        existing = set(ledger.records.existing([record.id for record in records]))
        records = [record for record in records if record.id in existing]
        homes = ledger.modules.former_placements(list(existing))
        lost = {module.name: module for module in ledger.modules.without_weights()}
        jobs = []
        for name in dict.fromkeys(homes[record.id] for record in records if record.id in homes):
            if name in lost:
                jobs.append(_repeated(ledger, lost[name]))
            else:
                wanted = {id for id, home in homes.items() if home == name}
                wanted.update(ledger.modules.get(name).records)
                ids = [id for id in ledger.modules.members(name) if id in wanted]
                jobs.append(Job(ledger.records.get(ids), name))
        fresh = [record for record in records if record.id not in homes]
        return [*jobs, Job(fresh)] if fresh else jobs


def plan_retraining(ledger: Ledger, names: Sequence[str] | None) -> list[Job]:
    """What to do to train modules again as they were, those included that lost their weights.

    Args:
        ledger: Knows what they were trained on.
        names: The modules; None for all, except for imported ones that have their weights:
            those cannot be made again.

    Raises:
        ModuleNotFoundInMemoryError: If one is unknown.
    """
    with ledger.transaction():
        known = ledger.modules.active() + ledger.modules.without_weights()
        modules = {module.name: module for module in sorted(known, key=lambda m: m.name)}
        for name in names or ():
            if name not in modules:
                raise ModuleNotFoundInMemoryError(
                    f"no module has the name {name!r}",
                    f"These can be trained again: {', '.join(modules)}."
                    if modules
                    else "There are no modules; `consolidate` trains some.",
                )
        if names is None:
            imported = {m.name for m in modules.values() if m.versions and "imported" in m.manifest}
            names = [name for name in modules if name not in imported]
        return [_repeated(ledger, modules[name]) for name in dict.fromkeys(names)]


def _repeated(ledger: Ledger, module: Module) -> Job:
    # Without those that have expired since the last sweep, or are for other readers by now.
    members = ledger.records.find(ledger.modules.members(module.name))
    own = [record for record in members if record.scope == module.scope]
    return Job(own, module.name, module.manifest)
