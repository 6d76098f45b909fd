"""What a query returns: hits, routes, evidence, and answers with their support."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from memkit.types.calls import ToolCall
from memkit.types.queries import FinishReason
from memkit.types.records import Record, Turn, source_of
from memkit.types.timings import Timings
from memkit.types.value import Value, printable, shortened

Order = Literal["earlier", "latest"]


@dataclass(frozen=True)
class Hit(Value):
    """A record found by a search, with the passage of it that matched.

    Attributes:
        text: The matching passage, ``record.text[start:end]``.
        score: Higher is better; comparable within one search only.
        similarity: Cosine similarity of the query and the best passage; None if no vectors were
            compared.
        parts: What the score is the sum of, by name; see `memkit.rag.fusion.Ranking`.
        order: "latest" or "earlier" where the same speaker said several things about one
            subject; None elsewhere. See `memkit.rag.succession`.
        relevance: How much more the base model expects the question once it has read the
            passage, together with the similarity; None if no model was asked. See
            `memkit.answering.relevance`.
    """

    derived = ("id",)

    record: Record
    text: str
    start: int
    end: int
    score: float
    similarity: float | None
    parts: Mapping[str, float] = field(default_factory=dict)
    order: Order | None = None
    relevance: float | None = None

    @property
    def id(self) -> str:
        """The record's id."""
        return self.record.id

    def __str__(self) -> str:
        """Give score, id and passage, and who said it when, as far as that is known."""
        line = f"{self.score:.3f}  {self.id}  {shortened(self.text)}"
        said_at = self.record.at if self.order else self.record.said_at
        return printable(line + source_of(self.record.metadata, said_at, self.order))


@dataclass(frozen=True)
class Support(Value):
    """A fact that took part in a routing decision.

    Attributes:
        similarity: Cosine similarity of the query with it.
        module: The module that holds it, or None if no module does.
        score: Similarity and shared words together; the facts are ordered by it.
        words: Those that query and fact share, without those that most facts have.
    """

    record_id: str
    similarity: float
    module: str | None
    score: float = 0.0
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part(Value):
    """One fact that a query needs, and the question that its module is asked for it."""

    question: str  # the query itself if it needs one fact only
    module: str
    record_id: str  # the fact
    score: float  # how sure the router is, in [0, 1]


@dataclass(frozen=True)
class Route(Value):
    """Which adapter modules answer a query, and why.

    Attributes:
        weights: Module name to weight; sums to 1, or is empty for "none".
        support: The facts that were considered, best first.
        threshold: The evidence below which the router says "none".
        parts: What is asked of which module, most important first: one per fact that the query
            needs. Empty for "none", and where the caller chose the modules. Parts with the same
            question are alternatives: the vote was split.
        evidence: How well the best fact matches, in the units of ``threshold``.
        mismatch: The word that the query says where the nearest fact has another one, if that is
            why there is no module.
    """

    derived = ("modules",)

    weights: Mapping[str, float]
    support: tuple[Support, ...] = ()
    threshold: float = 0.0
    reason: str = ""
    parts: tuple[Part, ...] = ()
    evidence: float = 0.0
    mismatch: str = ""

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules in use, heaviest first."""
        return tuple(sorted(self.weights, key=lambda name: (-self.weights[name], name)))

    def refused(self, reason: str) -> Route:
        """What was considered, but with a route to no module, and why."""
        return replace(self, weights={}, parts=(), reason=reason)

    def __bool__(self) -> bool:
        return bool(self.weights)

    def __str__(self) -> str:
        return "\n".join(route_lines(self))


def route_lines(route: Route, texts: Mapping[str, str] | None = None) -> list[str]:
    """Describe in a few lines which facts led to which modules; ``texts`` has their texts by id."""
    mixture = ", ".join(f"{name} x {route.weights[name]:.2f}" for name in route.modules)
    lines = [f"route: {mixture or 'none (the base model answers untouched)'}"]
    if route.reason:
        lines.append(f"  because {route.reason}")
    for fact in route.support:
        text = (texts or {}).get(fact.record_id)
        line = f"  {fact.similarity:+.3f}  {fact.record_id}  in {fact.module or 'no module'}"
        lines.append(line if text is None else f"{line}: {shortened(text)}")
    return list(map(printable, lines))


NO_ROUTE = Route(weights={}, reason="there are no adapters: the memory was opened without 'lora'")


@dataclass(frozen=True)
class Evidence(Value):
    """What one backend contributes to a query: passages, turns or adapter weights."""

    hits: tuple[Hit, ...] = ()
    turns: tuple[Turn, ...] = ()
    route: Route | None = None


@dataclass(frozen=True)
class Recall(Value):
    """Evidence for any language model, within a token budget.

    Attributes:
        text: The evidence as text, ready to be put into a prompt; may be empty.
        hits: The passages in ``text``, best first.
        turns: The conversation turns in ``text``, oldest first.
        route: The adapters that hold the answer; for models whose weights can be adapted.
        tokens: The length of ``text``.
        budget: The most tokens that it was allowed to take.
        omitted: How many passages and turns were found, but did not fit.
        counter: Name of the tokenizer that counted the tokens.
        in_weights: Ids of the records that `Memory.ask` left out of ``text``, because the
            route's modules are sure of the answer.
        irrelevant: Ids of the records that `Memory.ask` left out, because the question is not
            about them; see `Hit.relevance`.
    """

    derived = ("citations",)

    query: str
    text: str
    hits: tuple[Hit, ...]
    turns: tuple[Turn, ...]
    route: Route
    tokens: int
    budget: int
    omitted: int
    counter: str
    in_weights: tuple[str, ...] = ()
    irrelevant: tuple[str, ...] = ()

    @property
    def citations(self) -> tuple[str, ...]:
        """Ids of the records that the evidence is from: facts in weights, hits, turns."""
        route = self.route
        nearest = [fact.record_id for fact in route.support if fact.module in route.weights][:1]
        held = [part.record_id for part in route.parts] or nearest
        return tuple(dict.fromkeys([*held, *self.quoted]))

    @property
    def quoted(self) -> tuple[str, ...]:
        """Ids of the records that ``text`` quotes: hits, then turns."""
        of_turns = [turn.record_id for turn in self.turns if turn.record_id is not None]
        return tuple(dict.fromkeys([hit.id for hit in self.hits] + of_turns))

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Answer(Value):
    """What the base model answered, and the evidence it had.

    As text it is the answer alone. `route`, `citations` and `conflict` say what it rests on.

    Attributes:
        text: The answer; empty if it was withheld.
        recall: The evidence that was in the prompt.
        prompt_tokens: The length of the whole prompt; for a question in parts, of all prompts.
        seconds: Wall-clock time from question to answer; in a batch, this answer's share.
        claims: The answer to each part of the question, compared with what is stored.
        withheld: Why a strict answer was withheld; None if it was not.
        finish_reason: "length" if the model had no more tokens (`Sampling.max_new_tokens`) for the
            answer or a part of it; "stop" if it ended by itself, at a stop text, or is quoted.
        calls: Tools that the model wants to be called, in order; its text is empty then, or what
            it said before.
        timings: What the seconds were spent on; equal answers may differ in it.
    """

    derived = ("citations", "conflict")

    text: str
    recall: Recall
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    claims: tuple[Claim, ...] = ()
    withheld: str | None = None
    finish_reason: FinishReason = "stop"
    timings: Timings = field(default=Timings(), compare=False)
    calls: tuple[ToolCall, ...] = ()

    @property
    def route(self) -> Route:
        """The adapters that were active."""
        return self.recall.route

    @property
    def citations(self) -> tuple[str, ...]:
        """Ids of the records that say what the answer says; none if it was withheld."""
        if self.withheld is not None:
            return ()
        agreeing = [claim.record_id for claim in self.claims if claim.supported]
        return tuple(dict.fromkeys(id for id in agreeing if id is not None))

    @property
    def conflict(self) -> Conflict | None:
        """The first of the claims' conflicts; None if nothing contradicts the answer."""
        return next((claim.conflict for claim in self.claims if claim.conflict), None)

    def __str__(self) -> str:
        return self.text


# What precedes the weights, in this order: a turn of the conversation, a record that was written
# after the one that the module holds, the held record itself.
Source = Literal["buffer", "newer record", "record"]


@dataclass(frozen=True)
class Conflict(Value):
    """An answer from weights that contradicts a source which takes precedence over them."""

    answered: str  # by the weights
    recorded: str  # what the source says: a record's answer, else its text; or a turn
    source: Source
    record_id: str | None  # None for a turn without a record
    version: int | None

    def __str__(self) -> str:
        version = f", version {self.version}" if self.version is not None else ""
        where = f"{self.source} {self.record_id or ''}".rstrip() + version
        return printable(f"the weights say {self.answered!r}, the {where} says {self.recorded!r}")


@dataclass(frozen=True)
class Claim(Value):
    """The answer to one question, compared with what is stored."""

    question: str  # the user's question, or the part of it about one fact
    text: str  # the model's answer
    module: str | None = None  # the module that gave it; None if no adapter was active
    record_id: str | None = None  # the record that confirms it
    conflict: Conflict | None = None  # what contradicts it, if an adapter was active
    supported: bool = False  # whether a record or a turn confirms it
    # Whether nobody worded it for this question: it was chosen among what stands in the prompt, or
    # a module recited it, asked in the words that it was trained on.
    quoted: bool = False
