"""PEFT's Arrow on the modules of a phone book: which of them it turns to, and what it recalls.

Arrow needs no data: at every layer each token is given to the adapters whose largest change
points its way (the top right singular vector of ``B A``). Asked are entries that the module of
their part holds, as they are stored. The routers of memkit are asked for the same entries.

Source:
    Ostapenko et al. 2024, "Towards Modular LLMs by Building and Reusing a Library of LoRAs"
    (arXiv 2405.11157), as PEFT has it.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import ArrowConfig, create_arrow_model
from peft.tuners.lora.arrow import ArrowLoraLinearLayer
from torch import Tensor
from tqdm import tqdm

from benchmarks.evals.mixing import PER_MODULE
from benchmarks.evals.trained_memory import parts_of, trained_memory
from benchmarks.report import report
from memkit.evals.adapter_recall import count_correct
from memkit.evals.data.phone_book import Entry, drafts_of, entries_of
from memkit.evals.measurement import Measurement
from memkit.lora.consolidation.consolidate import Recipe
from memkit.lora.spec import TrainSpec
from memkit.memory.memory import Memory
from memkit.models.embedder import SentenceEmbedder
from memkit.models.language_model import TransformersModel
from memkit.routing.centroid import CentroidRouter
from memkit.types import Query

SAMPLE = 96  # entries that are asked for, evenly from all
ADAPTERS = (1, 3)  # that act on a token; PEFT's default is 3

Hits = list[bool]


def main(*, data: Path | None, facts: int, seeds: int, json_path: Path | None) -> int:
    """Train, or take the modules that the benchmark ``mixing`` has trained, and ask.

    Returns the exit status.

    Args:
        data: Folder with the study's PhoneBook; None for invented entries.
        facts: How many entries of it.
        seeds: How often; each has modules of its own.
        json_path: Where to write the figures as JSON.
    """
    entries = entries_of(data, facts)
    models = TransformersModel.load(), SentenceEmbedder.load()
    hits_by_case: dict[tuple[str, str], Hits] = {}
    for seed in range(seeds):
        parts = parts_of(drafts_of(entries), PER_MODULE)
        with trained_memory(models, parts, Recipe(train=TrainSpec(seed=seed))) as memory:
            for key, hits in tqdm(_compared(memory, entries), "arrow", disable=None):
                hits_by_case.setdefault(key, []).extend(hits)
    results = [
        Measurement.of_share(*key, sum(hits), len(hits)) for key, hits in hits_by_case.items()
    ]
    report("arrow", results, json_path=json_path)
    return 0


def _compared(memory: Memory, entries: Sequence[Entry]) -> Iterator[tuple[tuple[str, str], Hits]]:
    """Whether each router turns to the right module first, and what Arrow's mixtures recall."""
    modules = [module for module in memory.modules.list() if module.manifest["attempt"] == 1]
    held = {
        record.question: place
        for place, module in enumerate(modules)
        for record in memory.get_many(module.records)
    }
    known = [entry for entry in entries if entry.question in held]
    count = min(SAMPLE, len(known))
    asked = [known[place * len(known) // count] for place in range(count)]
    places = [held[entry.question] for entry in asked]
    names = [modules[place].name for place in places]
    lora, rag = memory._engine.need_lora("eval"), memory._engine.need_rag("eval")
    routers = {"nearest facts": lora.router, "centroids": CentroidRouter(rag.facts, lora.ledger)}
    for case, router in routers.items():
        routes = router.route([Query(entry.question) for entry in asked])
        top = [route.modules == (name,) for route, name in zip(routes, names, strict=True)]
        yield (case, "top-1"), top
    pairs = [(entry.question, entry.number) for entry in asked]
    with tempfile.TemporaryDirectory(prefix="memkit-eval-") as folder:
        paths = [
            memory.modules.export(m.name, Path(folder) / m.name, activated=False) for m in modules
        ]
        bare = TransformersModel.load(device="cpu", dtype=torch.float32)  # without memkit's hooks
        for adapters in ADAPTERS:
            arrow = Arrow(bare, paths, adapters)
            case = f"Arrow, {adapters} at a time"
            first = [arrow.first(question) for question, _ in pairs]
            yield (case, "top-1"), [a == b for a, b in zip(first, places, strict=True)]
            recalled = count_correct(arrow.model, pairs, None)
            yield (case, "exact"), [True] * recalled + [False] * (len(pairs) - recalled)


class Arrow:
    """A base model with adapters that PEFT's Arrow weighs for every token.

    Args:
        base: Without hooks; it is copied.
        folders: The adapters, as PEFT saves them.
        adapters: How many act on a token.

    Attributes:
        model: What answers, adapters included.
    """

    def __init__(self, base: TransformersModel, folders: Sequence[Path], adapters: int) -> None:
        config = ArrowConfig(top_k=min(adapters, len(folders)), rng_seed=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of PEFT about transformers
            inner: Any = create_arrow_model(
                copy.deepcopy(base.model), [str(folder) for folder in folders], config
            )
        self.model = TransformersModel(inner.get_base_model(), base.tokenizer, name="PEFT's Arrow")
        self._weights = torch.zeros(len(folders))
        for layer in inner.modules():
            if isinstance(layer, ArrowLoraLinearLayer):
                layer.register_forward_hook(self._add)

    def first(self, question: str) -> int:
        """The place of the adapter that gets the most weight, over all tokens and layers."""
        prompt = self.model.prompt(question)
        self._weights.zero_()
        with torch.no_grad():
            self.model.model(torch.tensor([[*prompt.prefix, *prompt.question]]))
        return int(self._weights.argmax())

    def _add(self, layer: Any, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        """Add up the weights that a layer has just given, as it computes them."""
        likeness = (inputs[0].flatten(0, -2) @ layer.prototypes.T).abs()  # (tokens, adapters)
        best, chosen = likeness.topk(layer.top_k, dim=1)
        given = torch.softmax(best / layer.temperature, dim=1)
        self._weights.index_add_(0, chosen.flatten(), given.flatten())
