"""Plain training loops over PEFT's model, to time memkit beside.

Whole conversations in the default template, whole logits, loss on every token.
"""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from tqdm import tqdm

from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.training.curriculum import draw
from memkit.lora.training.optimizer import cosine
from memkit.models.language_model import TransformersModel
from memkit.types import Example

STUDY_STEPS, STUDY_MEASURED, STUDY_BATCH = 1500, 50, 8

Wordings = Sequence[Example]  # of one fact


class PeftLoop:
    """One adapter of PEFT's, and a plain loop that trains it.

    Args:
        base: Without memkit's hooks; it is copied.
        lora: The adapter's shape.
        dropout: Of its input.
    """

    def __init__(self, base: TransformersModel, lora: LoraSpec, *, dropout: float = 0.0) -> None:
        config = LoraConfig(
            r=lora.rank,
            lora_alpha=lora.scale * lora.rank,  # type: ignore[arg-type]
            lora_dropout=dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        torch.manual_seed(0)
        self._base = base
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of PEFT about transformers
            self._model: Any = get_peft_model(copy.deepcopy(base.model), config)

    def fit(self, facts: Sequence[Wordings], train: TrainSpec) -> tuple[int, float]:
        """Train until all is mastered, with memkit's kind of schedule.

        Args:
            facts: Each epoch visits every fact in one of its wordings.
            train: Batch, rate and length.

        Returns:
            The steps taken, and the share of the facts mastered in the last epoch.
        """
        random = torch.Generator().manual_seed(train.seed)
        total = train.visits() * math.ceil(len(facts) / train.batch_size)
        descent = _Descent(self._model.train(), train.learning_rate, lambda n: cosine(n / total))
        mastered = 0
        with tqdm(desc="PEFT", unit="epoch", total=train.visits(), disable=None) as bar:
            while mastered < len(facts) and descent.steps < total:
                mastered = 0
                order = torch.randperm(len(facts), generator=random)
                for places in torch.split(order, train.batch_size):
                    drawn = [facts[i][draw(len(facts[i]), random)] for i in places.tolist()]
                    ids, mask, answers = self._tokens(drawn)
                    logits = descent.step(ids, mask)
                    mastered += _mastered(logits, ids, answers, train.mastery)
                bar.set_postfix(mastered=f"{mastered / len(facts):.0%}", refresh=False)
                bar.update()
        return descent.steps, mastered / len(facts)

    def study_steps(self, examples: Sequence[Example]) -> list[float]:
        """CPU seconds of the first steps of the study's recipe: batches in order, rate 5e-5."""
        descent = _Descent(self._model.train(), 5e-5, lambda _: 1.0)
        seconds = []
        for number in tqdm(range(STUDY_MEASURED), desc="study", disable=None):
            start = number * STUDY_BATCH % len(examples)
            ids, mask, _ = self._tokens(examples[start : start + STUDY_BATCH])
            started = time.process_time()
            descent.step(ids, mask)
            seconds.append(time.process_time() - started)
        return seconds

    def adapted(self) -> TransformersModel:
        """The model with the adapter on, prefix included, as PEFT's users ask it."""
        inner = self._model.get_base_model()
        return TransformersModel(inner, self._base.tokenizer, name="PEFT")

    def _tokens(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor, Tensor]:
        """Ids, mask, and where the answers are; each of shape (b, t)."""
        rows, starts = [], []
        for example in examples:
            prompt = self._base.prompt(example.question)
            starts.append(len(prompt))
            answer = self._base.answer_ids(example.answer)
            rows.append(torch.tensor([*prompt.prefix, *prompt.question, *answer]))
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        columns = torch.arange(ids.shape[1])
        mask = columns < torch.tensor([len(row) for row in rows])[:, None]
        answers = mask & (columns >= torch.tensor(starts)[:, None])
        return ids, mask, answers


class _Descent:
    """AdamW on a PEFT model, as its documentation has it."""

    def __init__(self, model: Any, rate: float, schedule: Callable[[int], float]) -> None:
        self._model = model
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(self._parameters, lr=rate, weight_decay=0.0)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, schedule)
        self.steps = 0

    def step(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Take one step; returns the logits, shape (b, t, vocabulary)."""
        output = self._model(
            input_ids=ids, attention_mask=mask.long(), labels=ids.masked_fill(~mask, -100)
        )
        self._optimizer.zero_grad()
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self._schedule.step()
        self.steps += 1
        logits: Tensor = output.logits.detach()
        return logits


def _mastered(logits: Tensor, ids: Tensor, answers: Tensor, bar: float) -> int:
    """How many rows give every token of their answer a probability above the bar."""
    chances = logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    return int(((chances > math.log(bar)) | ~answers[:, 1:]).all(1).sum())
