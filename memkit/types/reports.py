"""What consolidation, transfers and counting report; each can be printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from memkit.types.value import Value, counted

# Verification asks in wordings that a synthesizer wrote, not in those of the people who will ask.
WORDINGS = "trained, held-out: share recited when asked in memkit's own wordings, not in a user's"


@dataclass(frozen=True)
class Locality(Value):
    """How far a module changes the first tokens of answers to a fixed set of unrelated prompts."""

    routed: float  # share whose answer is the base model's own when the router decides
    forced: float  # the same share when the module is active whatever the router says
    divergence: float  # mean KL of the first token from the base model's, module active, in nats


@dataclass(frozen=True)
class ModuleReport(Value):
    """What training one module achieved."""

    name: str
    version: int  # 0 if no recall was verified, so that nothing was stored
    held: tuple[str, ...]  # ids of the records whose recall was verified
    missed: tuple[str, ...]  # ids of the others
    recall: float  # share of the trained questions that were answered exactly
    paraphrase_recall: float  # share of held-out wordings that were answered exactly
    steps: int
    seconds: float  # wall-clock time, verification included
    locality: Locality | None = None  # what the module does to unrelated prompts; None if untrained
    attempt: int = 1  # higher for records that another module of the run has missed
    unchanged: bool = False  # training gave the bytes of a stored version, so that none was added

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

    Records are left out because the same training has failed on them before;
    ``consolidate(retry_missed=True)`` tries them again.
    """

    derived = ("held", "missed")

    modules: tuple[ModuleReport, ...]
    seconds: float
    left_out: tuple[str, ...] = ()  # ids of the records

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
                f"{'module':<20} {'held':>6} {'trained':>7} {'held-out':>9} "
                f"{'left alone':>10} {'forced':>7} {'steps':>6} {'s':>7}",
                *map(str, self.modules),
                f"{counted(len(self.held), 'record')} held in weights, "
                f"{counted(len(self.missed), 'stays', 'stay')} with the index",
                WORDINGS,
            ]
        if self.left_out:
            lines.append(f"{len(self.left_out)} left out, as missed before (see `retry_missed`)")
        return "\n".join(lines)


@dataclass(frozen=True)
class ImportReport(Value):
    """What `Memory.add_messages` did."""

    turns: tuple[str, ...]  # ids of the turns that were added, in order
    records: tuple[str, ...]  # ids of the records with the same content
    known: int
    left_out: int  # instructions, calls of tools, and what memkit itself had recalled

    def __str__(self) -> str:
        return (
            f"{counted(len(self.turns), 'turn')} added, and {counted(len(self.records), 'record')}"
            f"; {counted(self.known, 'was', 'were')} there already, "
            f"{counted(self.left_out, 'was left out', 'were left out')}"
        )


@dataclass(frozen=True)
class TransferReport(Value):
    """What an export has written, or an import has added."""

    path: Path
    records: int
    versions: int  # how many older versions of the records
    turns: int
    items: int
    ttls: int  # how many default times to live
    modules: int
    skipped: int = 0  # how many entries were present already, or lost a conflict
    replaced: int = 0  # how many entries replaced others
    expired: int = 0  # how many had expired since the export, and were left out
    renamed: Mapping[str, str] = field(default_factory=dict)  # ids of the file: ids here instead

    @classmethod
    def of(cls, path: Path, counts: Mapping[str, int]) -> Self:
        """Make a report of counts by kind of entry, such as "record"."""
        names = [field.name for field in fields(cls) if field.name not in {"path", "renamed"}]
        numbers: dict[str, Any] = {name: counts.get(name.removesuffix("s"), 0) for name in names}
        return cls(path, **numbers)

    def __str__(self) -> str:
        others = (
            ("skipped", self.skipped),
            ("replaced", self.replaced),
            ("expired", self.expired),
            ("under another id", len(self.renamed)),
        )
        return (
            f"{self.path}: {counted(self.records, 'record')} with "
            f"{counted(self.versions, 'older version')}, {counted(self.turns, 'turn')}, "
            f"{counted(self.items, 'item')}, "
            f"{counted(self.ttls, 'time to live', 'times to live')}, "
            f"{counted(self.modules, 'module')}"
            + "".join(f", {count} {label}" for label, count in others if count)
        )


@dataclass(frozen=True)
class CacheUse(Value):
    """What a cache in the memory of the machine, or of a GPU, takes now, and may take."""

    used: int  # bytes
    bound: int  # bytes

    def __str__(self) -> str:
        return f"{self.used / 2**20:.1f} of {self.bound / 2**20:.0f} MiB"


@dataclass(frozen=True)
class Stats(Value):
    """How much a memory holds, or a scope of it."""

    records: int  # without the expired ones
    versions: int  # of these records, the current ones included
    turns: int
    passages: int
    modules: int  # active adapter modules
    held: int  # records that the modules hold
    bytes_on_disk: int  # of the whole memory
    embedder: str | None  # name of the model that made the vectors; None if there are none
    base_model: str | None  # name of the model that the modules are for; None if there are none
    expired: int = 0  # records that `Retention.sweep` will erase
    backends: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # what each counts
    caches: Mapping[str, CacheUse] = field(default_factory=dict, compare=False)  # of what is loaded

    def __str__(self) -> str:
        expired = f", {self.expired} expired" if self.expired else ""
        own = "".join(
            f"; {name}: " + ", ".join(f"{count} {what}" for what, count in counts.items())
            for name, counts in self.backends.items()
            if name not in {"buffer", "rag", "lora"} and counts
        )
        return (
            f"{counted(self.records, 'record')} ({counted(self.versions, 'version')}), "
            f"{counted(self.turns, 'turn')}, {counted(self.passages, 'passage')}, "
            f"{self.held} held by {counted(self.modules, 'module')}, "
            f"{self.bytes_on_disk / 2**20:.1f} MiB{expired}{own}"
        )
