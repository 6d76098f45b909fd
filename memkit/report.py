"""The one shape in which memkit reports measurements."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from memkit import __version__


@dataclass(frozen=True)
class Measurement:
    """One figure.

    Attributes:
        case: What was measured.
        metric: Which property of it.
        value: The median.
        unit: Of the value.
        low: The smallest value.
        high: The largest value.
        n: How many values there were.
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


def write_report(
    path: Path,
    name: str,
    measurements: Sequence[Measurement],
    ratios: Mapping[str, float] | None = None,
) -> None:
    """Write measurements as JSON, with where and by which command they were taken."""
    document = {
        "name": name,
        "environment": {
            "memkit": __version__,
            "python": platform.python_version(),
            "system": platform.system(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
        },
        "command": " ".join(["memkit", *sys.argv[1:]]),
        "results": [asdict(measurement) for measurement in measurements],
        "ratios": dict(ratios or {}),
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
