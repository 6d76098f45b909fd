"""What a base model of a published shape costs: to load, to train, to mix, and to decode with.

Weights are random, which changes nothing about time and memory. Each precision is measured in a
process of its own, and so is each way to train, so that its peak of memory is its own. The last
lines are arithmetic alone: what the shape of eight billion takes, which does not fit on most
machines that this runs on.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import psutil
import torch

from benchmarks.engine.model_shapes import SPEC, Arithmetic, reckon, save
from benchmarks.engine.untrained_modules import random_row
from benchmarks.processes import output_of
from benchmarks.report import report
from memkit.answering.prompt import PromptFormat
from memkit.evals.company.company import Company
from memkit.evals.measurement import Measurement
from memkit.evals.unstored_records import drafts_of, unstored_records
from memkit.lora.serving.bank import AdapterBank, Mixture
from memkit.lora.serving.hooks import AdapterLayers
from memkit.lora.spec import TrainSpec
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.lora.training.trainer import Trainer
from memkit.lora.training.training_run import Step, TrainingRun
from memkit.models.language_model import TransformersModel
from memkit.types import Prompt

FACTS = 16
EPOCHS = 1  # a few steps tell what one takes
MIXTURE: Mixture = {"0": 0.5, "1": 0.3, "2": 0.2}
ROWS = (1, 8)  # requests in a batch
STEPS = 12  # tokens of each
TRAINING = {"off": "", "on": ", layers computed again"}  # gradient checkpointing
BESIDE = "memory, training beside the model"
MIB = 2**20

Result = TypeVar("Result")


def main(
    *,
    shape: str = "1b",
    dtypes: Sequence[str] = ("float32", "bfloat16"),
    device: str = "cpu",
    json_path: Path | None,
) -> int:
    """Measure and print; returns the exit status.

    Args:
        shape: Name in `benchmarks.engine.model_shapes.SHAPES`.
        dtypes: Precisions to compute in, one after the other.
        device: Where to compute.
        json_path: Where to write the figures as JSON.
    """
    results: list[Measurement] = []
    with tempfile.TemporaryDirectory() as folder:
        output_of(save, shape, "bfloat16", folder)
        for dtype in dtypes:
            case = f"{shape} in {dtype} on {device}"
            measured = json.loads(output_of(probe, folder, device, dtype))
            for way in TRAINING:
                measured += json.loads(output_of(probe_training, folder, device, dtype, way))
            results += [Measurement.of(case, *figure) for figure in measured]
            results += _reckoned(case, reckon(shape, getattr(torch, dtype)))
    results += _reckoned("8b in bfloat16, reckoned", reckon("8b", torch.bfloat16))
    report("shapes", results, json_path=json_path)
    return 0


def _reckoned(case: str, sizes: Arithmetic) -> list[Measurement]:
    figures = [
        ("reckoned: weights", sizes.weights / MIB, "MiB"),
        ("reckoned: keys, values of a token", sizes.token / 1024, "KiB"),
        (f"reckoned: an adapter of rank {SPEC.rank}", sizes.row / MIB, "MiB"),
        ("reckoned: training, of a token", sizes.trained_token / MIB, "MiB"),
        (f"reckoned: training, of a token{TRAINING['on']}", sizes.trained_again / MIB, "MiB"),
    ]
    return [Measurement.of(case, name, [value], unit) for name, value, unit in figures]


def probe(folder: str, device: str, dtype: str) -> None:
    """Measure one precision, and print the figures as JSON: name, values, unit."""
    _print(device, measure(folder, device, dtype))


def probe_training(folder: str, device: str, dtype: str, checkpointing: str) -> None:
    """Measure training in one precision and one way, and print the figures alike."""
    base = TransformersModel.load(folder, device=device, dtype=dtype)
    _print(device, training_costs(base, checkpointing))


def _print(device: str, figures: Iterator[tuple[str, list[float], str]]) -> None:
    if device == "cpu":
        torch.set_num_threads(1)
    sys.stdout.write(json.dumps(list(figures)))


def measure(folder: str, device: str, dtype: str) -> Iterator[tuple[str, list[float], str]]:
    """Figures of one precision, in the order in which they are taken."""
    seconds, base = _timed(lambda: TransformersModel.load(folder, device=device, dtype=dtype))
    yield "load", [seconds], "s"
    yield from costs(base)


def costs(base: TransformersModel) -> Iterator[tuple[str, list[float], str]]:
    """Figures of a model that is loaded, in the order in which they are taken."""
    seconds, _ = _timed(lambda: base.fingerprint)
    yield "fingerprint", [seconds], "s"
    layers = AdapterLayers.of(base)
    rows = {key: random_row(layers, SPEC, int(key), torch.float16) for key in MIXTURE}
    bank = AdapterBank(
        layers,
        rows.__getitem__,
        bound=base.bounds.adapters,
        device=base.device,
        dtype=base.model.dtype,
    )
    yield "place a mixture of 3, first", [_timed(lambda: _place(bank))[0]], "s"
    prompt = base.prompt("Where is the archive, and who keeps its keys?")
    for count in ROWS:
        placed: Mapping[str, AbstractContextManager[object]] = {
            "bare": nullcontext(),
            "mixture of 3": bank.mix([MIXTURE] * count),
        }
        for name, place in placed.items():
            times = _decoding(base, prompt, count, place)
            yield f"decode {count}, {name}", [count / each for each in times], "tok/s"
    yield "memory, loaded and decoded", [_memory(base) / MIB], "MiB"


def training_costs(
    base: TransformersModel, checkpointing: str
) -> Iterator[tuple[str, list[float], str]]:
    """Figures of training, whose layers keep what they make or compute it again.

    Args:
        base: The base model.
        checkpointing: One of `TRAINING`.
    """
    before = _memory(base)
    with _peak(base) as peak:
        figures = list(_training(base, checkpointing))
    figures.append(("memory, peak of training", [peak[0] / MIB], "MiB"))
    figures.append((BESIDE, [(peak[0] - before) / MIB], "MiB"))
    for name, values, unit in figures:
        yield f"{name}{TRAINING[checkpointing]}", values, unit


class TimedTrainer(Trainer):
    """A trainer that notes what each step takes.

    Attributes:
        seconds: Of each step.
        tokens: Of its examples, behind their prefixes.
    """

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.seconds: list[float] = []
        self.tokens: list[float] = []

    def _step(self, run: TrainingRun, step: Step) -> None:
        self.seconds.append(_timed(lambda: super(TimedTrainer, self)._step(run, step))[0])
        self.tokens.append(float(sum(len(example.ids) for _, example in step)))


def _place(bank: AdapterBank) -> None:
    with bank.mix([MIXTURE]):
        pass


def _training(
    base: TransformersModel, checkpointing: str
) -> Iterator[tuple[str, list[float], str]]:
    company = Company.generate(seed=0, facts=FACTS)
    examples = TemplateSynthesizer().examples(unstored_records(drafts_of(company.facts)))
    train = TrainSpec(
        epochs=EPOCHS,
        precision=str(base.model.dtype).removeprefix("torch."),
        gradient_checkpointing=checkpointing,
    )
    trainer = TimedTrainer(base, AdapterLayers.of(base), SPEC, train, PromptFormat())
    trainer.fit(examples)
    full = TrainSpec().visits(-(-FACTS // (train.batch_size - train.guards)))
    steps = full * -(-FACTS // (train.batch_size - train.guards))
    yield "training step", trainer.seconds, "s"
    yield "tokens of a step", trainer.tokens, "tok"
    whole = steps * median(trainer.seconds)
    yield f"train {FACTS} facts, {steps} steps at most", [whole], "s"


def _decoding(
    base: TransformersModel, prompt: Prompt, rows: int, place: AbstractContextManager[object]
) -> list[float]:
    """Seconds of each step after the first."""
    with torch.no_grad(), base.hold():
        past = base.past([prompt.prefix] * rows)
        with place:
            base.logits(base.extend(past, [prompt.question] * rows)[:, -1])

            def decode() -> None:
                base.logits(base.extend(past, [[5]] * rows)[:, -1]).argmax(-1).cpu()

            return [_timed(decode)[0] for _ in range(STEPS)][1:]


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds of some work: of the processor, which others may share; of the clock on a GPU."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    started = clock()
    result = work()
    return clock() - started, result


def _memory(base: TransformersModel) -> int:
    """Bytes that are taken: of the device, or of the process."""
    if base.device.type == "cuda":
        return torch.cuda.memory_allocated(base.device)
    return int(psutil.Process().memory_info().rss)


@contextmanager
def _peak(base: TransformersModel) -> Iterator[list[int]]:
    """The most bytes that are taken while the block runs; there when it has ended."""
    peak = [0]
    if base.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(base.device)
        yield peak
        peak[0] = torch.cuda.max_memory_allocated(base.device)
        return
    import resource

    with suppress(OSError):  # else, and where it does not exist, loading the model counts as well
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    yield peak
    unit = 1 if sys.platform == "darwin" else 1024
    peak[0] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
