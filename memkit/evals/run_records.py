"""What a run leaves behind: one record for each point, in a file that survives a kill."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from memkit.errors import CorruptFileError
from memkit.evals.configuration import KINDS, Point
from memkit.version import __version__

FORMAT = 1
LIBRARIES = ("torch", "transformers", "numpy", "faiss-cpu", "sentence-transformers")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunRecord:
    """One point that was measured.

    Attributes:
        kind: Of the point; see `memkit.evals.configuration.KINDS`.
        point: Its values.
        scores: For each metric the score of every question, in order.
        figures: Everything else: seconds, tokens, parameters.
        data: SHA-256 of the data set.
        environment: Versions and machine.
        finished: When, in UTC.
    """

    key: str
    kind: str
    point: Mapping[str, Any]
    scores: Mapping[str, Sequence[float]]
    figures: Mapping[str, float]
    data: str
    environment: Mapping[str, Any] = field(default_factory=dict)
    finished: str = ""

    @property
    def seed(self) -> int:
        """Of the point."""
        return int(self.point["seed"])

    def mean(self, metric: str) -> float:
        """The mean score of all questions by one metric."""
        scores = self.scores[metric]
        return sum(scores) / len(scores)


class RecordFile:
    """One JSON line for each finished point.

    A line is written at once and flushed to disk, so that a kill leaves all earlier ones whole.
    Half a line at the end, which a kill in the middle of a write can leave, is cut off before
    the next one is written.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, RunRecord]:
        """All records by the key of their point; the last one counts.

        Raises:
            CorruptFileError: If a line in the middle is no record.
        """
        return {record.key: record for record in self._records()}

    def append(self, record: RunRecord) -> None:
        """Add a record, and return once it is on disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"format": FORMAT, **asdict(record)}, ensure_ascii=False) + "\n"
        with self.path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._cut_torn_line(file.fileno())
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def take(self, other: RecordFile) -> int:
        """Add the records of another file that this one lacks, or has of an earlier time.

        Returns:
            How many were added.

        Raises:
            CorruptFileError: If a line in the middle of either is no record.
        """
        own = self.read()
        new = [r for k, r in other.read().items() if k not in own or r.finished > own[k].finished]
        for record in new:
            self.append(record)
        return len(new)

    def _cut_torn_line(self, handle: int) -> None:
        size = os.fstat(handle).st_size
        whole = size
        while whole and os.pread(handle, 1, whole - 1) != b"\n":
            whole -= 1
        if whole < size:
            logger.warning("cut %s bytes of a torn line off %s", size - whole, self.path)
            os.ftruncate(handle, whole)

    def _records(self) -> Iterator[RunRecord]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return
        lines = content.split(b"\n")
        if lines[-1]:
            logger.warning("the last line of %s is torn and is measured again", self.path)
        for number, line in enumerate(lines[:-1], 1):
            try:
                values = json.loads(line)
                if values.pop("format") != FORMAT or values["kind"] not in KINDS:
                    raise ValueError(f"format or kind unknown: {values.get('kind')!r}")
                yield RunRecord(**values)
            except (ValueError, TypeError, LookupError) as error:
                raise CorruptFileError(
                    f"expected a record in line {number} of {str(self.path)!r}, cannot read it: "
                    f"{error}",
                    hint="take the line out; its point is then measured again",
                ) from error


def recorded(
    point: Point,
    scores: Mapping[str, Sequence[float]],
    figures: Mapping[str, float],
    *,
    data: str,
    base: str,
) -> RunRecord:
    """A record of a point, with the machine and the time.

    Args:
        point: What was measured.
        scores: See `RunRecord`.
        figures: See `RunRecord`.
        data: Digest of the data set.
        base: Name of the base model.
    """
    return RunRecord(
        key=point.key,
        kind=point.kind,
        point=point.as_dict(),
        scores={name: list(values) for name, values in scores.items()},
        figures=dict(figures),
        data=data,
        environment=environment() | {"base": base},
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def environment() -> dict[str, Any]:
    """Versions and machine, as they stand in every record."""
    return {
        "memkit": __version__,
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _processor() -> str:
    """Its name where the system tells; Python knows it on few systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
