"""Time to recall: 48 phone numbers learned by heart, beside a plain PEFT loop and the study's.

All work on the same facts, on one thread, in CPU seconds. Training ends when every fact was
mastered, that is, when every token of every answer had a probability of more than a half. The
study's recipe has a fixed number of steps, so that some of them say how long all would take.
"""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from tqdm import tqdm

from memkit.evals.asking import bank_of, right
from memkit.evals.phonebook import OTHER_WORDINGS, Entry, drafts_of, invented, read
from memkit.evals.unstored import unstored
from memkit.lora.descent import cosine
from memkit.lora.layers import AdapterLayers
from memkit.lora.spec import FAST, QUALITY, LoraSpec, TrainSpec
from memkit.lora.supervision import TemplateSynthesizer
from memkit.lora.trainers import Trainers
from memkit.models.base import BaseModel
from memkit.protocols import Example
from memkit.report import Measurement, show, write_report

FACTS = 48
STUDY_STEPS, STUDY_MEASURED, STUDY_BATCH = 1500, 50, 8

TIERS = {"quality": QUALITY, "fast": FAST}
# AdamW's best for PEFT of what was tried: at 3e-3 over 20 epochs it learned 41 of 48 numbers.
PLAIN = TrainSpec(learning_rate=2e-3, epochs=24)


def main(*, data: Path | None, seeds: int, json_path: Path | None) -> int:
    """Measure and print; returns the exit status.

    Args:
        data: Folder with the study's PhoneBook; None for invented entries.
        seeds: How often memkit trains; PEFT trains once, and slowly.
        json_path: Where to write the figures as JSON.
    """
    torch.set_num_threads(1)
    entries = invented(FACTS) if data is None else read(data, FACTS)
    base = BaseModel.load(device="cpu", dtype=torch.float32)
    peer = Peer(base, entries)
    bench = Bench(base, entries)
    runs = {name: [bench.run(*tier, seed) for seed in range(seeds)] for name, tier in TIERS.items()}
    plain = peer.plain(PLAIN)
    step = peer.study_step()
    results = [m for name, outcomes in runs.items() for m in _measurements(name, outcomes)]
    results += [
        Measurement.of("plain PEFT loop", "time to recall", [plain.seconds], "CPU s"),
        Measurement.of("plain PEFT loop", "steps", [plain.steps], "steps"),
        Measurement.of("plain PEFT loop", "mastered", [plain.mastered], "share"),
        Measurement.of("the study's recipe", "step", step, "CPU s"),
        Measurement.of(
            "the study's recipe", "extrapolated", [s * STUDY_STEPS for s in step], "CPU s"
        ),
    ]
    ratios = _ratios(runs["fast"], plain.seconds, median(step))
    slower = _ratios(runs["quality"], plain.seconds, median(step))
    ratios |= {f"{key}_quality": value for key, value in slower.items()}
    show(results, ratios)
    if json_path is not None:
        write_report(json_path, "train", results, ratios)
    return 0


@dataclass(frozen=True)
class Outcome:
    """One run of memkit; shares are of exact answers."""

    seconds: float
    steps: int
    exact: float
    reworded: float
    other: float


@dataclass(frozen=True)
class Plain:
    """One run of PEFT."""

    seconds: float
    steps: int
    mastered: float


class Bench:
    """Trains with memkit, and asks the model that serves."""

    def __init__(self, base: BaseModel, entries: Sequence[Entry]) -> None:
        self._base = base
        self._layers = AdapterLayers(base.model)
        self._entries = entries
        self._examples = TemplateSynthesizer().examples(unstored(drafts_of(entries)))

    def run(self, lora: LoraSpec, train: TrainSpec, seed: int) -> Outcome:
        """Train one adapter on all entries, from nothing: guards and copies are counted in."""
        started = time.process_time()
        trainer = Trainers().get(self._base, self._layers, lora, replace(train, seed=seed))
        with tqdm(desc="memkit", unit="epoch", disable=None) as bar:
            trained = trainer.fit(self._examples, _follow(bar))
        seconds = time.process_time() - started
        held_out = [(e.question, e.answer) for e in self._examples if e.held_out]
        other = [(w.format(name=e.name), e.number) for e in self._entries for w in OTHER_WORDINGS]
        own = [(entry.question, entry.number) for entry in self._entries]
        bank = bank_of(self._base, self._layers, trained.adapter, lora)
        exact, reworded, others = (
            right(self._base, asked, bank) / len(asked) for asked in (own, held_out, other)
        )
        return Outcome(seconds, trained.steps, exact, reworded, others)


class Peer:
    """Plain loops over PEFT's model: whole conversations, whole logits, loss on every token."""

    def __init__(self, base: BaseModel, entries: Sequence[Entry]) -> None:
        self._base = base
        self._model = copy.deepcopy(base.model)  # before memkit's hooks are on it
        self._examples = [Example(entry.question, entry.number) for entry in entries]

    def plain(self, train: TrainSpec) -> Plain:
        """Train until all is mastered, with memkit's rank, batch and kind of schedule."""
        size = train.batch_size
        steps_an_epoch = math.ceil(len(self._examples) / size)
        total = train.epochs * steps_an_epoch
        model = self._wrapped(LoraSpec(), dropout=0.0)
        loop = _Loop(model, train.learning_rate, lambda step: cosine(step / total))
        order = torch.Generator().manual_seed(train.seed)
        seconds, mastered = 0.0, 0.0
        with tqdm(desc="PEFT", unit="epoch", disable=None) as bar:
            for _ in range(train.epochs):
                started, learned = time.process_time(), 0
                places = torch.randperm(len(self._examples), generator=order).tolist()
                for start in range(0, len(places), size):
                    part = [self._examples[i] for i in places[start : start + size]]
                    ids, mask, answers = self._tokens(part)
                    logits = loop.step(ids, mask)
                    learned += _mastered(logits, ids, answers, train.mastery)
                seconds += time.process_time() - started
                mastered = learned / len(self._examples)
                _follow(bar)(mastered)
                if mastered == 1.0:
                    break
        return Plain(seconds, loop.steps, mastered)

    def study_step(self) -> list[float]:
        """CPU seconds of each step of the study's recipe: alpha = rank, dropout 0.1, rate 5e-5."""
        loop = _Loop(self._wrapped(LoraSpec(alpha=8.0), dropout=0.1), 5e-5, lambda _: 1.0)
        seconds = []
        for number in tqdm(range(STUDY_MEASURED), desc="study", disable=None):
            start = number * STUDY_BATCH % len(self._examples)
            ids, mask, _ = self._tokens(self._examples[start : start + STUDY_BATCH])
            started = time.process_time()
            loop.step(ids, mask)
            seconds.append(time.process_time() - started)
        return seconds

    def _wrapped(self, lora: LoraSpec, *, dropout: float) -> Any:  # noqa: ANN401 - PEFT's model
        config = LoraConfig(
            r=lora.rank,
            lora_alpha=lora.scale * lora.rank,  # type: ignore[arg-type]
            lora_dropout=dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of PEFT about transformers
            return get_peft_model(copy.deepcopy(self._model), config).train()

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


class _Loop:
    """AdamW on a PEFT model, as its documentation has it."""

    def __init__(self, model: Any, rate: float, schedule: Callable[[int], float]) -> None:  # noqa: ANN401
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


def _follow(bar: Any) -> Callable[[float], None]:  # noqa: ANN401 - tqdm
    def show(mastered: float) -> None:
        bar.set_postfix(mastered=f"{mastered:.0%}", refresh=False)
        bar.update()

    return show


def _ratios(outcomes: Sequence[Outcome], plain: float, study_step: float) -> dict[str, float]:
    """One tier beside the others; ``plain`` and ``study_step`` in CPU seconds."""
    seconds = median(outcome.seconds for outcome in outcomes)
    return {
        "train_vs_peft": plain / seconds,
        "train_vs_study": STUDY_STEPS * study_step / seconds,
        "exact_match": median(outcome.exact for outcome in outcomes),
        "paraphrase": median(outcome.reworded for outcome in outcomes),
    }


def _measurements(name: str, outcomes: Sequence[Outcome]) -> list[Measurement]:
    return [
        Measurement.of(name, "time to recall", [one.seconds for one in outcomes], "CPU s"),
        Measurement.of(name, "steps", [one.steps for one in outcomes], "steps"),
        Measurement.of(name, "exact", [one.exact for one in outcomes], "share"),
        Measurement.of(name, "held-out wordings", [one.reworded for one in outcomes], "share"),
        Measurement.of(name, "other words", [one.other for one in outcomes], "share"),
    ]
