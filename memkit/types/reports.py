"""What the verbs report back; print it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from memkit.errors import MemkitError


@dataclass(frozen=True)
class Locality:
    """What a module does to unrelated prompts: a fixed set of them, first tokens of the answers.

    Attributes:
        routed: Share whose answer stays the base model's own when they are routed as a user's
            question is.
        forced: The same share when they are put through the module whatever the router says.
        divergence: Mean KL divergence of the first token's distribution from the base model's,
            forced through the module, in nats.
    """

    routed: float
    forced: float
    divergence: float


@dataclass(frozen=True)
class ModuleReport:
    """What training one module achieved.

    Attributes:
        name: Of the module.
        version: Of the module; 0 if nothing was held and so nothing was kept.
        held: Ids of the records whose recall was verified.
        missed: Ids of the others.
        recall: Share of the trained questions that were answered exactly.
        paraphrase_recall: Share of held-out wordings that were answered exactly.
        steps: Of training.
        seconds: Wall-clock time, verification included.
        locality: What the module does to unrelated prompts; None if none was trained.
        attempt: 1, or more for records that another module of the same run has missed.
        unchanged: Whether training gave a version that was there already, to the last byte; no
            other one was added.
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
class ConsolidationReport:
    """What ``consolidate()`` or ``retrain()`` did; print it.

    Attributes:
        modules: One report per trained module.
        seconds: Wall-clock time.
        left_out: Ids of records that were not tried, because the same training has failed on
            them before; ``consolidate(retry_missed=True)`` tries them again.
    """

    modules: tuple[ModuleReport, ...]
    seconds: float
    left_out: tuple[str, ...] = ()

    @property
    def held(self) -> tuple[str, ...]:
        """Ids of the records that are now answered from weights."""
        return tuple(id for module in self.modules for id in module.held)

    @property
    def missed(self) -> tuple[str, ...]:
        """Ids of the records whose recall failed; rag keeps answering them."""
        held = set(self.held)  # by another attempt
        missed = dict.fromkeys(id for module in self.modules for id in module.missed)
        return tuple(id for id in missed if id not in held)

    def __str__(self) -> str:
        left_out = f"{len(self.left_out)} left out, as missed before (see `retry_missed`)"
        last = [left_out] if self.left_out else []
        if not self.modules:
            return "\n".join(["nothing to consolidate", *last])
        head = (
            f"{'module':<20} {'held':>6} {'recall':>7} {'reworded':>9} "
            f"{'left alone':>10} {'forced':>7} {'steps':>6} {'s':>7}"
        )
        lines = [head, *map(str, self.modules)]
        lines.append(f"{len(self.held)} records held in weights, {len(self.missed)} stay with rag")
        return "\n".join(lines + last)


STANDS_OUT = 0.5  # nats; between all that was measured (docs/decisions/0005-capacity.md)


@dataclass(frozen=True)
class Exposure:
    """How far a forgotten answer stands out in the weights that were trained anew.

    It is asked for together with canaries: invented answers of the same shape, never trained,
    half of them near misses. What is compared is the *lift*: by how much the module makes an
    answer more probable than the base model does, in nats, mean over the wordings asked.

    Attributes:
        record_id: The forgotten record.
        module: Name and version of the module that was asked.
        rank: Place of the answer among the canaries; 1 is the highest.
        of: How many answers competed, the forgotten one included.
        lift: Of the forgotten answer.
        ahead: By how much that is above the highest lift of a canary; negative where one of
            them is higher.
    """

    record_id: str
    module: str
    rank: int
    of: int
    lift: float
    ahead: float

    @property
    def stands_out(self) -> bool:
        """Whether the weights know the answer better than what they never saw."""
        return self.ahead >= STANDS_OUT

    @property
    def bits(self) -> float:
        """Exposure after Carlini et al. 2019: ``log2(of) - log2(rank)``."""
        return math.log2(self.of / self.rank)


@dataclass(frozen=True)
class Receipt:
    """What ``forget()`` did; print it.

    Attributes:
        records: Ids of the erased records.
        versions: How many stored versions went with them.
        turns: How many conversation turns went with them.
        retrained: Modules that were retrained without the records.
        dropped: Modules that are gone; their other records are answered by rag.
        demoted: Ids of other records that no module holds any more.
        files: Adapter and index files that were destroyed or rewritten.
        checks: What was checked afterwards, each with its outcome.
        exposure: How far forgotten answers stand out in the modules that were retrained, for a
            sample of them; empty if none was, as then no weights are left to be asked.
        items: How many items of the scope went.
    """

    records: tuple[str, ...]
    versions: int
    turns: int
    retrained: tuple[str, ...]
    dropped: tuple[str, ...]
    demoted: tuple[str, ...]
    files: tuple[str, ...]
    checks: Mapping[str, bool]
    exposure: tuple[Exposure, ...] = ()
    items: int = 0

    def __str__(self) -> str:
        def some(ids: tuple[str, ...]) -> str:
            return ", ".join(ids) if ids else "none"

        lines = [
            f"forgotten records   {some(self.records)}",
            f"versions, turns     {self.versions}, {self.turns}",
            *([f"items               {self.items}"] if self.items else []),
            f"modules retrained   {some(self.retrained)}",
            f"modules dropped     {some(self.dropped)}",
            f"demoted to rag      {some(self.demoted)}",
            f"files destroyed     {some(self.files)}",
        ]
        lines += [
            f"checked: {what:<34} {'yes' if ok else 'NO'}" for what, ok in self.checks.items()
        ]
        if self.exposure:
            most = max(self.exposure, key=lambda one: one.ahead)
            lines.append(
                f"weights asked for   {len(self.exposure)} forgotten answers; the most exposed: "
                f"rank {most.rank} of {most.of}, {most.ahead:+.1f} nats from the best canary"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class ImportReport:
    """What `Memory.add_messages` did; print it.

    Attributes:
        turns: Ids of the turns that were added, in order.
        records: Ids of the records that keep what was said in them.
        known: How many messages were there already.
        left_out: How many messages are no memories: instructions, calls of tools, and what
            memkit itself had recalled.
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
class TransferReport:
    """What ``export()`` has written, or ``import_()`` taken in.

    Attributes:
        path: The file.
        records: How many records.
        versions: How many older versions of them.
        turns: How many turns.
        items: How many items.
        ttls: How many default times to live.
        modules: How many adapter modules.
        skipped: How many entries were here already, or in conflict with what was kept.
        replaced: How many took the place of something else.
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
        """Sum up from counts by kind of entry."""
        return cls(
            path=path,
            records=counts.get("record", 0),
            versions=counts.get("version", 0),
            turns=counts.get("turn", 0),
            items=counts.get("item", 0),
            ttls=counts.get("ttl", 0),
            modules=counts.get("module", 0) if modules is None else modules,
            skipped=counts.get("skipped", 0),
            replaced=counts.get("replaced", 0),
            expired=counts.get("expired", 0),
        )

    def __str__(self) -> str:
        rest = ("skipped", self.skipped), ("replaced", self.replaced), ("expired", self.expired)
        return (
            f"{self.path}: {self.records} records with {self.versions} older versions, "
            f"{self.turns} turns, {self.items} items, {self.ttls} times to live, "
            f"{self.modules} modules"
            + "".join(f", {count} {what}" for what, count in rest if count)
        )


@dataclass(frozen=True)
class Stats:
    """How much a memory holds, or a scope of it; print it.

    Attributes:
        records: What can be read; what has expired is not among it.
        versions: Of those records, the current ones included.
        turns: Of conversations.
        passages: Slices of records that are indexed.
        modules: Adapter modules in service.
        held: Records that they hold.
        bytes_on_disk: Of the whole memory.
        embedder: Name of the model that the vectors are of.
        base_model: Name of the model that the modules are for.
        expired: Records that wait for `Memory.sweep`.
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
        return (
            f"{self.records} records ({self.versions} versions), {self.turns} turns, "
            f"{self.passages} passages, {self.held} held by {self.modules} modules, "
            f"{self.bytes_on_disk / 2**20:.1f} MiB"
            + (f", {self.expired} expired" if self.expired else "")
        )


State = Literal["sound", "problem", "repaired", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, or was found.

    Attributes:
        state: "sound", a "problem" that is still there, one that was "repaired", or a "note" of
            what is as it may be.
        what: In words.
    """

    state: State
    what: str

    def __str__(self) -> str:
        return f"{self.state:<9} {self.what}"


@dataclass
class CheckReport:
    """What `memkit.memory.check.check` has done, line by line; print it.

    Attributes:
        path: The memory's directory.
        repair: Whether it was to be repaired.
        findings: In the order in which things were looked at.
    """

    path: Path
    repair: bool
    findings: list[Finding] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """What was wrong, repaired by now or not."""
        return [one.what for one in self.findings if one.state in {"problem", "repaired"}]

    @property
    def left(self) -> list[str]:
        """What is still wrong."""
        return [one.what for one in self.findings if one.state == "problem"]

    @property
    def sound(self) -> bool:
        """Whether nothing was wrong."""
        return not self.problems

    def __str__(self) -> str:
        lines = [str(one) for one in self.findings]
        if self.sound:
            return "\n".join([*lines, f"{self.path} is sound"])
        mended = len(self.problems) - len(self.left)
        return "\n".join([*lines, f"{self.path}: {len(self.problems)} problems, {mended} repaired"])

    def note(self, what: str) -> None:
        """Say something that is no problem."""
        self.findings.append(Finding("note", what))

    def problem(self, what: str, *, repaired: bool = False) -> None:
        """Say what is wrong, and whether it still is."""
        self.findings.append(Finding("repaired" if repaired else "problem", what))

    @contextmanager
    def looking_at(self, what: str) -> Iterator[None]:
        """Say that something is sound, unless the block says otherwise or cannot look at it."""
        before = len(self.problems)
        try:
            yield
        except MemkitError as exc:
            self.problem(f"{what}: {exc.message}")
        if len(self.problems) == before:
            self.findings.append(Finding("sound", what))
