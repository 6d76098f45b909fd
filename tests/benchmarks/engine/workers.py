"""How much is trained with one worker, with two and with four: jobs of one memory.

Each worker is a process of its own with one thread, which has its model before the clock starts.
The memory has a scope for each module, so that there is always something that nobody is at.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import torch

from benchmarks.processes import start
from benchmarks.report import report
from memkit.evals.measurement import Measurement
from memkit.memory.memory import Memory
from memkit.models.language_model import TransformersModel
from memkit.testing import HashingEmbedder, tiny_llama, tiny_recipe
from memkit.types import Draft

COUNTS = (1, 2, 4)
SCOPES = 8
FACTS = 4  # of a scope, one module


def main(*, model: str, seeds: int, json_path: Path | None) -> int:
    """Measure and print; returns the exit status: 1 if anything was not trained, or twice.

    Args:
        model: "tiny", or "default" for the default base model.
        seeds: How often.
        json_path: Where to write the figures as JSON.
    """
    results, held = [], True
    with tempfile.TemporaryDirectory() as folder:
        waiting = _waiting(Path(folder) / "waiting", model)
        for count in COUNTS:
            rates = []
            for repeat in range(seeds):
                place = Path(shutil.copytree(waiting, Path(folder) / f"{count}-{repeat}"))
                rates.append(SCOPES * 60 / _seconds(place, model, count))
                held &= _is_whole(place)
            results.append(Measurement.of(f"workers: {count}", "modules trained", rates, "/min"))
    one = results[0].value
    ratios = {
        f"{n} workers beside one": r.value / one for n, r in zip(COUNTS, results, strict=True)
    }
    ratios["processors"] = float(os.cpu_count() or 0)
    report("workers", results, ratios, json_path=json_path)
    return 0 if held else 1


def _options(model: str) -> dict[str, Any]:
    if model == "tiny":
        return {
            "base_model": tiny_llama(),
            "embedder": HashingEmbedder(),
            "recipe": tiny_recipe(records_per_module=FACTS),
        }
    return {"base_model": TransformersModel.load(device="cpu"), "embedder": HashingEmbedder()}


def _waiting(place: Path, model: str) -> Path:
    """A memory with facts that wait in a job."""
    with Memory.open(place, **_options(model)) as memory:
        memory.add(
            [
                Draft(
                    f"The badge number of person {fact} is {1000 + 37 * fact + scope}.",
                    f"What is the badge number of person {fact}?",
                    str(1000 + 37 * fact + scope),
                    scope={"user": f"u{scope}"},
                )
                for scope in range(SCOPES)
                for fact in range(FACTS)
            ]
        )
        memory.jobs.put()
    return place


def _seconds(place: Path, model: str, count: int) -> float:
    """How long so many workers take until nothing is left, from when all have their models."""
    workers = [start(work, place, model, place.with_name(f"{place.name}.go")) for _ in range(count)]
    for worker in workers:
        _line(worker)
    started = time.perf_counter()
    place.with_name(f"{place.name}.go").touch()
    for worker in workers:
        worker.communicate()
    return time.perf_counter() - started


def _line(worker: Popen[str]) -> str:
    if worker.stdout is None:
        raise ValueError(f"expected a process with {PIPE}, it has no output")
    return worker.stdout.readline()


def work(place: str, model: str, signal: str) -> None:
    """Train what waits, once a file is there; runs in a process of its own."""
    torch.set_num_threads(1)
    with Memory.open(place, **_options(model)) as memory:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while not Path(signal).exists():
            time.sleep(0.01)
        memory.jobs.work(once=True)


def _is_whole(place: Path) -> bool:
    """Whether the job is done, and each module was trained once."""
    with Memory.open(place, backends=["buffer"]) as memory:
        (job,) = memory.jobs.list()
        return (
            job.state == "done"
            and job.held + job.missed == SCOPES * FACTS
            and all(module.versions == (1,) for module in memory.modules)
        )
