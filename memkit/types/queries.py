"""What is asked of backends and language models, and what models answer or learn."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from memkit.errors import InvalidInputError
from memkit.types.records import ALWAYS, Metadata, Period, Scope


@dataclass(frozen=True)
class Context:
    """What was said before a question.

    Attributes:
        system: The system message, or None for the usual one.
        history: Earlier messages as ``(role, content)``, oldest first.
    """

    system: str | None = None
    history: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Query:
    """One query as the backends see it.

    Attributes:
        text: The user's words.
        k: At most this many hits.
        scope: Only what this scope may see takes part.
        where: Metadata filter, or None.
        context: The conversation that it ends; None for a question by itself. For the base
            model: backends look for what the question alone asks for.
        period: Only records of this time take part.
    """

    text: str
    k: int = 5
    scope: Scope = field(default_factory=dict)
    where: Metadata | None = None
    context: Context | None = None
    period: Period = ALWAYS


@dataclass(frozen=True)
class Prompt:
    """A prompt in two parts.

    Attributes:
        prefix: Token ids that the untouched base model encodes: system prompt, passages,
            history.
        question: Token ids from the user's question up to where the answer starts; adapters
            act from the first of these on.
    """

    prefix: tuple[int, ...]
    question: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prefix) + len(self.question)


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        max_new_tokens: Upper bound on the answer's length.
        temperature: 0 is greedy.
        top_p: Nucleus size in (0, 1]; 1 keeps every token.
        stop: Texts that end the answer; they are not part of it.
        seed: Seeds the draw when temperature > 0.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0

    def check(self) -> None:
        """Refuse values out of range.

        Raises:
            InvalidInputError: If there is one.
        """
        if self.max_new_tokens < 1:
            raise InvalidInputError(
                f"`max_new_tokens` must be at least 1, got {self.max_new_tokens!r}"
            )
        if not 0 <= self.temperature < math.inf:
            raise InvalidInputError(
                f"`temperature` must be 0 or more and finite, got {self.temperature!r}"
            )
        if not 0 < self.top_p <= 1:
            raise InvalidInputError(f"`top_p` must be in (0, 1], got {self.top_p!r}")
        if "" in self.stop:
            raise InvalidInputError("`stop` must hold non-empty texts, got ''")


GREEDY = Sampling()

# How several modules answer one question; see `memkit.answering.generate.Answerer.answer`.
Combine = Literal["rows", "mix", "confident"]

COMBINATIONS: tuple[Combine, ...] = ("rows", "mix", "confident")


@dataclass(frozen=True)
class Completion:
    """Text that a language model produced for one prompt.

    Attributes:
        text: The answer, without the stop token or text that ended it.
        ids: The tokens as generated, a stop token included if there was one.
    """

    text: str
    ids: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """How many tokens were generated."""
        return len(self.ids)


@dataclass(frozen=True)
class Example:
    """One training example.

    Attributes:
        question: What the user says.
        answer: What the model is to say.
        record_id: The record it teaches, or None for an example that guards the base model's
            behaviour.
        held_out: Not trained on; asked when recall is verified.
        context: The text that the answer is in, for a teacher to read; None if there is none.
        origin: How it was made, for example "template".
    """

    question: str
    answer: str
    record_id: str | None = None
    held_out: bool = False
    context: str | None = None
    origin: str = "template"
