"""Mixtures of adapters: putting them in place, and decoding with them, beside PEFT.

A memory holds 1,000 modules for the default base model. PEFT slows down with the number of
adapters it holds: it gets 64 of the same shapes, as many as memkit may keep in memory here, and
besides just the three that are mixed. All share the base model's weights and run on one thread,
and the cases of a table take turns.
"""

from __future__ import annotations

import copy
import itertools
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import DynamicCache

from benchmarks.engine.untrained_modules import NoEmbedder, add_modules, random_row
from benchmarks.report import report
from memkit.answering.prompt import PromptFormat
from memkit.evals.measurement import Measurement
from memkit.ledger import Ledger
from memkit.lora.lora_backend import LoraBackend
from memkit.lora.serving.bank import AdapterBank, Mixture
from memkit.lora.serving.hooks import AdapterLayers
from memkit.lora.spec import LoraSpec
from memkit.models.kv_cache import cache_argument
from memkit.models.language_model import TransformersModel
from memkit.rag.index import FactIndex
from memkit.routing.nearest import NearestRouter
from memkit.types import Route

MODULES = 1000
WEIGHTS = (0.5, 0.3, 0.2)  # of a mixture
IN_MEMORY = 64  # adapters in memory
REQUESTS = 8
PLACED = LoraSpec(rank=4)
DECODED = LoraSpec(rank=8)
PROMPT_TOKENS = 40
ANSWER_TOKENS = 16  # of a request, where the making of its mixture is counted in

Case = tuple[str, str]
Times = dict[Case, list[float]]


def main(*, modules: int = MODULES, json_path: Path | None) -> int:
    """Measure and print; returns the exit status.

    Args:
        modules: How many the memory holds.
        json_path: Where to write the figures as JSON.
    """
    torch.set_num_threads(1)
    base = TransformersModel.load(device="cpu", dtype=torch.float32)
    models = Models(base)
    row = random_row(models.layers, PLACED, 0, torch.float16)
    base.bounds = base.bounds._replace(adapters=IN_MEMORY * row.data.nbytes)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PEFT about transformers
        placing = _placing(models, modules)
        error = _error(models)
        decoding = _decoding(models)
        batch, set_up = _batch(models)
    results = [
        Measurement.of(*case, times, "CPU s")
        for part in (placing, decoding, batch, set_up)
        for case, times in part.items()
    ]
    case = "logits, float32 rows"
    results += [Measurement.of(case, name, [value], "logit") for name, value in error.items()]
    ratios = _ratios(placing, decoding, batch, set_up)
    ratios["mix_error"] = error["memkit - dense weights"] / error["largest logit"]
    report("mix", results, ratios, json_path=json_path)
    return 0


class Models:
    """The base model, and copies of it that share its weights.

    Args:
        base: Gets memkit's hooks.

    Attributes:
        base: It.
        layers: The hooks.
        bare: Without hooks.
    """

    def __init__(self, base: TransformersModel) -> None:
        self.base = base
        self.bare = self._copy()
        self._copies = [self._copy() for _ in range(3)]
        self.layers = AdapterLayers(base.model)

    def _copy(self) -> Any:
        weights = [*self.base.model.parameters(), *self.base.model.buffers()]
        return copy.deepcopy(self.base.model, {id(tensor): tensor for tensor in weights})

    def peft(self, rank: int, count: int) -> Any:
        """PEFT with adapters "0", "1" and so on of random weights; for three calls."""
        config = LoraConfig(
            r=rank, lora_alpha=2 * rank, target_modules="all-linear", init_lora_weights=False
        )
        model = get_peft_model(self._copies.pop(), config, adapter_name="0")
        for number in range(1, count):
            model.add_adapter(str(number), config)
        return model.eval()

    def bank(self, spec: LoraSpec, dtype: torch.dtype) -> AdapterBank:
        """A bank of random adapters "0", "1" and so on."""
        rows = {str(n): random_row(self.layers, spec, n, dtype) for n in range(REQUESTS)}
        return AdapterBank(
            self.layers,
            rows.__getitem__,
            bound=self.base.bounds.adapters,
            device=self.base.device,
            dtype=self.base.model.dtype,
        )


def _placing(models: Models, modules: int) -> Times:
    """Put mixtures in place, chosen at random from all modules."""
    case = f"place 3 of {modules}, rank {PLACED.rank}"
    peft_of_few, peft_of_many = models.peft(PLACED.rank, 3), models.peft(PLACED.rank, IN_MEMORY)

    def in_peft(peft: Any) -> None:
        names = ["0", "1", "2"]
        peft.add_weighted_adapter(names, list(WEIGHTS), "mixed", combination_type="cat")
        peft.set_adapter("mixed")
        peft.delete_adapter("mixed")
        peft.set_adapter("0")

    with tempfile.TemporaryDirectory() as folder, _backend(folder, models) as backend:
        names = add_modules(backend.ledger, models.base, models.layers, PLACED, modules)
        random.Random(0).shuffle(names)
        triples = [names[i : i + 3] for i in range(0, modules - 2, 3)]
        # More than are kept in memory, in a circle: each one has gone when it comes again.
        circle, held, unread = triples[:32], triples[32:34], iter(triples[34:])
        for triple in circle:
            _place(backend, triple)
        from_disk, from_memory, in_place = (
            itertools.cycle(group) for group in (circle, held, held)
        )
        return _turns(
            {
                (case, "PEFT cat + set + delete, holds 3"): lambda: in_peft(peft_of_few),
                (case, f"PEFT cat + set + delete, holds {IN_MEMORY}"): lambda: in_peft(
                    peft_of_many
                ),
                (case, "memkit, from disk, first use"): lambda: _place(backend, next(unread)),
                (case, "memkit, from disk"): lambda: _place(backend, next(from_disk)),
                (case, "memkit, from memory"): lambda: _place(backend, next(from_memory)),
                (case, "memkit, in place already"): lambda: _place(backend, next(in_place)),
            },
            rounds=12,
        )


@contextmanager
def _backend(folder: str, models: Models) -> Iterator[LoraBackend]:
    ledger = Ledger.open(Path(folder) / "memory")
    router = NearestRouter(FactIndex(ledger, NoEmbedder()), ledger)
    backend = LoraBackend(ledger, router, lambda: models.base, PromptFormat())
    try:
        yield backend
    finally:
        backend.close()
        ledger.close()


def _place(backend: LoraBackend, names: Sequence[str]) -> None:
    with backend.adapters([Route(dict(zip(names, WEIGHTS, strict=True)))]):
        pass


def _error(models: Models) -> dict[str, float]:
    """Largest differences of logits, with adapters that are stored in float32."""
    bank, mixture = models.bank(PLACED, torch.float32), _mixtures(1)[0]
    ids = torch.randint(200, (1, PROMPT_TOKENS), generator=torch.Generator().manual_seed(0))
    exact = _dense(models, mixture, torch.float64)(ids).logits
    dense = _dense(models, mixture, torch.float32)(ids).logits
    bare = models.bare(ids).logits
    with bank.mix([mixture]):
        mixed = models.base.model(ids).logits
    return {
        "memkit - dense weights": float((mixed - dense).abs().max()),
        "memkit - dense weights in float64": float((mixed - exact).abs().max()),
        "dense weights - those in float64": float((dense - exact).abs().max()),
        "largest logit": float(dense.abs().max()),
        "largest change by the mixture": float((dense - bare).abs().max()),
    }


def _dense(models: Models, mixture: Mixture, dtype: torch.dtype) -> Any:
    """A model whose weights contain the mixture."""
    model = copy.deepcopy(models.bare).to(dtype)
    for key, weight in mixture.items():
        row = random_row(models.layers, PLACED, int(key), torch.float32)
        for name, factors in row.layout.unpack(row.data.double()).items():
            delta = weight * row.scale * factors.b @ factors.a
            model.get_submodule(name).weight.data += delta.to(dtype)
    return model


def _decoding(models: Models) -> Times:
    """One token more, of one request."""
    bank, (mixture, *_) = models.bank(DECODED, torch.float16), _mixtures(1)
    case = f"decode, 3 of rank {DECODED.rank}"
    with bank.mix([mixture]):
        mixed = Decoder(models.base.model, 1)
        bare = Decoder(models.bare, 1)
        return _turns({(case, "base model"): bare, (case, "memkit"): mixed}, rounds=40)


def _batch(models: Models) -> tuple[Times, Times]:
    """One token more for each of 8 requests with 8 mixtures; and the making of the mixtures."""
    bank, mixtures = models.bank(DECODED, torch.float16), _mixtures(REQUESTS)
    case = f"decode, {REQUESTS} mixtures"
    peft = models.peft(DECODED.rank, REQUESTS)
    names = [f"mixed{number}" for number in range(REQUESTS)]

    def make_in_peft() -> None:
        for name, mixture in zip(names, mixtures, strict=True):
            peft.add_weighted_adapter([*mixture], [*mixture.values()], name, combination_type="cat")

    def make() -> None:
        for key in {key for mixture in mixtures for key in mixture}:
            bank.drop(key)
        with bank.mix(mixtures):
            pass

    making = f"make {REQUESTS} mixtures"
    set_up = {
        (making, "PEFT cat"): [_seconds(make_in_peft)],
        (making, "memkit"): [_seconds(make) for _ in range(5)],
    }
    with bank.mix(mixtures):
        steps = {
            (case, "base model"): Decoder(models.bare, REQUESTS),
            (case, "memkit"): Decoder(models.base.model, REQUESTS),
            (case, "PEFT adapter_names"): Decoder(peft, REQUESTS, adapter_names=names),
        }
        return _turns(steps, rounds=20), set_up


class Decoder:
    """Feeds a model one more token at a time.

    Args:
        model: With a language-modelling head.
        rows: Requests in the batch.
        options: For every call of the model.
    """

    def __init__(self, model: Any, rows: int, **options: object) -> None:
        self._model = model
        self._options = options
        self._cache = DynamicCache()
        self._feed(torch.arange(PROMPT_TOKENS).repeat(rows, 1) + 100)
        self._next = torch.full((rows, 1), 100)

    def __call__(self) -> None:
        """One step."""
        self._feed(self._next)

    def _feed(self, ids: Tensor) -> None:
        self._model(
            input_ids=ids,
            use_cache=True,
            logits_to_keep=1,
            **{cache_argument(self._model): self._cache},
            **self._options,
        )


def _mixtures(count: int) -> list[Mixture]:
    """Mixtures of 3 out of 8 adapters, no two alike."""
    sets = list(itertools.combinations(range(REQUESTS), len(WEIGHTS)))
    chosen = random.Random(0).sample(sets, count)
    return [dict(zip(map(str, names), WEIGHTS, strict=True)) for names in chosen]


def _turns(steps: Mapping[Case, Callable[[], None]], rounds: int) -> Times:
    """Time of every step in every round, after one round to warm up."""
    times: Times = {case: [] for case in steps}
    for number in range(rounds + 1):
        for case, step in steps.items():
            seconds = _seconds(step)
            if number:
                times[case].append(seconds)
    return times


def _seconds(step: Callable[[], None]) -> float:
    """Of the processor: other jobs may share it."""
    started = time.process_time()
    step()
    return time.process_time() - started


def _ratios(placing: Times, decoding: Times, batch: Times, set_up: Times) -> dict[str, float]:
    def by_metric(times: Times) -> dict[str, float]:
        return {metric: median(values) for (_, metric), values in times.items()}

    placed, single, batched, made = map(by_metric, (placing, decoding, batch, set_up))
    peft = placed[f"PEFT cat + set + delete, holds {IN_MEMORY}"]
    answer = made["memkit"] + ANSWER_TOKENS * batched["memkit"]
    answer_in_peft = made["PEFT cat"] + ANSWER_TOKENS * batched["PEFT adapter_names"]
    return {
        "mix_vs_peft": peft / placed["memkit, from disk"],
        "mix_first_use_vs_peft": peft / placed["memkit, from disk, first use"],
        "mix_vs_peft_of_3": placed["PEFT cat + set + delete, holds 3"]
        / placed["memkit, from disk"],
        "decode_vs_base": single["memkit"] / single["base model"],
        "batch_vs_base": batched["base model"] / batched["memkit"],
        # `adapter_names` takes adapters, not mixtures: making them is part of serving the batch.
        "batch_vs_adapter_names": answer_in_peft / answer,
        "batch_step_vs_adapter_names": batched["PEFT adapter_names"] / batched["memkit"],
    }
