"""Training adapters on question/answer examples.

What makes it fast and what makes it hold (figures in docs/decisions):

- the prefix (system prompt) is encoded once by the untouched base model and its KV cache is
  shared by all examples, exactly as in serving;
- what lies below the first adapted layer is computed once per wording
  (`memkit.lora.training.activation_cache`);
- the head is computed only where a token is predicted, and its logits are not kept;
- mastery is read off the training forward pass itself; what is mastered is visited more and
  more rarely (`memkit.lora.training.curriculum`);
- each epoch asks every fact in another wording, and every batch carries a few guards;
- the last layer can be fitted to all that was seen (`memkit.lora.training.readout`);
- several adapters can share the batches, each with its own rows.

Deterministic on CPU: same examples, spec and seed give the same bytes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from itertools import chain, zip_longest

import torch
from torch import Tensor

from memkit.errors import TrainingError, UnsupportedOperationError
from memkit.lora.serving.hooks import Adapter, AdapterLayers, first_layer, stack_adapters
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.training.activation_cache import ActivationCache
from memkit.lora.training.encoding import Batch, Encoded, Fact, collate, encoded, facts_of
from memkit.lora.training.final_layer import Tap, site_of
from memkit.lora.training.guard_prompts import GUARD_PROMPTS
from memkit.lora.training.objectives import objective_of
from memkit.lora.training.optimizer import DivergedError, Optimizer
from memkit.lora.training.readout import Readout
from memkit.lora.training.training_run import Step, Trained, TrainingRun
from memkit.lora.training.variants import new_variant
from memkit.models.language_model import LanguageModel
from memkit.protocols import Example, Sampling

GUARD_TOKENS = 8  # enough to pin how the base model's answer begins
TRUNK_BATCH = 32  # costs an example half of what it costs in a batch of five
HALVINGS = 2  # of the learning rate, after a divergence
SURVEY = 2  # wordings of each fact that a readout is fitted to before the first step

logger = logging.getLogger("memkit")

Progress = Callable[[float], None]  # after every epoch: the share of facts mastered


class Trainer:
    """Trains adapters for one base model.

    Args:
        base: The frozen base model.
        layers: The hooks on its target layers.
        lora: Shape of the adapters.
        train: How they are trained.

    Raises:
        UnsupportedOperationError: If the last layer is to be fitted and there is none that can
            be, or it is not adapted.
    """

    def __init__(
        self, base: LanguageModel, layers: AdapterLayers, lora: LoraSpec, train: TrainSpec
    ) -> None:
        self.base = base
        self.layers = layers
        self.lora = lora
        self.train = train
        self.targets = layers.targets(lora)
        self._objective = objective_of(base, train)
        self._tap = self._tapped() if train.readout else None

    def fit(self, examples: Sequence[Example], progress: Progress | None = None) -> Trained:
        """Train a new adapter on the examples that are not held out.

        Args:
            examples: Wordings of facts; those of one fact share record and answer.
            progress: Called after each epoch.

        Raises:
            TrainingError: If there is nothing to learn, or the loss diverges at every rate.
        """
        return self.fit_together([examples], progress)[0]

    def fit_together(
        self, groups: Sequence[Sequence[Example]], progress: Progress | None = None
    ) -> list[Trained]:
        """Train one adapter for each group of examples, all in the same batches.

        Gradients, optimizer states and random numbers of one never touch another. The weights
        differ in the last bits from those of adapters that are trained alone, as larger
        matrices are summed in another order.

        Args:
            groups: As for `fit`.
            progress: Called after each epoch with the mean over the groups.

        Raises:
            TrainingError: As for `fit`.
        """
        if self.lora.variant == "dora" and len(groups) > 1:
            raise UnsupportedOperationError(
                f"expected one group for 'dora', whose gates change whole rows, got {len(groups)}",
                hint="fit() them one after the other",
            )
        facts = [facts_of(self.base, examples) for examples in groups]
        if not all(facts):
            raise TrainingError("expected at least one training example, got none")
        train = self.train
        for _ in range(HALVINGS):
            try:
                return self._run(facts, train, progress)
            except DivergedError as exc:
                logger.warning("training starts again at half the rate: %s", exc.message)
                train = replace(train, learning_rate=train.learning_rate / 2)
        return self._run(facts, train, progress)

    def _run(
        self, groups: Sequence[Sequence[Fact]], train: TrainSpec, progress: Progress | None
    ) -> list[Trained]:
        courses = [self._course(facts, train) for facts in groups]
        for course in courses:
            self._survey(course)
        while learning := [course for course in courses if not course.over]:
            for course in learning:
                if not course.cooling and self._passes(course):
                    course.cool()
            plans = [course.epoch() for course in learning]
            self._prepare(example for plan in plans for step in plan for _, example in step)
            for steps in zip_longest(*plans):
                self._step([(c, step) for c, step in zip(learning, steps, strict=True) if step])
            for course in learning:
                course.fit_readout()
            if progress is not None:
                progress(sum(course.curriculum.mastered for course in courses) / len(courses))
        return [course.trained() for course in courses]

    def _prepare(self, examples: Iterable[Encoded]) -> None:
        """Compute what enters the adapted layers, in larger batches than the steps."""
        with self.base.turn.take():
            missing = self._trunk.missing(examples)
        for start in range(0, len(missing), TRUNK_BATCH):
            with self.base.turn.take():
                self._trunk.compute(missing[start : start + TRUNK_BATCH])

    def _survey(self, course: TrainingRun) -> None:
        """Fit a readout to what the untouched model makes of the facts."""
        if course.readout is None:
            return
        examples = [wording for fact in course.facts for wording in fact[:SURVEY]]
        self._prepare(examples)
        examples.sort(key=lambda example: len(example.ids))
        for start in range(0, len(examples), TRUNK_BATCH):
            batch, _ = self._looked_at(course, examples[start : start + TRUNK_BATCH])
            _note(course.readout, batch, torch.ones_like(batch.answer))
        course.readout.fit()

    def _looked_at(self, course: TrainingRun, examples: Sequence[Encoded]) -> tuple[Batch, Tensor]:
        """Examples behind a course's adapter, and the surprise of their tokens; nothing learns."""
        batch = self._collated(examples)
        alone = torch.zeros(len(examples), dtype=torch.long)
        with torch.no_grad():
            _, surprise = self._losses(batch, [course.adapter(self._dtype)], alone)
        return batch, surprise

    def _passes(self, course: TrainingRun) -> bool:
        """Whether a course may end: its facts are settled, and all pass a last look."""
        if not course.curriculum.settled:
            return False
        for step in course.curriculum.exam():
            batch, surprise = self._looked_at(course, [example for _, example in step])
            for (fact, _), mastered in zip(step, self._mastered(batch, surprise), strict=True):
                if not mastered:
                    course.curriculum.note(fact, mastered=False)
        return course.curriculum.settled

    def _step(self, rows: Sequence[tuple[TrainingRun, Step]]) -> None:
        """One step of every course on its own examples, computed as one batch."""
        examples = [example for _, step in rows for _, example in step]
        batch = self._collated(examples)
        owners = torch.tensor([n for n, (_, step) in enumerate(rows) for _ in step])
        adapters = [course.adapter(self._dtype) for course, _ in rows]
        losses, surprise = self._losses(batch, adapters, owners)
        owner = owners.to(losses.device)[batch.rows]  # (n,)
        means = [losses[owner == n].mean() for n in range(len(rows))]
        for (course, _), mean in zip(rows, means, strict=True):
            course.descent.watch(mean.item())
        torch.stack(means).sum().backward()  # type: ignore[no-untyped-call]
        facts = torch.tensor([fact is not None for _, step in rows for fact, _ in step])
        for n, (course, _) in enumerate(rows):
            if course.readout is not None:
                _note(course.readout, batch, (owner == n) & facts.to(owner.device)[batch.rows])
            course.descent.step(course.rate)
        visits = [(course.curriculum, fact) for course, step in rows for fact, _ in step]
        for (curriculum, fact), mastered in zip(
            visits, self._mastered(batch, surprise), strict=True
        ):
            if fact is not None:
                curriculum.note(fact, mastered=mastered)

    def _collated(self, examples: Sequence[Encoded]) -> Batch:
        return collate(examples, self.base.device, questions=self._objective.questions)

    def _losses(
        self, batch: Batch, adapters: Sequence[Adapter], owners: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Loss and surprise of every predicted token, each row behind its own adapter."""
        width = self.lora.width
        placed = stack_adapters(adapters, [width] * len(adapters))
        rows = torch.eye(len(adapters))[owners] if len(adapters) > 1 else torch.ones(1, 1)
        gain = self.lora.scale * rows.repeat_interleave(width, dim=1)  # (b, R); (1, R) for all
        gain = gain.to(self.base.device, self._dtype)
        with self.base.turn.take():  # a step at a time, so that questions are answered meanwhile
            entering = self._trunk.entering(batch.examples)
            past = self.base.past([example.prefix for example in batch.examples])
            listening = nullcontext() if self._tap is None else self._tap.open()
            with self.layers.place(placed, gain), self._trunk.above(), listening:
                ids = [example.ids for example in batch.examples]
                hidden = self.base.extend(past, ids, embedded=entering)  # (b, t, h)
            return self._objective.losses(batch, hidden[batch.rows, batch.columns])

    def _mastered(self, batch: Batch, surprise: Tensor) -> list[bool]:
        """For each row, whether every token of its answer is probable enough."""
        worst = torch.zeros(len(batch.examples), device=surprise.device).scatter_reduce(
            0, batch.rows, surprise * batch.answer, reduce="amax"
        )
        return list((worst <= -math.log(self.train.mastery)).tolist())

    def _tapped(self) -> Tap:
        with self.base.turn.take():
            site = site_of(self.base)
        if site not in self.targets or self.lora.variant != "lora":
            raise UnsupportedOperationError(
                "expected plain LoRA on the last linear layer, whose output enters the final norm, "
                f"got {self.lora.variant!r} on {len(self.targets)} layers of "
                f"{type(self.base.model).__name__}, among them "
                f"{'none such' if site not in self.targets else site}",
                hint="leave `readout` out",
            )
        return Tap(self.base, site)

    def _course(self, facts: Sequence[Fact], train: TrainSpec) -> TrainingRun:
        random = torch.Generator().manual_seed(train.seed)
        shapes, readout = dict(self.targets), None
        if self._tap is not None:
            del shapes[self._tap.site]
            answers = chain.from_iterable(fact[0].ids[fact[0].split :] for fact in facts)
            readout = Readout(self.base, self._tap, list(answers), self.lora.rank, self.lora.scale)
        variant = new_variant(self.base, shapes, self.lora, random)
        guess = math.log(self.base.model.config.get_text_config().vocab_size)
        descent = Optimizer(variant.parameters(), train.learning_rate, guess=guess)
        return TrainingRun(
            facts, train, random, variant, descent, readout=readout, guards=self._guards
        )

    @property
    def _dtype(self) -> torch.dtype:
        return self.base.model.dtype

    @cached_property
    def _trunk(self) -> ActivationCache:
        return ActivationCache(
            self.base, first_layer(self.targets) if ActivationCache.supports(self.base) else 0
        )

    @cached_property
    def _guards(self) -> list[Encoded]:
        """The guard prompts with the base model's greedy answers."""
        prompts = [self.base.prompt(text) for text in GUARD_PROMPTS]
        with self.base.turn.take():
            completions = self.base.generate(prompts, Sampling(max_new_tokens=GUARD_TOKENS))
        return [
            encoded(prompt, completion.ids, prompt.prefix)
            for prompt, completion in zip(prompts, completions, strict=True)
        ]


def _note(readout: Readout, batch: Batch, chosen: Tensor) -> None:
    """Let a readout keep some of the positions that were just computed."""
    at = batch.rows[chosen], batch.columns[chosen]
    readout.note(readout.tap.x[at], readout.tap.h[at], batch.targets[chosen])
