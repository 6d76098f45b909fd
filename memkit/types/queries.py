"""What is asked of backends and language models, and what models answer or learn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from memkit.errors import InvalidInputError
from memkit.types.calls import ChatTurn
from memkit.types.records import ALWAYS, Metadata, Period, Scope
from memkit.types.scope import scope_key
from memkit.types.validate import check_limit, check_number, shown

# What verbs take unless the caller says otherwise.
HITS = 5  # records that are searched for
PASSAGES = 3  # in an answer's prompt; the default base model loses the thread in more
MIN_SCORE = 0.45  # relevance from which on a passage is evidence: docs/decisions/0013-quotations.md
BUDGET = 512  # tokens of evidence: a few passages and the last turns
COLDEST = 1e-3  # temperature; scores divided by much less are no numbers any more


@dataclass(frozen=True)
class Context:
    """What was said before a question."""

    system: str | None = None  # the system message; None for the usual one
    history: tuple[tuple[str, str], ...] = ()  # (role, content), oldest first
    turns: tuple[ChatTurn, ...] = ()  # where tools are called: all but the system's, to the end


@dataclass(frozen=True)
class Constraint:
    """What an answer is held to while it is decoded, so that it cannot be anything else.

    Attributes:
        schema: A JSON schema, as JSON: the answer is one JSON value that fits it. None for text.
        tools: Functions that the answer may call, as JSON: ``name``, ``description`` and
            ``parameters``, which is a JSON schema.
        choice: Which it calls: "auto" if any, "none", "any" for at least one, or the name of one.
        several: Whether it may call more than one.
    """

    schema: str | None = None
    tools: tuple[str, ...] = ()
    choice: str = "auto"
    several: bool = False

    @property
    def may_be_text(self) -> bool:
        """Whether an answer in plain text keeps to it."""
        return self.schema is None and self.choice in {"auto", "none"}


@dataclass(frozen=True)
class Query:
    """One query as the backends see it."""

    text: str
    k: int = HITS  # at most this many hits
    scope: Scope = field(default_factory=dict)  # only what this scope may see takes part
    where: Metadata | None = None  # metadata filter, or None
    context: Context | None = None  # what was said before; backends look at the text alone
    period: Period = ALWAYS
    constraint: Constraint | None = None  # what the answer is held to; backends need not look


Bounds = tuple[str, str, Period]


def bounds_of(scope: Scope, where: Metadata | None, period: Period) -> Bounds:
    """What tells apart which records a query may find: to look up by.

    Only for a ``where`` of plain values, as verbs make it of what they are given: what an object
    writes of itself need not tell it from others.
    """
    return scope_key(scope), repr(where), period


@dataclass(frozen=True)
class Prompt:
    """A prompt in two parts."""

    prefix: tuple[int, ...]  # system prompt, passages, history; no adapter acts on these tokens
    question: tuple[int, ...]  # from the user's question up to where the answer starts
    constraint: Constraint | None = None  # what the answer is held to, token by token

    def __len__(self) -> int:
        return len(self.prefix) + len(self.question)


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen."""

    max_new_tokens: int = 128
    temperature: float = 0.0  # 0 is greedy; anything else at least 0.001
    top_p: float = 1.0  # nucleus size in (0, 1]; 1 keeps every token
    stop: tuple[str, ...] = ()  # texts that end the answer; they are not part of it
    seed: int = 0

    def check(self) -> None:
        """Raise `InvalidInputError` for a value out of range."""
        check_limit("max_new_tokens", self.max_new_tokens)
        check_limit("seed", self.seed, least=0, most=2**63 - 1)
        check_number("temperature", self.temperature)
        check_number("top_p", self.top_p)
        texts = isinstance(self.stop, tuple | list) and all(isinstance(s, str) for s in self.stop)
        allowed_heat = f"be 0, for the likeliest token, or at least {COLDEST}"
        for name, allowed, valid in (
            ("temperature", allowed_heat, self.temperature == 0 or self.temperature >= COLDEST),
            ("top_p", "be in (0, 1]", 0 < self.top_p <= 1),
            ("stop", "be a tuple of non-empty texts", texts and "" not in self.stop),
        ):
            if not valid:
                raise InvalidInputError(
                    f"`{name}` must {allowed}, got {shown(getattr(self, name))}"
                )


GREEDY = Sampling()

# How several modules answer one question; see `memkit.answering.generate.Answerer.answer`.
Combine = Literal["rows", "mix", "confident"]
COMBINATIONS: tuple[Combine, ...] = ("rows", "mix", "confident")


FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Completion:
    """Text that a language model produced for one prompt."""

    text: str  # without the stop token or text that ended it
    ids: tuple[int, ...]  # as generated, with the stop token if there was one
    # Why it ends there: by itself or at a stop text, or out of tokens; None if nobody tells.
    finish_reason: FinishReason | None = None

    @property
    def tokens(self) -> int:
        """How many tokens were generated."""
        return len(self.ids)


@dataclass(frozen=True)
class Example:
    """One training example."""

    question: str
    answer: str
    record_id: str | None = None  # what it teaches; None if it guards the base model's behaviour
    held_out: bool = False  # not trained on; asked when recall is verified
    context: str | None = None  # the text that the answer is in, for a teacher to read
    origin: str = "template"  # how it was made, for example "template"
