"""The command line of the checks on a GPU: ``python tests/gpu``."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gpu.checks import CHECKS, FULL, MINIATURE, Figure
from memkit.errors import MemkitError
from memkit.models.placement import Placement
from memkit.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks; print one table, and write the figures as JSON if a file is named.

    A check that fails with an error is told, and the others go on.

    Returns:
        0 if all figures keep their bounds, 1 if not, 2 if there is no such device.
    """
    given = _parser().parse_args(argv)
    try:
        device = str(Placement.of(given.device).torch_device())
    except MemkitError as error:
        sys.stderr.write(f"python tests/gpu: {error}\n")
        return 2
    size = MINIATURE if given.miniature or device == "cpu" else FULL
    figures: dict[str, list[Figure]] = {}
    errors: dict[str, str] = {}
    started = time.perf_counter()
    for name in given.checks or CHECKS:
        try:
            figures[name] = []
            for figure in CHECKS[name](device, size):
                figures[name].append(figure)
                sys.stdout.write(_line(name, figure))
                sys.stdout.flush()
        except Exception as error:  # noqa: BLE001 - the others are worth running all the same
            errors[name] = f"{type(error).__name__}: {error}"
            sys.stdout.write(f"{name:<10} FAILED: {errors[name]}\n")
    seconds = time.perf_counter() - started
    broken = [f.name for some in figures.values() for f in some if not f.holds]
    sys.stdout.write(f"{len(broken)} beyond their bounds, {len(errors)} failed, {seconds:.0f} s\n")
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "memkit": __version__,
            "machine": _machine(device),
            "miniature": size is MINIATURE,
            "seconds": seconds,
            "errors": errors,
            "figures": {
                name: [{**f._asdict(), "holds": f.holds} for f in some]
                for name, some in figures.items()
            },
        }
        given.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 1 if broken or errors else 0


def _line(name: str, figure: Figure) -> str:
    bound = ""
    if figure.bound is not None:
        sign = "<=" if figure.upper else ">="
        bound = f"{sign} {figure.bound:g} {'ok' if figure.holds else 'BROKEN'}"
    value = f"{figure.value:>14.6g} {figure.unit:<6}"
    return f"{name:<10} {figure.name:<44} {value} {bound}".rstrip() + "\n"


def _machine(device: str) -> dict[str, Any]:
    named = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    return {
        "device": device,
        "name": named or platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python tests/gpu", description="Check memkit on a GPU.")
    parser.add_argument("--device", default="cuda", help="where (default: cuda)")
    parser.add_argument(
        "--miniature", action="store_true", help="small, as it always is with --device cpu"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("checks", nargs="*", help=f"some of {', '.join(CHECKS)} (default: all)")
    return parser
