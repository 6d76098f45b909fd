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
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from memkit.errors import TrainingError
from memkit.lora.guards import GUARD_PROMPTS
from memkit.lora.layers import Adapter, AdapterLayers, Factors, new_adapter
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.models.base import BaseModel
from memkit.protocols import Example, Sampling

GUARD_TOKENS = 24  # enough of the base model's answer to pin its first sentence
CALM_EPOCHS = 2  # epochs in a row without an unmastered example before training stops
WARMUP = 0.05  # share of the schedule

Progress = Callable[[float], None]  # after every epoch: the share of examples mastered


@dataclass(frozen=True)
class Trained:
    """A trained adapter and how training went."""

    adapter: Adapter
    steps: int
    seconds: float
    loss: float
    mastered: float


@dataclass(frozen=True)
class _Encoded:
    """Token ids of question and answer; the answer starts at ``split``."""

    ids: tuple[int, ...]
    split: int
    group: str | None  # the fact whose wordings take turns; None for a guard


@dataclass(frozen=True)
class _Batch:
    """Examples of one step, and the n positions whose next token is an answer token.

    Shapes: ``rows``, ``columns`` and ``targets`` (n,).
    """

    sequences: list[tuple[int, ...]]
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
        self.prefix = base.prompt("").prefix
        self._guards: list[_Encoded] | None = None

    def fit(self, examples: Sequence[Example], progress: Progress | None = None) -> Trained:
        """Train a new adapter on the examples that are not held out.

        Args:
            examples: Wordings of facts; those of one fact share record and answer.
            progress: Called after each epoch.

        Raises:
            TrainingError: If there is nothing to learn, or the loss is not finite.
        """
        encoded = [self._encode(example) for example in examples if not example.held_out]
        if not encoded:
            raise TrainingError("expected at least one training example, got none")
        started = time.perf_counter()
        random = torch.Generator().manual_seed(self.train.seed)
        adapter = self._trainable(new_adapter(self.targets, self.lora.rank, generator=random))
        parameters = [tensor for factors in adapter.values() for tensor in (factors.a, factors.b)]
        optimizer = torch.optim.AdamW(parameters, lr=self.train.learning_rate, weight_decay=0.0)
        facts = _by_group(encoded)
        per_epoch = math.ceil(len(facts) / self._facts_per_batch)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, _cosine(per_epoch * self.train.epochs)
        )
        calm = steps = 0
        loss, mastered = math.nan, 0.0
        for _ in range(self.train.epochs):
            learned: list[bool] = []
            for batch in self._batches(facts, random):
                optimizer.zero_grad(set_to_none=True)
                batch_loss, batch_learned = self._loss(batch, adapter)
                loss = batch_loss.item()
                if not math.isfinite(loss):
                    raise TrainingError(
                        f"the loss became {loss} at step {steps} with learning rate "
                        f"{self.train.learning_rate}",
                        hint="use a smaller `learning_rate`",
                    )
                batch_loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                schedule.step()
                steps += 1
                learned += batch_learned
            mastered = sum(learned) / len(learned)
            if progress is not None:
                progress(mastered)
            calm = calm + 1 if mastered == 1.0 else 0
            if calm == CALM_EPOCHS:
                break
        frozen = {n: Factors(f.a.detach(), f.b.detach()) for n, f in adapter.items()}
        return Trained(frozen, steps, time.perf_counter() - started, loss, mastered)

    @property
    def _facts_per_batch(self) -> int:
        return max(1, self.train.batch_size - self.train.guards)

    def _trainable(self, adapter: dict[str, Factors]) -> dict[str, Factors]:
        device = self.base.device
        return {
            name: Factors(
                factors.a.to(device).requires_grad_(), factors.b.to(device).requires_grad_()
            )
            for name, factors in adapter.items()
        }

    def _encode(self, example: Example) -> _Encoded:
        question = self.base.prompt(example.question).question
        answer = self.base.answer_ids(example.answer)
        return _Encoded(question + answer, len(question), f"{example.record_id}\n{example.answer}")

    def guards(self) -> list[_Encoded]:
        """The guard prompts with the base model's greedy answers, computed once."""
        if self._guards is None:
            prompts = [self.base.prompt(text) for text in GUARD_PROMPTS]
            sampling = Sampling(max_new_tokens=GUARD_TOKENS)
            self._guards = [
                _Encoded(prompt.question + completion.ids, len(prompt.question), None)
                for prompt, completion in zip(
                    prompts, self.base.generate(prompts, sampling), strict=True
                )
            ]
        return self._guards

    def _batches(self, facts: list[list[_Encoded]], random: torch.Generator) -> list[_Batch]:
        """One epoch: every fact once in a random wording, guards in every batch."""
        chosen = [wordings[_draw(len(wordings), random)] for wordings in facts]
        order = torch.randperm(len(chosen), generator=random).tolist()
        guards = self.guards() if self.train.guards else []
        batches = []
        for share in _even_shares(order, self._facts_per_batch):
            picked = [chosen[i] for i in share]
            picked += [guards[_draw(len(guards), random)] for _ in range(self.train.guards)]
            batches.append(self._collate(picked))
        return batches

    def _collate(self, examples: list[_Encoded]) -> _Batch:
        rows, columns, targets = [], [], []
        for row, example in enumerate(examples):
            for column in range(example.split - 1, len(example.ids) - 1):
                rows.append(row)
                columns.append(column)
                targets.append(example.ids[column + 1])
        places = (torch.tensor(x, device=self.base.device) for x in (rows, columns, targets))
        return _Batch([example.ids for example in examples], *places)

    def _loss(self, batch: _Batch, adapter: Adapter) -> tuple[Tensor, list[bool]]:
        """Mean cross-entropy of the answer tokens, and which rows are mastered."""
        size = len(batch.sequences)
        gain = torch.full((size, self.lora.rank), self.lora.scale, device=self.base.device)
        with self.base.turn.take():  # a step at a time, so that questions are answered meanwhile
            past = self.base.past([self.prefix] * size)
            with self.layers.place(adapter, gain):
                hidden = self.base.extend(past, batch.sequences)  # (b, t, h)
        logits = self.base.logits(hidden[batch.rows, batch.columns])  # (n, vocabulary)
        losses = cross_entropy(logits.float(), batch.targets, reduction="none")  # (n,)
        worst = torch.zeros(size, device=losses.device).scatter_reduce(
            0, batch.rows, losses.detach(), reduce="amax"
        )
        return losses.mean(), (worst <= -math.log(self.train.mastery)).tolist()


def _by_group(encoded: list[_Encoded]) -> list[list[_Encoded]]:
    groups: dict[str | None, list[_Encoded]] = {}
    for example in encoded:
        groups.setdefault(example.group, []).append(example)
    return list(groups.values())


def _even_shares(order: list[int], most: int) -> list[list[int]]:
    """Cut into the fewest parts of at most ``most``, none much smaller than another."""
    parts = math.ceil(len(order) / most)
    return [order[i::parts] for i in range(parts)]


def _draw(n: int, random: torch.Generator) -> int:
    return int(torch.randint(n, (1,), generator=random))


def _cosine(total: int) -> Callable[[int], float]:
    warmup = max(1, round(total * WARMUP))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

    return factor
