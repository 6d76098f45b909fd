"""Training adapters on question/answer examples.

What makes it fast and what makes it hold (figures in docs/decisions):

- the prefix (system prompt) is encoded once by the untouched base model and its KV cache is
  shared by all examples, exactly as in serving;
- what lies below the first adapted layer is computed once per wording
  (`memkit.lora.training.activation_cache`);
- a step that would not fit into memory keeps little of its layers, or is computed in parts
  (`memkit.lora.training.step_memory`);
- the head is computed only where a token is predicted, and its logits are not kept;
- mastery is read off the training forward pass itself; what is mastered is visited more and
  more rarely (`memkit.lora.training.curriculum`);
- each epoch asks every fact in another wording, and every batch carries a few guards.

Deterministic on CPU: same examples, spec and seed give the same bytes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from memkit.answering.prompt import PromptFormat
from memkit.errors import TrainingError
from memkit.lora.serving.hooks import Adapter, AdapterLayers, first_layer
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.training.activation_cache import ActivationCache
from memkit.lora.training.encoding import Batch, Encoded, Fact, collate, encoded, facts_of
from memkit.lora.training.guard_prompts import GUARD_PROMPTS
from memkit.lora.training.loss import token_losses
from memkit.lora.training.optimizer import DivergedError, Optimizer
from memkit.lora.training.precision import chosen_precision, in_precision
from memkit.lora.training.step_memory import StepMemory
from memkit.lora.training.trainable_adapter import TrainableAdapter, new_adapter
from memkit.lora.training.training_run import Step, Trained, TrainingRun
from memkit.models.language_model import TransformersModel
from memkit.types import CacheUse, Example, Sampling

GUARD_TOKENS = 8  # enough to pin how the base model's answer begins
CACHE_BATCH = 32  # costs an example half of what it costs in a batch of five
HALVINGS = 2  # of the learning rate, after a divergence

logger = logging.getLogger(__name__)

Progress = Callable[[float], None]  # after every epoch: the share of facts mastered


class Trainer:
    """Trains adapters for one base model.

    Args:
        base: The frozen base model.
        layers: The hooks on its target layers.
        lora: Shape of the adapters.
        train: How they are trained.
        prompt_format: How evidence is put before questions where they are served.

    Raises:
        IncompatibleModelError: If the model has no such layers, or none that can be computed again
            where ``train`` wants that.
    """

    def __init__(
        self,
        base: TransformersModel,
        layers: AdapterLayers,
        lora: LoraSpec,
        train: TrainSpec,
        prompt_format: PromptFormat,
    ) -> None:
        self.base = base
        self.layers = layers
        self.lora = lora
        self.train = train
        self.prompt_format = prompt_format
        self.targets = layers.targets(lora)
        self._memory = StepMemory(base, layers, self.targets, train.gradient_checkpointing)

    def fit(self, examples: Sequence[Example], progress: Progress | None = None) -> Trained:
        """Train a new adapter on the examples that are not held out.

        Raises:
            TrainingError: If there is nothing to learn, or the loss diverges at every rate.
        """
        return self.fit_facts(facts_of(self.base, examples, self.prompt_format), progress)

    def fit_facts(self, facts: Sequence[Fact], progress: Progress | None = None) -> Trained:
        """The same for what is encoded already, in the chat format or not.

        Raises:
            TrainingError: As `fit`.
        """
        if not facts:
            raise TrainingError("expected at least one training example, got none")
        train = self.train
        for _ in range(HALVINGS):
            try:
                return self._fit(facts, train, progress)
            except DivergedError as exc:
                logger.warning("training starts again at half the rate: %s", exc.message)
                train = replace(train, learning_rate=train.learning_rate / 2)
        return self._fit(facts, train, progress)

    def _fit(self, facts: Sequence[Fact], train: TrainSpec, progress: Progress | None) -> Trained:
        random = torch.Generator().manual_seed(train.seed)
        fresh = new_adapter(self.targets, self.lora.rank, generator=random)
        adapter = TrainableAdapter(fresh, self.base.device)
        guess = math.log(self.base.model.config.get_text_config().vocab_size)
        optimizer = Optimizer(list(adapter.tensors.values()), train.learning_rate, guess=guess)
        run = TrainingRun(facts, train, random, adapter, optimizer, guards=self._guards)
        while not run.over:
            if not run.cooling and self._passes(run):
                run.cool()
            steps = run.epoch()
            self._fill_cache(example for step in steps for _, example in step)
            for step in steps:
                self._step(run, step)
            if progress is not None:
                progress(run.curriculum.mastered)
        return run.trained()

    def _fill_cache(self, examples: Iterable[Encoded]) -> None:
        """Compute what enters the adapted layers, in larger batches than the steps."""
        with self.base.hold(patient=True):
            missing = self._cache.missing(examples)
        for start in range(0, len(missing), CACHE_BATCH):
            with self.base.hold(patient=True):
                self._cache.compute(missing[start : start + CACHE_BATCH])

    def _passes(self, run: TrainingRun) -> bool:
        """Whether a run may end: its facts are settled, and all pass a last exam."""
        if not run.curriculum.settled:
            return False
        for step in run.curriculum.exam():
            batch = collate([example for _, example in step], self.base.device)
            with torch.no_grad():
                losses = self._losses(batch, run.adapter.factors(self.base.model.dtype))
            for (fact, _), mastered in zip(step, self._mastered(batch, losses), strict=True):
                if not mastered:
                    run.curriculum.note(fact, mastered=False)
        return run.curriculum.settled

    def _step(self, run: TrainingRun, step: Step) -> None:
        examples = [example for _, example in step]
        rows = self._memory.rows(examples)  # gradients of parts add up to those of the step
        parts = [examples[start : start + rows] for start in range(0, len(examples), rows)]
        batches = [collate(part, self.base.device) for part in parts]
        tokens = sum(len(batch.targets) for batch in batches)
        mean, passed = 0.0, []
        for batch in batches:
            losses = self._losses(batch, run.adapter.factors(self.base.model.dtype))
            share = losses.mean() * (len(batch.targets) / tokens)
            share.backward()  # type: ignore[no-untyped-call]
            mean += share.item()
            passed += self._mastered(batch, losses.detach())
        run.optimizer.watch(mean)
        run.optimizer.step(run.rate)
        for (fact, _), mastered in zip(step, passed, strict=True):
            if fact is not None:
                run.curriculum.note(fact, mastered=mastered)

    def _losses(self, batch: Batch, adapter: Adapter) -> Tensor:
        """Loss of every predicted token behind an adapter, shape ``(n,)``."""
        gain = torch.full((1, self.lora.rank), self.lora.scale)
        gain = gain.to(self.base.device, self.base.model.dtype)
        # A step at a time, and after what users ask: so questions are answered meanwhile.
        with self.base.hold(patient=True):
            inputs = self._cache.inputs(batch.examples)
            past = self.base.past([example.prefix for example in batch.examples])
            with (
                self.layers.place(adapter, gain),
                self._cache.upper_layers(),
                self._memory.pass_over(batch.examples),
            ):
                ids = [example.ids for example in batch.examples]
                hidden = self.base.extend(past, ids, embedded=inputs)  # (b, t, h)
            return token_losses(self.base, hidden[batch.rows, batch.columns], batch.targets)

    def _mastered(self, batch: Batch, losses: Tensor) -> list[bool]:
        """For each row, whether every token of its answer is probable enough."""
        worst = torch.zeros(len(batch.examples), device=losses.device).scatter_reduce(
            0, batch.rows, losses, reduce="amax"
        )
        return list((worst <= -math.log(self.train.mastery)).tolist())

    @cached_property
    def _cache(self) -> ActivationCache:
        return ActivationCache(
            self.base, first_layer(self.targets) if ActivationCache.supports(self.base) else 0
        )

    @property
    def cached(self) -> CacheUse | None:
        """What is cached of examples, and may be; None if nothing ever is."""
        used = "_cache" in self.__dict__ and self._cache.uses
        return self._cache.cached if used else None

    def forget_examples(self) -> None:
        """Let go of what is cached of examples."""
        if "_cache" in self.__dict__:
            self._cache.clear()

    @cached_property
    def _guards(self) -> list[Encoded]:
        """The guard prompts with the base model's greedy answers."""
        prompts = [self.base.prompt(text) for text in GUARD_PROMPTS]
        with self.base.hold():
            completions = self.base.generate(prompts, Sampling(max_new_tokens=GUARD_TOKENS))
        return [
            encoded(prompt, completion.ids)
            for prompt, completion in zip(prompts, completions, strict=True)
        ]


class Trainers:
    """The trainers of one open memory: one for each way to train, made when first needed."""

    def __init__(self) -> None:
        self._trainers: dict[tuple[LoraSpec, TrainSpec, PromptFormat], Trainer] = {}
        self._copies: dict[str, tuple[TransformersModel, AdapterLayers]] = {}  # by precision
        self._layers: AdapterLayers | None = None

    def get(
        self,
        base: TransformersModel,
        layers: AdapterLayers,
        lora: LoraSpec,
        train: TrainSpec,
        prompt_format: PromptFormat,
    ) -> Trainer:
        """The trainer, whose ``train`` names the precision that was chosen, to be repeated."""
        if self._layers is not layers:  # the memory has another model now
            self._trainers.clear()
            self._copies.clear()
            self._layers = layers
        precision = chosen_precision(base, train)
        if precision not in self._copies:
            self._copies[precision] = in_precision(base, layers, precision)
        train = replace(train, precision=precision)
        key = lora, train, prompt_format
        if key not in self._trainers:
            self._trainers[key] = Trainer(*self._copies[precision], lora, train, prompt_format)
        for other in self._trainers.values():
            if other is not self._trainers[key]:  # one cache at a time has the room
                other.forget_examples()
        return self._trainers[key]

    @property
    def cached(self) -> dict[str, CacheUse]:
        """What is cached of examples, and may be; nothing until something was trained."""
        uses = [use for use in (t.cached for t in self._trainers.values()) if use is not None]
        return {"activations": max(uses, key=lambda use: use.used)} if uses else {}

    def forget_examples(self) -> None:
        """Let go of what is cached of examples."""
        for trainer in self._trainers.values():
            trainer.forget_examples()
