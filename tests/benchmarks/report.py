"""How benchmarks print their figures and write them down."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from memkit.evals.measurement import Measurement, write_report

PROGRAM = "python tests/benchmarks"


def report(
    name: str,
    results: Sequence[Measurement],
    ratios: Mapping[str, float] | None = None,
    *,
    json_path: Path | None,
) -> None:
    """Print all figures, and write them if a file is named."""
    show(results, ratios or {})
    write(name, results, ratios, json_path=json_path)


def show(results: Sequence[Measurement], ratios: Mapping[str, float]) -> None:
    """Print figures, one a line."""
    for result in results:
        sys.stdout.write(
            f"{result.case:<26} {result.metric:<38} {result.value:>11.6f} {result.unit:<5} "
            f"{result.low:>11.6f} to {result.high:<11.6f} n={result.n}\n"
        )
    for name, value in ratios.items():
        sys.stdout.write(f"{name:<32} {value:.6g}\n")


def write(
    name: str,
    results: Sequence[Measurement],
    ratios: Mapping[str, float] | None = None,
    *,
    json_path: Path | None,
) -> None:
    """Write figures as JSON if a file is named, see `memkit.evals.measurement.write_report`."""
    if json_path is not None:
        write_report(json_path, name, results, ratios, program=PROGRAM)
