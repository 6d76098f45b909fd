"""Time to open a memory and resident memory, by the number of its modules.

Each number is measured in a process of its own. The embedder is a stand-in; opening looks at
the ledger and at the adapter files, and loads no model.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.engine.untrained_modules import NoEmbedder, add_modules
from benchmarks.processes import output_of
from benchmarks.report import report
from memkit.errors import UnsupportedOperationError
from memkit.evals.measurement import Measurement
from memkit.ledger import Ledger
from memkit.lora.serving.hooks import AdapterLayers
from memkit.lora.spec import LoraSpec
from memkit.memory.memory import Memory
from memkit.models.language_model import TransformersModel
from memkit.types import Route, Sampling

COUNTS = (10, 100, 1000)
SPEC = LoraSpec(rank=4)
REPEATS = 3
MIXTURES = 60  # put in place one after the other; more adapters than are kept in memory
TWO_TOKENS = Sampling(max_new_tokens=2)


def main(*, json_path: Path | None) -> int:
    """Measure and print; returns the exit status.

    Args:
        json_path: Where to write the figures as JSON.
    """
    torch.set_num_threads(1)
    base = TransformersModel.load(device="cpu", dtype=torch.float32)
    layers = AdapterLayers(base.model)
    figures: dict[int, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "memory"
        for count in COUNTS:
            ledger = Ledger.open(directory)
            add_modules(ledger, base, layers, SPEC, count)
            ledger.close()
            figures[count] = [_probed(directory) for _ in range(REPEATS)]
    results = [
        Measurement.of(
            f"{count} modules, rank {SPEC.rank}", metric, [result[metric] for result in runs], unit
        )
        for count, runs in figures.items()
        for metric, unit in (
            ("open", "s"),
            ("resident, base model", "MB"),
            ("resident, after mixtures", "MB"),
        )
    ]
    value_of = {(result.case, result.metric): result.value for result in results}
    few, many = (
        value_of[f"{count} modules, rank {SPEC.rank}", "resident, after mixtures"]
        for count in COUNTS[1:]
    )
    ratios = {"rss_growth_mb_per_100_adapters": (many - few) / (COUNTS[2] - COUNTS[1]) * 100}
    report("bank", results, ratios, json_path=json_path)
    return 0


def _probed(directory: Path) -> dict[str, float]:
    figures: dict[str, float] = json.loads(output_of(probe, directory))
    return figures


def probe(directory: str) -> None:
    """Open a memory, put mixtures in place, and print what that took, as JSON."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    memory = Memory.open(directory, create=False, embedder=NoEmbedder(), count_tokens=len)
    opened = time.perf_counter() - started
    lora = memory._engine.need_lora("the benchmark")
    names = [module.name for module in memory.modules.list()]
    prompt = lora.base.prompt("How much memory is this?")
    lora.base.generate([prompt], TWO_TOKENS)
    before = _resident()
    random.Random(0).shuffle(names)
    around = itertools.cycle(names)
    for _ in range(MIXTURES):
        route = Route({next(around): 1 / 3 for _ in range(3)})
        with lora.base.hold():
            lora.base.generate([prompt], TWO_TOKENS, adapters=lora.adapters([route]))
    figures = {
        "open": opened,
        "resident, base model": before,
        "resident, after mixtures": _resident(),
    }
    sys.stdout.write(json.dumps(figures))


def _resident() -> float:
    """Resident memory of this process, in MB.

    Raises:
        UnsupportedOperationError: If the system does not tell as Linux does.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        raise UnsupportedOperationError(f"expected {status}, which only Linux has")
    (line,) = (li for li in status.read_text(encoding="utf-8").splitlines() if "VmRSS" in li)
    return int(line.split()[1]) / 1024
