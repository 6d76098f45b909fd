"""Asking all questions of a data set, and noting what every answer took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from memkit.answering.prompt import Assembled, PromptFormat
from memkit.errors import MemkitError
from memkit.evals.data.dataset import Asked
from memkit.evals.metrics.multiple_choice import lettered
from memkit.models.language_model import TransformersModel
from memkit.models.scoring import mean_log_probabilities
from memkit.types import Completion, Prompt, Sampling

ROWS = 24  # questions that are answered at once
TOKENS = 6000  # of all their prompts together
ANSWER = Sampling(max_new_tokens=32)

Place = Callable[[Sequence[Sequence[str]]], AbstractContextManager[object]]
Chosen = Sequence[Sequence[str]]  # for each question the modules that are asked


class MissingEvidenceError(MemkitError):
    """A configuration says that evidence is in the prompt, and it is not."""


@dataclass(frozen=True)
class Told:
    """One answer.

    Attributes:
        prompt_tokens: Of the whole prompt.
        evidence: Documents that stand in it.
    """

    text: str
    prompt_tokens: int
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answers:
    """All answers, in the order of the questions, and the time that they took together."""

    told: tuple[Told, ...]
    cpu_seconds: float
    wall_seconds: float


def ask(
    base: TransformersModel,
    asked: Sequence[Asked],
    evidence: Sequence[Assembled],
    chosen: Chosen,
    place: Place,
    *,
    rows: bool = False,
    sampling: Sampling = ANSWER,
) -> Answers:
    """Answer questions greedily.

    Args:
        base: The base model.
        asked: The questions.
        evidence: For each what goes into its prompt; may be empty.
        chosen: For each the modules that take part.
        place: Puts modules in place for the rows of a batch.
        rows: Let each of a question's modules answer alone, and take the answer of which it is
            the surest; otherwise they act together.
        sampling: How long answers may be.

    Raises:
        MissingEvidenceError: If evidence is not in a prompt word for word.
    """
    prompts = [
        _prompt(base, question, text) for question, text in zip(asked, evidence, strict=True)
    ]
    for prompt, text in zip(prompts, evidence, strict=True):
        _check_evidence(base, prompt, text)
    cpu, wall = time.process_time(), time.perf_counter()
    texts: list[str] = []
    for start, stop in _batches(prompts, max((len(names) for names in chosen), default=1)):
        batch = prompts[start:stop], chosen[start:stop]
        texts += (
            _surest(base, *batch, place, sampling)
            if rows
            else [c.text for c in base.generate(batch[0], sampling, adapters=place(batch[1]))]
        )
    told = tuple(
        Told(text, len(prompt), tuple(hit.id for hit in quoted.hits))
        for text, prompt, quoted in zip(texts, prompts, evidence, strict=True)
    )
    return Answers(told, time.process_time() - cpu, time.perf_counter() - wall)


def _surest(
    base: TransformersModel,
    prompts: Sequence[Prompt],
    chosen: Chosen,
    place: Place,
    sampling: Sampling,
) -> list[str]:
    """For each prompt the answer of the module that finds its own the most probable."""
    single = [(row, [name]) for row, names in enumerate(chosen) for name in names]
    single += [(row, []) for row, names in enumerate(chosen) if not names]
    alone = [names for _, names in single]
    repeated = [prompts[row] for row, _ in single]
    completions = base.generate(repeated, sampling, adapters=place(alone))
    sure = mean_log_probabilities(
        base,
        repeated,
        [c.ids for c in completions],
        lambda n: place([m for m in alone for _ in range(n)]),
    )
    best: dict[int, tuple[float, Completion]] = {}
    for (row, _), completion, probability in zip(single, completions, sure, strict=True):
        if row not in best or probability > best[row][0]:
            best[row] = probability, completion
    return [best[row][1].text for row in range(len(prompts))]


def _prompt(base: TransformersModel, asked: Asked, evidence: Assembled) -> Prompt:
    question = lettered(asked.question, asked.choices) if asked.choices else asked.question
    return base.prompt(question, system=PromptFormat().system_message(evidence.text))


def _check_evidence(base: TransformersModel, prompt: Prompt, evidence: Assembled) -> None:
    if evidence.text and evidence.text not in base.decode(prompt.prefix + prompt.question):
        raise MissingEvidenceError(
            f"expected the evidence {evidence.text[:80]!r} in the prompt, it is not there",
            hint="the base model's chat template changes or drops the system message",
        )


def _batches(prompts: Sequence[Prompt], each: int) -> Iterator[tuple[int, int]]:
    """Neighbouring questions that are answered together: few where prompts are long."""
    start = 0
    while start < len(prompts):
        stop, longest = start, 0
        while stop < len(prompts) and stop - start < max(1, ROWS // max(1, each)):
            longest = max(longest, len(prompts[stop]))
            if stop > start and longest * (stop - start + 1) > TOKENS:
                break
            stop += 1
        yield start, stop
        start = stop
