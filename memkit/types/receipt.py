"""What forgetting reports: what was erased, and what was checked afterwards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from memkit.types.value import Value, counted, printable

STANDS_OUT = 0.5  # nats; between all that was measured (docs/decisions/0005-capacity.md)


@dataclass(frozen=True)
class Exposure(Value):
    """How far a forgotten answer stands out in weights that were retrained without it.

    It is compared with canaries: invented answers of the same form that were never trained, half
    of them near misses. Compared is the *lift*: by how many nats the module makes an answer more
    probable than the base model does, mean over the wordings asked.
    """

    derived = ("stands_out", "bits")

    record_id: str
    module: str  # name and version of the module that was asked
    rank: int  # place of the answer among the canaries; 1 is the highest
    of: int  # how many answers were compared, the forgotten one included
    lift: float  # of the forgotten answer, in nats
    ahead: float  # its lift minus the highest lift of a canary, in nats

    @property
    def stands_out(self) -> bool:
        """Whether the weights know the answer better than answers they never saw."""
        return self.ahead >= STANDS_OUT

    @property
    def bits(self) -> float:
        """Exposure after Carlini et al. 2019: ``log2(of) - log2(rank)``."""
        return math.log2(self.of / self.rank)


@dataclass(frozen=True)
class Receipt(Value):
    """What `Memory.forget` did.

    Exposure is measured for a sample of the forgotten answers, and not at all if no module was
    trained again: then no weights are left to be asked.
    """

    records: tuple[str, ...]  # ids of the erased records
    versions: int  # of these records, the current ones included
    turns: int
    retrained: tuple[str, ...]  # modules that were retrained without the records
    dropped: tuple[str, ...]  # modules that were removed; rag answers their other records
    demoted: tuple[str, ...]  # ids of other records that no module holds any more
    files: tuple[str, ...]  # adapter and index files that were destroyed or rewritten
    checks: Mapping[str, bool]  # what was checked afterwards, each with its outcome
    exposure: tuple[Exposure, ...] = ()
    items: int = 0
    remains: tuple[
        str, ...
    ] = ()  # where bytes of it may stay, and until when: a server's own files

    def __str__(self) -> str:
        def some(ids: tuple[str, ...]) -> str:
            return printable(", ".join(ids)) if ids else "none"

        others = " (other records, which no module holds any more)" if self.demoted else ""
        lines = [
            f"forgotten records   {some(self.records)}",
            f"their versions      {self.versions}",
            f"forgotten turns     {self.turns}",
            *([f"forgotten items     {self.items}"] if self.items else []),
            f"modules retrained   {some(self.retrained)}",
            f"modules dropped     {some(self.dropped)}",
            f"left to the index   {some(self.demoted)}{others}",
            f"files destroyed     {some(self.files)}",
            *(f"checked: {what:<34} {'yes' if ok else 'NO'}" for what, ok in self.checks.items()),
        ]
        lines += [f"may be left in      {where}" for where in self.remains]
        if self.exposure:
            most = max(self.exposure, key=lambda exposure: exposure.ahead)
            lines.append(
                f"weights asked for   {counted(len(self.exposure), 'forgotten answer')}; "
                f"the most exposed: rank {most.rank} of {most.of}, "
                f"{most.ahead:+.1f} nats from the best canary"
            )
        return "\n".join(lines)
