"""Adapters that are trained once and kept in files, so that a killed run loses little."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file

from memkit.answering.prompt import PromptFormat
from memkit.errors import CorruptFileError
from memkit.evals.configuration import Learning
from memkit.evals.lessons import Lesson, facts_of_lessons, trained_tokens
from memkit.files import file_draft
from memkit.lora.serving.hooks import Adapter, AdapterLayers, Factors, Scaled
from memkit.lora.training.trainer import Trainers
from memkit.models.language_model import TransformersModel


@dataclass(frozen=True)
class Training:
    """How the training of an adapter went.

    Attributes:
        parameters: Numbers in the adapter.
        tokens: Tokens with a loss in one visit to everything.
        mastered: Share of what was to be learned that was mastered in its last visit.
        cpu_seconds: Of this process.
    """

    parameters: int
    lessons: int
    tokens: int
    steps: int
    loss: float
    mastered: float
    cpu_seconds: float
    wall_seconds: float
    precision: str


@dataclass(frozen=True)
class TrainedModule:
    """An adapter with what is known of its training."""

    adapter: Scaled
    training: Training

    @property
    def bytes(self) -> int:
        """Its size on disk, as memkit stores it: two bytes a number."""
        return 2 * self.training.parameters


class ModuleStore:
    """Trains adapters, or reads those that were trained in the same way before.

    Args:
        base: The base model.
        layers: The hooks on it.
        folder: Where the files are.
    """

    def __init__(self, base: TransformersModel, layers: AdapterLayers, folder: Path) -> None:
        self._base = base
        self._layers = layers
        self._folder = folder
        self._trainers = Trainers()

    def get(self, lessons: Sequence[Lesson], learning: Learning, seed: int) -> TrainedModule:
        """The adapter that is trained on these lessons in this way, with this seed."""
        key = self._key(lessons, learning, seed)
        weights, notes = (self._folder / f"{key}.{end}" for end in ("safetensors", "json"))
        if notes.exists():  # it is written last
            return self._read(weights, notes, learning)
        trained = self._train(lessons, learning, seed)
        self._folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"{name}.{part}": getattr(factors, part).contiguous()
            for name, factors in trained.adapter.adapter.items()
            for part in ("a", "b")
        }
        with file_draft(weights) as draft:
            save_file(tensors, draft)
            draft.replace(weights)
        with file_draft(notes) as draft:
            draft.write_text(json.dumps(asdict(trained.training)), encoding="utf-8")
            draft.replace(notes)
        return trained

    def _train(self, lessons: Sequence[Lesson], learning: Learning, seed: int) -> TrainedModule:
        spec = learning.train(seed)
        facts = facts_of_lessons(self._base, lessons)
        trainer = self._trainers.get(self._base, self._layers, learning.lora, spec, PromptFormat())
        cpu, wall = time.process_time(), time.perf_counter()
        trained = trainer.fit_facts(facts)
        training = Training(
            parameters=sum(f.a.numel() + f.b.numel() for f in trained.adapter.values()),
            lessons=len(lessons),
            tokens=trained_tokens(facts),
            steps=trained.steps,
            loss=trained.loss,
            mastered=trained.mastered,
            cpu_seconds=time.process_time() - cpu,
            wall_seconds=time.perf_counter() - wall,
            precision=spec.precision,
        )
        return TrainedModule(_scaled(trained.adapter, learning), training)

    def _read(self, weights: Path, notes: Path, learning: Learning) -> TrainedModule:
        try:
            tensors = load_file(weights)
            training = Training(**json.loads(notes.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise CorruptFileError(
                f"expected a trained adapter in {str(weights)!r}, cannot read it: {error}",
                hint=f"delete {notes.name} beside it, and it is trained again",
            ) from error
        adapter = {
            name: Factors(tensors[f"{name}.a"], tensors[f"{name}.b"])
            for name in dict.fromkeys(key.rpartition(".")[0] for key in tensors)
        }
        order = self._layers.targets(learning.lora)
        return TrainedModule(_scaled({name: adapter[name] for name in order}, learning), training)

    def _key(self, lessons: Sequence[Lesson], learning: Learning, seed: int) -> str:
        how = {k: v for k, v in asdict(learning).items() if k not in {"forms", "writer"}}
        parts = [self._base.fingerprint, how, seed, [asdict(lesson) for lesson in lessons]]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _scaled(adapter: Adapter, learning: Learning) -> Scaled:
    return Scaled(adapter, learning.rank, learning.lora.scale)
