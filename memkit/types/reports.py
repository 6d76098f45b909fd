"""What consolidation, transfers and counting report; each can be printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from memkit.types.value import Value


@dataclass(frozen=True)
class Locality(Value):
    """How far a module changes the first tokens of answers to a fixed set of unrelated prompts.

    Attributes:
        routed: Share whose answer is the base model's own when they are routed as a user's
            question is.
        forced: The same share when the module is active whatever the router says.
        divergence: Mean KL divergence of the first token's distribution from the base model's,
            with the module active, in nats.
    """

    routed: float
    forced: float
    divergence: float


@dataclass(frozen=True)
class ModuleReport(Value):
    """What training one module achieved.

    Attributes:
        version: 0 if no recall was verified, so that nothing was stored.
        held: Ids of the records whose recall was verified.
        missed: Ids of the others.
        recall: Share of the trained questions that were answered exactly.
        paraphrase_recall: Share of held-out wordings that were answered exactly.
        seconds: Wall-clock time, verification included.
        locality: What the module does to unrelated prompts; None if none was trained.
        attempt: 1; higher for records that another module of the same run has missed.
        unchanged: Training gave the same bytes as a stored version, so that none was added.
    """

    name: str
    version: int
    held: tuple[str, ...]
    missed: tuple[str, ...]
    recall: float
    paraphrase_recall: float
    steps: int
    seconds: float
    locality: Locality | None = None
    attempt: int = 1
    unchanged: bool = False

    def __str__(self) -> str:
        module = f"{self.name} v{self.version}" if self.held else "none"
        again = f" (try {self.attempt})" if self.attempt > 1 else ""
        again += " (as before)" if self.unchanged else ""
        held = f"{len(self.held)}/{len(self.held) + len(self.missed)}"
        alone = f"{self.locality.routed:.2f}" if self.locality else "-"
        forced = f"{self.locality.forced:.2f}" if self.locality else "-"
        return (
            f"{module + again:<20} {held:>6} {self.recall:>7.2f} {self.paraphrase_recall:>9.2f} "
            f"{alone:>10} {forced:>7} {self.steps:>6} {self.seconds:>7.1f}"
        )


@dataclass(frozen=True)
class ConsolidationReport(Value):
    """What consolidation or retraining did.

    Attributes:
        modules: One report per trained module.
        left_out: Ids of records that were not tried, because the same training has failed on
            them before; ``consolidate(retry_missed=True)`` tries them again.
    """

    derived = ("held", "missed")

    modules: tuple[ModuleReport, ...]
    seconds: float
    left_out: tuple[str, ...] = ()

    @property
    def held(self) -> tuple[str, ...]:
        """Ids of the records that are now answered from weights."""
        return tuple(id for module in self.modules for id in module.held)

    @property
    def missed(self) -> tuple[str, ...]:
        """Ids of the records whose recall failed; rag goes on answering them."""
        held = set(self.held)  # by another attempt
        missed = dict.fromkeys(id for module in self.modules for id in module.missed)
        return tuple(id for id in missed if id not in held)

    def __str__(self) -> str:
        lines = ["nothing to consolidate"]
        if self.modules:
            lines = [
                f"{'module':<20} {'held':>6} {'recall':>7} {'reworded':>9} "
                f"{'left alone':>10} {'forced':>7} {'steps':>6} {'s':>7}",
                *map(str, self.modules),
                f"{len(self.held)} records held in weights, {len(self.missed)} stay with rag",
            ]
        if self.left_out:
            lines.append(f"{len(self.left_out)} left out, as missed before (see `retry_missed`)")
        return "\n".join(lines)


@dataclass(frozen=True)
class ImportReport(Value):
    """What `Memory.add_messages` did.

    Attributes:
        turns: Ids of the turns that were added, in order.
        records: Ids of the records with the same content.
        left_out: How many messages are not stored: instructions, calls of tools, and what memkit
            itself had recalled.
    """

    turns: tuple[str, ...]
    records: tuple[str, ...]
    known: int
    left_out: int

    def __str__(self) -> str:
        return (
            f"{len(self.turns)} turns added, and {len(self.records)} records; "
            f"{self.known} were there already, {self.left_out} are no memories"
        )


@dataclass(frozen=True)
class TransferReport(Value):
    """What an export has written, or an import has added.

    Attributes:
        versions: How many older versions of the records.
        ttls: How many default times to live.
        skipped: How many entries were present already, or lost a conflict.
        replaced: How many entries replaced others.
        expired: How many had expired since the export, and were left out.
    """

    path: Path
    records: int
    versions: int
    turns: int
    items: int
    ttls: int
    modules: int
    skipped: int = 0
    replaced: int = 0
    expired: int = 0

    @classmethod
    def of(cls, path: Path, counts: Mapping[str, int], *, modules: int | None = None) -> Self:
        """Make a report of counts by kind of entry, such as "record"."""
        names = [field.name for field in fields(cls) if field.name != "path"]
        numbers = {name: counts.get(name.removesuffix("s"), 0) for name in names}
        return cls(path, **numbers | ({} if modules is None else {"modules": modules}))

    def __str__(self) -> str:
        others = ("skipped", self.skipped), ("replaced", self.replaced), ("expired", self.expired)
        return (
            f"{self.path}: {self.records} records with {self.versions} older versions, "
            f"{self.turns} turns, {self.items} items, {self.ttls} times to live, "
            f"{self.modules} modules"
            + "".join(f", {count} {label}" for label, count in others if count)
        )


@dataclass(frozen=True)
class Stats(Value):
    """How much a memory holds, or a scope of it.

    Attributes:
        records: Without the expired ones.
        versions: Of these records, the current ones included.
        modules: Active adapter modules.
        held: Records that the modules hold.
        bytes_on_disk: Of the whole memory.
        embedder: Name of the model that made the vectors; None if there are none.
        base_model: Name of the model that the modules are for; None if there are none.
        expired: Records that `Memory.sweep` will erase.
    """

    records: int
    versions: int
    turns: int
    passages: int
    modules: int
    held: int
    bytes_on_disk: int
    embedder: str | None
    base_model: str | None
    expired: int = 0

    def __str__(self) -> str:
        expired = f", {self.expired} expired" if self.expired else ""
        return (
            f"{self.records} records ({self.versions} versions), {self.turns} turns, "
            f"{self.passages} passages, {self.held} held by {self.modules} modules, "
            f"{self.bytes_on_disk / 2**20:.1f} MiB{expired}"
        )
