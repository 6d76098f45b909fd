"""Training one adapter on question/answer examples.

What makes it fast and what makes it hold (figures in docs/decisions):

- the prefix (system prompt) is encoded once by the untouched base model and its KV cache is
  shared by all examples, exactly as in serving;
- the head is computed only where an answer token is predicted;
- mastery is read off the training forward pass itself, and training stops when every example
  of two epochs in a row was mastered;
- each epoch asks every fact in another wording, and every batch carries a few guards.

Deterministic on CPU: same examples, spec and seed give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from memkit.errors import TrainingError
from memkit.lora.guards import GUARD_PROMPTS
from memkit.lora.layers import Adapter, AdapterLayers, Factors, new_adapter
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.models.base import BaseModel
from memkit.protocols import Example, Prompt, Sampling

GUARD_TOKENS = 8  # enough to pin how the base model's answer begins
CALM_EPOCHS = 2  # epochs in a row without an unmastered example before training stops
EPOCH_STEPS = 3  # what few facts are spread over; four of them make two
WARMUP = 0.05  # share of the schedule

T = TypeVar("T")
Progress = Callable[[float], None]  # after every epoch: the share of examples mastered


@dataclass(frozen=True)
class Trained:
    """A trained adapter and how training went.

    Attributes:
        adapter: Its factors, in float32.
        steps: How many there were.
        loss: Of the last step.
        mastered: Share of the last epoch's examples that were mastered, guards included.
    """

    adapter: Adapter
    steps: int
    loss: float
    mastered: float


@dataclass(frozen=True)
class _Encoded:
    """Token ids of prefix, then question and answer; the answer starts at ``split``."""

    prefix: tuple[int, ...]
    ids: tuple[int, ...]
    split: int


@dataclass(frozen=True)
class _Batch:
    """Examples of one step, and the n positions whose next token is an answer token.

    Shapes: ``rows``, ``columns`` and ``targets`` (n,).
    """

    examples: list[_Encoded]
    rows: Tensor
    columns: Tensor
    targets: Tensor


class Trainer:
    """Trains adapters for one base model.

    Args:
        base: The frozen base model.
        layers: The hooks on its target layers.
        lora: Shape of the adapters.
        train: How they are trained.
    """

    def __init__(
        self, base: BaseModel, layers: AdapterLayers, lora: LoraSpec, train: TrainSpec
    ) -> None:
        self.base = base
        self.layers = layers
        self.lora = lora
        self.train = train
        self.targets = layers.targets(lora)

    def fit(self, examples: Sequence[Example], progress: Progress | None = None) -> Trained:
        """Train a new adapter on the examples that are not held out.

        Args:
            examples: Wordings of facts; those of one fact share record and answer.
            progress: Called after each epoch.

        Raises:
            TrainingError: If there is nothing to learn, or the loss is not finite.
        """
        facts = self._facts(examples)
        if not facts:
            raise TrainingError("expected at least one training example, got none")
        random = torch.Generator().manual_seed(self.train.seed)
        adapter = self._new_adapter(random)
        epoch_steps = len(_even_shares(facts, self._facts_per_batch(len(facts))))
        descent = _Descent(adapter, self.train.learning_rate, epoch_steps * self.train.epochs)
        calm, mastered = 0, 0.0
        for _ in range(self.train.epochs):
            learned: list[bool] = []
            for batch in self._batches(facts, random):
                loss, learned_now = self._loss(batch, adapter)
                descent.step(loss)
                learned += learned_now
            mastered = sum(learned) / len(learned)
            if progress is not None:
                progress(mastered)
            calm = calm + 1 if mastered == 1.0 else 0
            if calm == CALM_EPOCHS:
                break
        frozen = {n: Factors(f.a.detach(), f.b.detach()) for n, f in adapter.items()}
        return Trained(frozen, descent.steps, descent.loss, mastered)

    def _facts_per_batch(self, facts: int) -> int:
        """At most what a batch has room for; of few facts fewer, so that steps are enough."""
        room = max(1, self.train.batch_size - self.train.guards)
        return min(room, math.ceil(facts / EPOCH_STEPS))

    def _new_adapter(self, random: torch.Generator) -> dict[str, Factors]:
        adapter = new_adapter(self.targets, self.lora.rank, generator=random)
        device = self.base.device
        return {
            name: Factors(f.a.to(device).requires_grad_(), f.b.to(device).requires_grad_())
            for name, f in adapter.items()
        }

    def _facts(self, examples: Sequence[Example]) -> list[list[_Encoded]]:
        """The wordings of each fact."""
        facts: dict[tuple[str | None, str], list[_Encoded]] = {}
        for example in examples:
            if not example.held_out:
                encoded = _encoded(
                    self.base.prompt(example.question), self.base.answer_ids(example.answer)
                )
                facts.setdefault((example.record_id, example.answer), []).append(encoded)
        return list(facts.values())

    @cached_property
    def _guards(self) -> list[_Encoded]:
        """The guard prompts with the base model's greedy answers."""
        prompts = [self.base.prompt(text) for text in GUARD_PROMPTS]
        with self.base.turn.take():
            completions = self.base.generate(prompts, Sampling(max_new_tokens=GUARD_TOKENS))
        return [
            _encoded(prompt, completion.ids)
            for prompt, completion in zip(prompts, completions, strict=True)
        ]

    def _batches(self, facts: list[list[_Encoded]], random: torch.Generator) -> list[_Batch]:
        """One epoch: every fact once in a random wording, guards in every batch."""
        chosen = [wordings[_draw(len(wordings), random)] for wordings in facts]
        order = torch.randperm(len(chosen), generator=random).tolist()
        batches = []
        for share in _even_shares(order, self._facts_per_batch(len(facts))):
            guards = [
                self._guards[_draw(len(self._guards), random)] for _ in range(self.train.guards)
            ]
            batches.append(self._collate([chosen[i] for i in share] + guards))
        return batches

    def _collate(self, examples: list[_Encoded]) -> _Batch:
        rows, columns, targets = [], [], []
        for row, example in enumerate(examples):
            for column in range(example.split - 1, len(example.ids) - 1):
                rows.append(row)
                columns.append(column)
                targets.append(example.ids[column + 1])
        places = (torch.tensor(x, device=self.base.device) for x in (rows, columns, targets))
        return _Batch(examples, *places)

    def _loss(self, batch: _Batch, adapter: Adapter) -> tuple[Tensor, list[bool]]:
        """Mean cross-entropy of the answer tokens, and which rows are mastered."""
        size = len(batch.examples)
        device, dtype = self.base.device, self.base.model.dtype
        stack = {name: factors.to(device, dtype) for name, factors in adapter.items()}
        gain = torch.full((size, self.lora.rank), self.lora.scale, device=device, dtype=dtype)
        with self.base.turn.take():  # a step at a time, so that questions are answered meanwhile
            past = self.base.past([example.prefix for example in batch.examples])
            with self.layers.place(stack, gain):
                hidden = self.base.extend(
                    past, [example.ids for example in batch.examples]
                )  # (b, t, h)
        logits = self.base.logits(hidden[batch.rows, batch.columns])  # (n, vocabulary)
        losses = cross_entropy(logits.float(), batch.targets, reduction="none")  # (n,)
        worst = torch.zeros(size, device=losses.device).scatter_reduce(
            0, batch.rows, losses.detach(), reduce="amax"
        )
        return losses.mean(), (worst <= -math.log(self.train.mastery)).tolist()


class _Descent:
    """The way of one adapter down its loss.

    Args:
        adapter: Its factors are changed in place.
        learning_rate: Peak of the schedule.
        total: At most this many steps.

    Attributes:
        steps: How many were taken.
        loss: Of the last one.
    """

    def __init__(self, adapter: Adapter, learning_rate: float, total: int) -> None:
        self.steps = 0
        self.loss = math.nan
        self._learning_rate = learning_rate
        self._parameters = [tensor for f in adapter.values() for tensor in (f.a, f.b)]
        self._optimizer = torch.optim.AdamW(self._parameters, lr=learning_rate, weight_decay=0.0)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, _cosine(total))

    def step(self, loss: Tensor) -> None:
        """Take one step.

        Raises:
            TrainingError: If the loss is not finite.
        """
        self.loss = loss.item()
        if not math.isfinite(self.loss):
            raise TrainingError(
                f"the loss became {self.loss} at step {self.steps} with learning rate "
                f"{self._learning_rate}",
                hint="use a smaller `learning_rate`",
            )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self._schedule.step()
        self.steps += 1


def _encoded(prompt: Prompt, answer: tuple[int, ...]) -> _Encoded:
    return _Encoded(prompt.prefix, prompt.question + answer, len(prompt.question))


def _even_shares(items: list[T], most: int) -> list[list[T]]:
    """Cut into the fewest parts of at most ``most``, none much smaller than another."""
    parts = math.ceil(len(items) / most)
    return [items[i::parts] for i in range(parts)]


def _draw(n: int, random: torch.Generator) -> int:
    return int(torch.randint(n, (1,), generator=random))


def _cosine(total: int) -> Callable[[int], float]:
    warmup = max(1, round(total * WARMUP))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

    return factor
