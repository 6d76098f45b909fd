"""The shape that all reports of measurements have."""

from __future__ import annotations

import csv
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import sqrt
from pathlib import Path
from statistics import median

from memkit.version import __version__


@dataclass(frozen=True)
class Measurement:
    """One figure.

    Attributes:
        case: What was measured.
        metric: Which property of it.
        value: The median, or the share.
        low: The smallest value, or the lower end of the 95 % interval of a share.
        high: The largest value, or the upper end.
        n: How many values or cases there were.
    """

    case: str
    metric: str
    value: float
    unit: str
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, case: str, metric: str, values: Sequence[float], unit: str) -> Measurement:
        """Summarise repeated values by median and range."""
        return cls(case, metric, median(values), unit, min(values), max(values), len(values))

    @classmethod
    def of_share(cls, case: str, metric: str, hits: int, n: int) -> Measurement:
        """A share of ``n`` cases, with its 95 % interval.

        Source:
            Wilson 1927, "Probable inference, the law of succession, and statistical inference".
        """
        if not n:
            return cls(case, metric, 0.0, "share", 0.0, 1.0, 0)
        z, p = 1.96, hits / n
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return cls(case, metric, p, "share", max(0.0, middle - half), min(1.0, middle + half), n)


def write_report(
    path: Path,
    name: str,
    measurements: Sequence[Measurement],
    ratios: Mapping[str, float] | None = None,
    *,
    program: str = "memkit",
) -> None:
    """Write measurements as JSON, with the machine and the command that they were taken with.

    Args:
        path: The file; it is replaced if it exists.
        name: What was measured.
        measurements: All figures.
        ratios: Those that are quoted, by name.
        program: How the command line begins that was run.
    """
    document = {
        "name": name,
        "environment": {
            "memkit": __version__,
            "python": platform.python_version(),
            "system": platform.system(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
        },
        "command": " ".join([program, *sys.argv[1:]]),
        "results": [asdict(measurement) for measurement in measurements],
        "ratios": dict(ratios or {}),
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def write_csv(path: Path, measurements: Sequence[Measurement]) -> None:
    """Write measurements as a table with a heading, one a line; a file that exists is replaced."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, [field.name for field in fields(Measurement)])
        rows.writeheader()
        rows.writerows(asdict(measurement) for measurement in measurements)
