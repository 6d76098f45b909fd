"""Ways to let two modules answer: both on the same tokens, or each in its own row of a batch.

Two modules are trained on phone numbers separately. Then both act on the same tokens with
several weights, after several ways of training that might make them compatible; or each answers
in a row of its own, and the more confident answer or token is taken.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.report import report
from memkit.answering.join import put_together
from memkit.answering.prompt import PromptFormat
from memkit.evals.adapter_recall import SHORT_ANSWER
from memkit.evals.data.phone_book import Entry, drafts_of, entries_of
from memkit.evals.measurement import Measurement
from memkit.evals.unstored_records import unstored_records
from memkit.lora.serving.bank import AdapterBank, Mixture
from memkit.lora.serving.hooks import Adapter, AdapterLayers, linear_layers
from memkit.lora.serving.layout import Row
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.lora.training.trainer import Trainers
from memkit.lora.verify import same_answer
from memkit.models.language_model import TransformersModel
from memkit.models.scoring import Ids, Mix, answer_states, log_probabilities, no_adapters
from memkit.types import Completion, Example, Prompt

FACTS = 16  # of each module
WEIGHTS = ((1.0, 0.0), (0.7, 0.3), (0.5, 0.5), (1.0, 1.0))
NO_OP_TOKENS = 8
SHARES = (0.0, 0.5, 1.0)  # of a co-active module, one drawn for each epoch
BOTH = "What are the phone numbers of {} and {}?"

UPPER, LOWER = LoraSpec(layers=(0.5, 1.0)), LoraSpec(layers=(0.0, 0.5))
TRAIN = TrainSpec()


@dataclass(frozen=True)
class Pair:
    """Two modules and what they learned."""

    adapters: tuple[Adapter, Adapter]
    specs: tuple[LoraSpec, LoraSpec]


def main(*, data: Path | None, seeds: int, json_path: Path | None) -> int:
    """Train and compare, one pair of modules for each way and seed; returns the exit status.

    Args:
        data: Folder with the study's PhoneBook; None for invented entries.
        seeds: How often.
        json_path: Where to write the figures as JSON.
    """
    entries = entries_of(data, 3 * FACTS)
    lab = Lab(TransformersModel.load(), entries)
    values_by_case: dict[tuple[str, str], list[float]] = {}
    for seed in range(seeds):
        for key, value in lab.run(seed):
            values_by_case.setdefault(key, []).append(value)
            tqdm.write(f"{key[0]:<44}{key[1]:<22}{value:.2f}")
    results = [Measurement.of(*key, values, "share") for key, values in values_by_case.items()]
    report("mixtures", results, json_path=json_path)
    return 0


class Lab:
    """Trains pairs of modules on one base model, and asks them.

    Args:
        base: The base model.
        entries: A third of them for each of the two modules, and for one that stands in for
            all others.
    """

    def __init__(self, base: TransformersModel, entries: Sequence[Entry]) -> None:
        self._base = base
        self._layers = AdapterLayers(base.model)
        self._trainers = Trainers()
        self._entries = [entries[start : start + FACTS] for start in range(0, 3 * FACTS, FACTS)]

    def run(self, seed: int) -> Iterator[tuple[tuple[str, str], float]]:
        """Figures by case and metric, as they come."""
        train = replace(TRAIN, seed=seed)
        first, second, other = (self._fit(n, UPPER, train) for n in range(3))
        apart = Pair((first, second), (UPPER, UPPER))
        yield from self._mixed("trained apart", apart)
        yield from self._in_rows("trained apart", apart)
        yield from self._asked_for_both("trained apart", apart)
        halves = Pair((self._fit(0, LOWER, train), second), (LOWER, UPPER))
        yield from self._mixed("one in the lower, one in the upper half", halves)
        first, second = (self._fit(n, UPPER, train, idle=self._entries[2]) for n in range(2))
        yield from self._mixed("no-ops on others' questions", Pair((first, second), (UPPER, UPPER)))
        first, second = (self._fit(n, UPPER, train, beside=other) for n in range(2))
        beside = Pair((first, second), (UPPER, UPPER))
        yield from self._mixed("trained beside another module", beside)

    # -- training ----------------------------------------------------------------------------

    def _fit(
        self,
        part: int,
        lora: LoraSpec,
        train: TrainSpec,
        *,
        idle: Sequence[Entry] = (),
        beside: Adapter | None = None,
    ) -> Adapter:
        """Learn a part of the entries.

        Args:
            part: Which.
            lora: Shape of the module.
            train: How it is trained.
            idle: Entries to whose questions it learns to say what the base model says.
            beside: A module that is in place beside it, with a share drawn for each epoch.
        """
        examples = TemplateSynthesizer().examples(unstored_records(drafts_of(self._entries[part])))
        examples += self._no_ops(idle)
        trainer = self._trainers.get(self._base, self._layers, lora, train, PromptFormat())
        draw = random.Random(train.seed)
        with folding(trainer.base, beside or {}) as fold:
            trained = trainer.fit(examples, lambda _: fold(draw.choice(SHARES) * lora.scale))
        return trained.adapter

    def _no_ops(self, entries: Sequence[Entry]) -> list[Example]:
        prompts = [self._base.prompt(entry.question) for entry in entries]
        if not prompts:
            return []
        brief = replace(SHORT_ANSWER, max_new_tokens=NO_OP_TOKENS)
        completions = self._base.generate(prompts, brief)
        return [
            Example(entry.question, completion.text, record_id=f"no-op {number}")
            for number, (entry, completion) in enumerate(zip(entries, completions, strict=True))
        ]

    # -- asking ------------------------------------------------------------------------------

    def _bank(self, pair: Pair) -> AdapterBank:
        rows = {
            name: Row.of(adapter, spec.scale)
            for name, adapter, spec in zip("ab", pair.adapters, pair.specs, strict=True)
        }
        base = self._base
        return AdapterBank(
            self._layers,
            rows.__getitem__,
            bound=base.bounds.adapters,
            device=base.device,
            dtype=base.model.dtype,
        )

    def _mixed(self, way: str, pair: Pair) -> Iterator[tuple[tuple[str, str], float]]:
        """Both in place at once, for each one's questions."""
        bank = self._bank(pair)
        for a, b in WEIGHTS:
            for number, name in enumerate(("the first's", "the second's")):
                entries = self._entries[number]
                mixture = {key: share for key, share in (("a", a), ("b", b)) if share}
                prompts = [self._base.prompt(entry.question) for entry in entries]
                mix = bank.mix([mixture] * len(prompts))
                completions = self._base.generate(prompts, SHORT_ANSWER, adapters=mix)
                yield (
                    (f"{way}, ({a:g}, {b:g})", name),
                    _right(entries, [c.text for c in completions]),
                )

    def _in_rows(self, way: str, pair: Pair) -> Iterator[tuple[tuple[str, str], float]]:
        """Each answers every question in a row of its own; the surer one, or token, is taken."""
        bank = self._bank(pair)
        entries = [*self._entries[0], *self._entries[1]]
        questions = [entry.question for entry in entries]
        completions = {key: self._complete(bank, questions, key) for key in "ab"}
        for measure, sure in self._sureness(bank, questions, completions).items():
            texts = [
                completions["a" if sure["a"][n] >= sure["b"][n] else "b"][n].text
                for n in range(len(entries))
            ]
            yield (f"{way}, rows, surest by {measure}", "both's"), _right(entries, texts)
        texts = self._by_token(bank, questions)
        yield (f"{way}, the surer row gives each token", "both's"), _right(entries, texts)

    def _asked_for_both(self, way: str, pair: Pair) -> Iterator[tuple[tuple[str, str], float]]:
        """Questions that need a fact of each."""
        bank = self._bank(pair)
        pairs = list(zip(*self._entries[:2], strict=True))
        questions = [BOTH.format(first.name, second.name) for first, second in pairs]

        def share(texts: Sequence[str]) -> float:
            hits = [
                first.number in text and second.number in text
                for (first, second), text in zip(pairs, texts, strict=True)
            ]
            return sum(hits) / len(hits)

        for mixture in ({"a": 1.0}, {"a": 0.5, "b": 0.5}, {"a": 1.0, "b": 1.0}):
            prompts = [self._base.prompt(question) for question in questions]
            completions = self._base.generate(
                prompts,
                replace(SHORT_ANSWER, max_new_tokens=48),
                adapters=bank.mix([mixture] * FACTS),
            )
            weights = ", ".join(f"{mixture.get(key, 0):g}" for key in "ab")
            yield (
                (f"{way}, ({weights})", "two at once"),
                share([completion.text for completion in completions]),
            )
        yield (f"{way}, by token", "two at once"), share(self._by_token(bank, questions, 48))
        apart = [
            self._complete(bank, [e.question for e in self._entries[n]], "ab"[n]) for n in (0, 1)
        ]
        texts = [
            put_together([first.question, second.question], [a.text, b.text])
            for (first, second), a, b in zip(pairs, *apart, strict=True)
        ]
        yield (f"{way}, a row for each part", "two at once"), share(texts)

    def _complete(self, bank: AdapterBank, questions: Sequence[str], key: str) -> list[Completion]:
        prompts = [self._base.prompt(question) for question in questions]
        mixtures: list[Mixture] = [{key: 1.0}] * len(prompts)
        return self._base.generate(prompts, SHORT_ANSWER, adapters=bank.mix(mixtures))

    def _sureness(
        self,
        bank: AdapterBank,
        questions: Sequence[str],
        completions: Mapping[str, list[Completion]],
    ) -> dict[str, dict[str, list[float]]]:
        """How sure each module is of each of its answers, by several measures, in nats."""
        prompts = [self._base.prompt(question) for question in questions]
        sureness: dict[str, dict[str, list[float]]] = {"mean": {}, "least": {}, "lift": {}}
        for key, of_key in completions.items():
            ids = [completion.ids for completion in of_key]
            flat = self._states(prompts, ids, partial(_alone, bank, key, len(prompts)))
            total = log_probabilities(self._base, flat, ids)
            bare = self._states(prompts, ids, no_adapters)
            untouched = log_probabilities(self._base, bare, ids)
            sureness["mean"][key] = [t / len(i) for t, i in zip(total, ids, strict=True)]
            sureness["least"][key] = [
                min(log_probabilities(self._base, list(s[:, None]), [(t,) for t in i]))
                for s, i in zip(flat, ids, strict=True)
            ]
            sureness["lift"][key] = [t - u for t, u in zip(total, untouched, strict=True)]
        return sureness

    def _states(self, prompts: Sequence[Prompt], ids: Sequence[Ids], mix: Mix) -> list[Tensor]:
        return [one for (one,) in answer_states(self._base, prompts, [[i] for i in ids], mix)]

    @torch.no_grad()
    def _by_token(
        self,
        bank: AdapterBank,
        questions: Sequence[str],
        longest: int = SHORT_ANSWER.max_new_tokens,
    ) -> list[str]:
        """Two rows for each question; of each next token the surer row's is given to both."""
        base = self._base
        prompts = [base.prompt(question) for question in questions]
        past = base.past([prompt.prefix for prompt in prompts for _ in "ab"])
        token_ids: list[list[int]] = [[] for _ in prompts]
        with bank.mix([{key: 1.0} for _ in prompts for key in "ab"]):
            fed: list[Sequence[int]] = [prompt.question for prompt in prompts for _ in "ab"]
            for _ in range(longest):
                hidden = base.extend(past, fed)
                ends = torch.stack([hidden[row, len(ids) - 1] for row, ids in enumerate(fed)])
                chances = base.logits(ends).softmax(-1).view(len(prompts), 2, -1)
                best = chances.amax(dim=1).argmax(dim=-1).tolist()
                for row, token in enumerate(best):
                    if not token_ids[row] or token_ids[row][-1] not in base.stop_ids:
                        token_ids[row].append(token)
                fed = [[token] for token in best for _ in "ab"]
        return [
            base.decode([t for t in ids if t not in base.stop_ids]).strip() for ids in token_ids
        ]


def _alone(bank: AdapterBank, key: str, rows: int, _: int) -> AbstractContextManager[object]:
    """One module in all rows, as a `memkit.models.scoring.Mix`."""
    return bank.mix([{key: 1.0}] * rows)


@contextmanager
def folding(base: TransformersModel, adapter: Adapter) -> Iterator[Callable[[float], None]]:
    """Lets an adapter be added to a model's weights, in changing shares; restores them."""
    layers = linear_layers(base.model)
    weights = {name: layers[name].get_parameter("weight").detach() for name in adapter}  # (out, in)
    before = {name: weight.clone() for name, weight in weights.items()}

    def fold(share: float) -> None:
        for name, factors in adapter.items():
            delta = share * (factors.b @ factors.a)
            weights[name].copy_(before[name] + delta.to(before[name]))

    try:
        yield fold
    finally:
        fold(0.0)
        base.forget_prefixes()  # some were read with it in place


def _right(entries: Sequence[Entry], texts: Sequence[str]) -> float:
    hits = [same_answer(e.number, text) for e, text in zip(entries, texts, strict=True)]
    return sum(hits) / len(hits)
