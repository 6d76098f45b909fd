"""What is checked on a device. Each check yields figures, some of which have a bound to keep."""

from __future__ import annotations

import copy
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from benchmarks.engine.model_shapes import SHAPES
from benchmarks.engine.shapes import BESIDE, TRAINING, costs, training_costs
from benchmarks.engine.untrained_modules import NoEmbedder, add_modules, random_row
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from memkit import Memory
from memkit.evals.data.phone_book import OTHER_WORDINGS, drafts_of, invented
from memkit.lora.recipe import Recipe
from memkit.lora.serving.bank import AdapterBank, Mixture
from memkit.lora.serving.hooks import AdapterLayers
from memkit.lora.spec import LoraSpec
from memkit.lora.training.checkpointing import Checkpointing
from memkit.lora.training.trainable_adapter import TrainableAdapter, new_adapter
from memkit.models.language_model import TransformersModel
from memkit.testing import HashingEmbedder, tiny_gpt2, tiny_llama, tiny_qwen2, tiny_recipe
from memkit.types import Prompt, Route

SPEC = LoraSpec(rank=8)
MIXTURE: Mixture = {"0": 0.5, "1": 0.3, "2": 0.2}
ADAPTERS = 8
STEPS = 16  # tokens of a request


@dataclass(frozen=True)
class Size:
    """How much is checked.

    Attributes:
        facts: Phone numbers to train.
        modules: In the memory that mixtures are put in place from.
        rows: Requests in a batch.
        shape: Of the random model, in `benchmarks.engine.model_shapes.SHAPES`.
        tiny: Whether the tiny model stands for the default one.
    """

    facts: int = 48
    modules: int = 1000
    rows: Sequence[int] = (8, 64)
    shape: str = "8b"
    tiny: bool = False


FULL = Size()
MINIATURE = Size(facts=4, modules=12, rows=(2, 3), shape="tiny", tiny=True)


class Figure(NamedTuple):
    """One figure.

    Attributes:
        bound: What it has to keep: at most that if ``upper``, else at least; None for none.
    """

    name: str
    value: float
    unit: str
    bound: float | None = None
    upper: bool = True

    @property
    def holds(self) -> bool:
        """Whether it keeps its bound."""
        if self.bound is None:
            return True
        return self.value <= self.bound if self.upper else self.value >= self.bound


Figures = Iterator[Figure]


def parity(device: str, size: Size) -> Figures:
    """Mixtures on the device, beside the CPU in float32: the largest difference of a logit."""
    del size
    for make in (tiny_llama, tiny_qwen2, tiny_gpt2):
        reference = make()
        expected = _mixed_logits(reference)
        largest = float(expected.abs().max())
        for dtype, bound in ((torch.float32, 1e-3), (torch.bfloat16, 0.1)):
            other = _moved(make(), device, dtype)
            error = float((_mixed_logits(other) - expected).abs().max()) / largest
            yield Figure(f"{reference.name} in {_named(dtype)}", error, "share", bound)
            yield Figure("... same fingerprint", float(other.fingerprint == reference.fingerprint),
                         "", 1.0, upper=False)  # fmt: skip


def checkpointing(device: str, size: Size) -> Figures:
    """Gradients of adapters where layers are computed again, beside those where they are not."""
    del size
    for make in (tiny_llama, tiny_gpt2):
        base = _moved(make(), device, torch.float32)
        with _hooked(base) as layers:
            kept = _gradients(base, layers, nullcontext())
            again = _gradients(base, layers, Checkpointing(base, layers).on())
        error = float((again - kept).norm() / kept.norm())
        yield Figure(f"{base.name}: difference of gradients", error, "share", 1e-4)


def learning(device: str, size: Size) -> Figures:
    """Phone numbers trained in bfloat16 and asked as they were trained, and in other words."""
    entries = invented(size.facts)
    recipe = tiny_recipe(4) if size.tiny else Recipe(records_per_module=size.facts, progress=False)
    base = _moved(tiny_llama(), device, torch.float32) if size.tiny else None
    options: dict[str, Any] = {"base_model": base} if base else {
        "device": device, "dtype": "bfloat16",
    }  # fmt: skip
    with (
        tempfile.TemporaryDirectory() as folder,
        Memory.open(
            Path(folder) / "m", embedder=HashingEmbedder() if size.tiny else None,
            recipe=recipe, **options,
        ) as memory,
    ):  # fmt: skip
        memory.add(drafts_of(entries))
        seconds, report = _timed(device, memory.consolidate)
        answers = memory.ask_batch([entry.question for entry in entries], 0, quote=False)
        right = sum(a.text == e.number for a, e in zip(answers, entries, strict=True))
        others = [wording.format(name=e.name) for e in entries for wording in OTHER_WORDINGS]
        modules = [module.name for module in memory.modules.list()]
        reworded = memory.ask_batch(others, 0, quote=False, modules=modules[:1])
        found = sum(
            a.text == e.number
            for a, e in zip(reworded, [e for e in entries for _ in OTHER_WORDINGS], strict=True)
        )
    yield Figure("train", seconds, "s")
    yield Figure("held", len(report.held) / len(entries), "share", 0.9, upper=False)
    yield Figure("exact, as trained", right / len(entries), "share", 0.9, upper=False)
    yield Figure("exact, in other words, module given", found / len(others), "share")


def placing(device: str, size: Size) -> Figures:
    """Mixtures of three of many modules, put in place from disk and from memory."""
    base = _default(device, size)
    with (
        tempfile.TemporaryDirectory() as folder,
        Memory.open(
            Path(folder) / "m", base_model=base, embedder=NoEmbedder(), count_tokens=len
        ) as memory,
    ):
        lora = memory._engine.need_lora("the check")
        names = add_modules(memory._engine.ledger, base, lora.layers, SPEC, size.modules)
        random.Random(0).shuffle(names)
        triples = [names[i : i + 3] for i in range(0, len(names) - 2, 3)][:40]

        def place(triple: Sequence[str]) -> None:
            with lora.adapters([Route(dict.fromkeys(triple, 1 / 3))]):
                pass

        first = [_timed(device, partial(place, triple))[0] for triple in triples]
        again = [_timed(device, partial(place, triple))[0] for triple in triples[-3:] * 4]
        held = lora.bank.cached
    yield Figure(f"3 of {size.modules}, from disk", 1000 * median(first), "ms")
    yield Figure(f"3 of {size.modules}, from memory", 1000 * median(again), "ms")
    yield Figure("adapters in memory, of their bound", held.used / held.bound, "share", 1.0)


def decoding(device: str, size: Size) -> Figures:
    """Requests with different mixtures in one batch, beside the bare model."""
    base = _default(device, size)
    layers = AdapterLayers.of(base)
    bank = _bank(base, layers)
    prompt = base.prompt("Where is the archive?")
    for rows in size.rows:
        mixtures = [
            {str((n + i) % ADAPTERS): weight for i, weight in enumerate((0.5, 0.3, 0.2))}
            for n in range(rows)
        ]
        bare = _tokens_per_second(base, prompt, rows, nullcontext())
        mixed = _tokens_per_second(base, prompt, rows, bank.mix(mixtures))
        yield Figure(f"{rows} requests, bare", bare, "tok/s")
        yield Figure(f"{rows} requests, a mixture each", mixed, "tok/s")
        yield Figure("... of the bare model", mixed / bare, "share")
    layers.detach()


def large(device: str, size: Size) -> Figures:
    """A random model of a large shape: training, memory, and decoding with a mixture."""
    dtype = torch.float32 if size.tiny else torch.bfloat16
    tokenizer = _default("cpu", size).tokenizer
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(LlamaConfig(**SHAPES[size.shape]))
    finally:
        torch.set_default_dtype(before)
    base = TransformersModel(model, tokenizer, name=f"random {size.shape}")
    speeds: dict[str, float] = {}
    for name, values, unit in chain(costs(base), *(training_costs(base, way) for way in TRAINING)):
        speeds[name] = median(values)
        bound = 1.0 if name == "fingerprint" and device != "cpu" else None
        yield Figure(name, median(values), unit, bound)
    share = speeds["decode 1, mixture of 3"] / speeds["decode 1, bare"]
    yield Figure("decode 1, of the bare model", share, "share", None if size.tiny else 0.9, False)
    share = speeds[BESIDE + TRAINING["on"]] / max(1.0, speeds[BESIDE])
    yield Figure("memory of layers computed again", share, "share", None if size.tiny else 0.5)


def compiled(device: str, size: Size) -> Figures:
    """A compiled model with a mixture in place, beside the same model as it is."""
    del size
    base = _moved(tiny_llama(), device, torch.float32)
    expected = _mixed_logits(base)
    backend = "inductor" if torch.device(device).type == "cuda" else "aot_eager"
    layers = AdapterLayers.of(base)
    ids = _ids(base)
    model: Any = torch.compile(base.model, backend=backend)
    with torch.no_grad(), _bank(base, layers).mix([MIXTURE]):
        seconds, _ = _timed(device, lambda: model(input_ids=ids, use_cache=False))
        logits = model(input_ids=ids, use_cache=False).logits.float().cpu()
    layers.detach()
    torch.compiler.reset()
    error = float((logits - expected).abs().max() / expected.abs().max())
    yield Figure(f"{backend}: compile", seconds, "s")
    yield Figure(f"{backend}: largest difference", error, "share", 1e-3)


CHECKS: Mapping[str, Callable[[str, Size], Figures]] = {
    "parity": parity,
    "checkpointing": checkpointing,
    "learning": learning,
    "placing": placing,
    "decoding": decoding,
    "large": large,
    "compiled": compiled,
}


# -- what they share


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _moved(base: TransformersModel, device: str, dtype: torch.dtype) -> TransformersModel:
    model: Any = copy.deepcopy(base.model)
    return TransformersModel(model.to(device, dtype), base.tokenizer, name=base.name)


def _default(device: str, size: Size) -> TransformersModel:
    """The default model, or what stands for it."""
    if size.tiny:
        return _moved(tiny_llama(), device, torch.float32)
    return TransformersModel.load(device=device)


def _bank(base: TransformersModel, layers: AdapterLayers) -> AdapterBank:
    """Adapters "0", "1" and so on, of random weights."""
    rows = {str(n): random_row(layers, SPEC, n, torch.float16) for n in range(ADAPTERS)}
    return AdapterBank(
        layers,
        rows.__getitem__,
        bound=base.bounds.adapters,
        device=base.device,
        dtype=base.model.dtype,
    )


def _ids(base: TransformersModel) -> Tensor:
    text = "The archive is on the second floor, and Nora keeps its keys."
    return torch.tensor([base.answer_ids(text)], device=base.device)


def _mixed_logits(base: TransformersModel) -> Tensor:
    """Logits of a text with a mixture in place, on the CPU in float32."""
    with _hooked(base) as layers, torch.no_grad(), _bank(base, layers).mix([MIXTURE]):
        ids = _ids(base)
        mask = torch.ones_like(ids)
        logits: Tensor = base.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return logits.float().cpu()


def _gradients(
    base: TransformersModel, layers: AdapterLayers, passing: AbstractContextManager[None]
) -> Tensor:
    """Of all weights of a random adapter, through some tokens behind a prefix."""
    random_numbers = torch.Generator().manual_seed(0)
    fresh = new_adapter(layers.targets(SPEC), SPEC.rank, generator=random_numbers)
    adapter = TrainableAdapter(fresh, base.device)
    prompt = base.prompt("Where is the archive, and who keeps its keys?")
    gain = torch.full((1, SPEC.rank), SPEC.scale, device=base.device)
    with base.hold():
        past = base.past([prompt.prefix] * 2)
        with layers.place(adapter.factors(), gain), passing:
            hidden = base.extend(past, [prompt.question, prompt.question[:3]])
    base.logits(hidden[0]).logsumexp(dim=-1).sum().backward()  # type: ignore[no-untyped-call]
    gradients = [tensor.grad for tensor in adapter.tensors.values()]
    return torch.cat([each.flatten().cpu() for each in gradients if each is not None])


@contextmanager
def _hooked(base: TransformersModel) -> Iterator[AdapterLayers]:
    layers = AdapterLayers.of(base)
    try:
        yield layers
    finally:
        layers.detach()


def _tokens_per_second(
    base: TransformersModel, prompt: Prompt, rows: int, place: AbstractContextManager[object]
) -> float:
    with torch.no_grad(), base.hold():
        past = base.past([prompt.prefix] * rows)
        with place:
            base.logits(base.extend(past, [prompt.question] * rows)[:, -1])

            def step() -> None:
                base.logits(base.extend(past, [[5]] * rows)[:, -1]).argmax(-1).cpu()

            seconds = [_timed(str(base.device), step)[0] for _ in range(STEPS)]
    return rows / median(seconds[2:])


def _timed(device: str, work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds by the clock, the device's own work included."""
    started = time.perf_counter()
    result = work()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started, result
