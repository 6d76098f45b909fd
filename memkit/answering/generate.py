"""Answers from the local base model: prompt, adapters in place, text out.

A question that needs one fact is one row of a batch. One that needs several is a row for each:
every module is asked its part of the question and nothing else, so that no adapter disturbs
another (docs/decisions/0008-mixing.md), and what the rows say is put together again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from memkit.answering.held import Asked, calls_in, prompt_of
from memkit.answering.join import joints, put_together, without_end
from memkit.answering.prompt import PromptFormat
from memkit.answering.reading import reading_prompt
from memkit.protocols import LanguageModel
from memkit.text.quoting import on_one_line
from memkit.types import (
    GREEDY,
    Answer,
    Claim,
    Combine,
    Completion,
    Constraint,
    Context,
    FinishReason,
    Part,
    Prompt,
    Recall,
    Route,
    Sampling,
)
from memkit.types.timings import step
from memkit.types.validate import check_results

CANDIDATES = 3  # modules that "confident" asks


class Adapters(Protocol):
    """Puts routed adapters in place in a language model; see `memkit.lora.lora_backend`."""

    def adapters(self, routes: Sequence[Route]) -> AbstractContextManager[None]:
        """What puts the adapters of one route per row in place."""
        ...

    def sureness(
        self, prompts: Sequence[Prompt], answers: Sequence[tuple[int, ...]], routes: Sequence[Route]
    ) -> list[float]:
        """Mean log-probability of the tokens of one answer per prompt and route, in nats."""
        ...


class AnswerStream:
    """Pieces of an answer; `answer` is there once the last has come."""

    def __init__(self, pieces: Generator[str, None, Answer]) -> None:
        self._pieces = pieces
        self.answer: Answer | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            return next(self._pieces)
        except StopIteration as end:
            self.answer = self.answer or end.value
            raise

    def close(self) -> None:
        """Stop early and let go of the model. Repeating it changes nothing."""
        self._pieces.close()


@dataclass(frozen=True)
class Row:
    """One row of a batch: the user's question, or the part of it that a module is asked for."""

    question: str
    route: Route
    prompt: Prompt
    part: Part | None = None


class Answerer:
    """Turns recalled evidence into answers of the base model.

    Args:
        base: The language model.
        adapters: Puts the routed adapters in place; None where there are none, and every
            question is one row of the language model itself.
        prompt_format: How evidence is put before a question.
        examples: Whether the model, where no adapter acts, is shown how to read evidence.
    """

    def __init__(
        self,
        base: LanguageModel,
        adapters: Adapters | None,
        prompt_format: PromptFormat,
        *,
        examples: bool = False,
    ) -> None:
        self._base = base
        self._modules = adapters
        self._format = prompt_format
        self._examples = examples

    def answer(
        self,
        recalls: Sequence[Recall],
        sampling: Sampling = GREEDY,
        *,
        combine: Combine = "rows",
        contexts: Sequence[Context | None] | None = None,
        constraints: Sequence[Constraint | None] | None = None,
    ) -> list[Answer]:
        """One answer per recall, computed as one batch.

        Args:
            recalls: What was found for each question.
            sampling: How tokens are chosen.
            combine: How several modules answer. "rows" asks each its part of the question; of
                parts with the same question the answer counts that its module is surest of.
                "mix" puts all in place at once, with the route's weights. "confident" asks the
                question of the modules of the nearest facts, if the route has but one part.
            contexts: For each question what was said before it; None if nothing was.
            constraints: For each question what its answer is held to; None if it is free.

        Raises:
            UnsupportedOperationError: If an answer is to be held to something, and the language
                model cannot be.
            IncompleteAnswerError: If an answer is not whole when its tokens run out.
        """
        free = [None] * len(recalls)
        rows = [
            self._rows(*asked, combine)
            for asked in zip(recalls, contexts or free, constraints or free, strict=True)
        ]
        batch = [row for of_recall in rows for row in of_recall]
        adapters = self._adapters([row.route for row in batch])
        completed = self._generated([row.prompt for row in batch], sampling, adapters)
        part = f"`generate` of the language model {self._base.name!r}"
        check_results(part, completed, Completion, "a list of `Completion`")
        completions = iter(completed)
        return [
            self._composed(recall, of_recall, list(islice(completions, len(of_recall))), sampling)
            for recall, of_recall in zip(recalls, rows, strict=True)
        ]

    def recite(self, parts: Sequence[Part]) -> list[tuple[Prompt, Completion]]:
        """What modules say when they are asked for facts in the words that they know.

        One batch: a row for each part, with its module alone in place and no evidence.
        """
        prompts = [self._prompt(Asked(_asked(part, "")), adapted=True) for part in parts]
        adapters = self._adapters([Route({part.module: 1.0}) for part in parts])
        completions = self._generated(prompts, GREEDY, adapters)
        return list(zip(prompts, completions, strict=True))

    def stream(
        self,
        recall: Recall,
        sampling: Sampling = GREEDY,
        *,
        combine: Combine = "rows",
        context: Context | None = None,
        constraint: Constraint | None = None,
    ) -> Generator[str, None, Answer]:
        """The same answer, piece by piece; its parts one after the other."""
        rows = self._rows(recall, context, constraint, combine)
        # One is chosen once all have answered; and a call of a tool is no text to be read.
        calls = constraint is not None and bool(constraint.tools)
        if calls or len({row.question for row in rows}) < len(rows):
            (answer,) = self.answer(
                [recall],
                sampling,
                combine=combine,
                contexts=[context],
                constraints=[constraint],
            )
            if answer.text or not answer.calls:
                yield answer.text
            return answer
        completions: list[Completion] = []
        with nullcontext() if self._shares_passes else self._base.hold():
            for row, joint in zip(rows, joints([row.question for row in rows]), strict=True):
                if joint:
                    yield joint
                text = ""
                adapters = self._adapters([row.route])
                with closing(self._base.stream(row.prompt, sampling, adapters=adapters)) as stream:
                    pieces, is_last = _Pieces(stream), row is rows[-1]
                    for piece in pieces if is_last else without_end(pieces):
                        text += piece
                        yield piece
                completed = pieces.completion or Completion(text, (0,) * self._base.count(text))
                completions.append(replace(completed, text=text))
        return _answer(recall, rows, completions, sampling)

    # -- rows ------------------------------------------------------------------------------

    def _rows(
        self,
        recall: Recall,
        context: Context | None,
        constraint: Constraint | None,
        combine: Combine,
    ) -> list[Row]:
        """What is asked of which modules to answer one question."""
        route, parts = recall.route, recall.route.parts
        asked: Sequence[Part | None] = [None]  # all modules of the route at once
        # Several answers could not be put together as one JSON value.
        several = constraint is not None and len({part.question for part in parts}) > 1
        if combine != "mix" and len(parts) > 1 and not several:
            asked = parts
        elif combine == "confident":
            asked = candidates(route) or asked
        before = context or Context()
        rows = []
        for part in asked:
            text = recall.query if part is None else _asked(part, recall.query)
            mix = route if part is None else replace(route, weights={part.module: 1.0})
            asked_so = Asked(text, recall.text, before, constraint)
            rows.append(Row(text, mix, self._prompt(asked_so, adapted=bool(mix)), part))
        return rows

    def _prompt(self, asked: Asked, *, adapted: bool) -> Prompt:
        # Where an answer has a form of its own, examples of answers in words would mislead.
        if self._examples and asked.evidence and not adapted and asked.constraint is None:
            return reading_prompt(
                self._base, self._format, asked.evidence, asked.question, asked.before
            )
        return prompt_of(self._base, self._format, asked)

    def _adapters(self, routes: Sequence[Route]) -> AbstractContextManager[None] | None:
        return self._modules.adapters(routes) if self._modules is not None and any(routes) else None

    def _generated(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        adapters: AbstractContextManager[None] | None,
    ) -> list[Completion]:
        if self._shares_passes:  # and measures what each caller has of them
            return self._base.generate(prompts, sampling, adapters=adapters)
        with self._base.hold(), step("decode"):
            return self._base.generate(prompts, sampling, adapters=adapters)

    @property
    def _shares_passes(self) -> bool:
        """Whether threads need not hold the model, as it answers together what they ask."""
        return bool(getattr(self._base, "shares_passes", False))

    def _composed(
        self, recall: Recall, rows: list[Row], completions: list[Completion], sampling: Sampling
    ) -> Answer:
        """One answer; of the rows with the same question the one that is surest of its own."""
        tokens = sum(completion.tokens for completion in completions)
        rivals: dict[str, list[int]] = {}
        for number, row in enumerate(rows):
            rivals.setdefault(row.question, []).append(number)
        if self._modules is not None and len(rivals) < len(rows):
            sureness = self._modules.sureness(
                [row.prompt for row in rows],
                [completion.ids for completion in completions],
                [row.route for row in rows],
            )
            surest = [max(numbers, key=sureness.__getitem__) for numbers in rivals.values()]
            rows, completions = [rows[i] for i in surest], [completions[i] for i in surest]
            recall = replace(recall, route=_narrowed(recall.route, rows))
        read = [
            calls_in(self._base, row.prompt, completion)
            for row, completion in zip(rows, completions, strict=True)
        ]
        said = [replace(each, text=text) for each, (text, _) in zip(completions, read, strict=True)]
        answer = replace(_answer(recall, rows, said, sampling), completion_tokens=tokens)
        calls = tuple(call for _, called in read for call in called)
        if not calls:
            return answer
        return replace(answer, calls=calls, claims=answer.claims if answer.text else ())


def _asked(part: Part, query: str) -> str:
    """The question of a part; what is stored, and not the user's own words, has no lines."""
    stored = part.question != query and len(part.question.splitlines()) > 1
    return on_one_line(part.question) if stored else part.question


def candidates(route: Route) -> list[Part]:
    """The whole question, for each of the modules that hold the nearest facts, nearest first."""
    near: dict[str, Part] = {}
    for part in route.parts[:1]:
        near[part.module] = part
        for fact in route.support:
            if fact.module is not None:
                other = replace(part, module=fact.module, record_id=fact.record_id)
                near.setdefault(fact.module, other)
    return list(near.values())[:CANDIDATES]


def _narrowed(route: Route, rows: Sequence[Row]) -> Route:
    """A route as it is once the surest of its candidates have been chosen."""
    parts = tuple(row.part for row in rows if row.part is not None)
    modules = list(dict.fromkeys(part.module for part in parts))
    reason = f"{route.reason}; of the candidates {' and '.join(modules)} gave the surest answer"
    weights = dict.fromkeys(modules, 1 / len(modules))
    return replace(route, weights=weights, parts=parts, reason=reason)


class _Pieces:
    """Pieces of a stream, and its completion once they are over."""

    def __init__(self, stream: Generator[str, None, Completion | None]) -> None:
        self._stream = stream
        self.completion: Completion | None = None

    def __iter__(self) -> Iterator[str]:
        self.completion = yield from self._stream


def _answer(
    recall: Recall, rows: Sequence[Row], completions: Sequence[Completion], sampling: Sampling
) -> Answer:
    """An answer that has not been compared with anything yet, and not been timed."""
    texts = [completion.text for completion in completions]
    tokens = sum(completion.tokens for completion in completions)
    ends = {_finish_reason(completion, sampling) for completion in completions}
    claims = tuple(
        Claim(row.question, text, row.route.modules[0] if row.route else None)
        for row, text in zip(rows, texts, strict=True)
    )
    text = texts[0] if len(rows) == 1 else put_together([row.question for row in rows], texts)
    prompt_tokens = sum(len(row.prompt) for row in rows)
    return Answer(
        text,
        recall,
        prompt_tokens,
        tokens,
        seconds=0.0,
        claims=claims,
        finish_reason="length" if "length" in ends else "stop",
    )


def _finish_reason(completion: Completion, sampling: Sampling) -> FinishReason:
    """Why a completion ends; of a model that does not tell, by how many tokens it has."""
    out_of_tokens = completion.tokens >= sampling.max_new_tokens
    return completion.finish_reason or ("length" if out_of_tokens else "stop")
