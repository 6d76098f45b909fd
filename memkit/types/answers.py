"""What a query gives: hits, routes, evidence, answers and how far they are supported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from memkit.types.records import Record, Turn


@dataclass(frozen=True)
class Hit:
    """A record found by a search, with the passage of it that matched.

    Attributes:
        record: The whole record.
        text: The matching passage, a slice of ``record.text``.
        start: Offset of the passage in ``record.text``, in characters.
        end: Offset behind its last character.
        score: Higher is better; comparable within one search only.
        similarity: Cosine similarity of query and best passage, in [-1, 1]; None where nothing
            was compared.
        parts: What the score is the sum of, by name; see `memkit.rag.fusion.Ranking`.
    """

    record: Record
    text: str
    start: int
    end: int
    score: float
    similarity: float | None
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The record's id."""
        return self.record.id


@dataclass(frozen=True)
class Support:
    """A fact that took part in a routing decision.

    Attributes:
        record_id: The fact.
        similarity: Cosine similarity of the query with it.
        module: The module that holds it, or None if no module does.
        score: Similarity and shared words together; the facts are ordered by it.
        words: The words of the query that the fact has, those left out that most facts have.
    """

    record_id: str
    similarity: float
    module: str | None
    score: float = 0.0
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """One fact that a query needs, and what the module that holds it is asked for it.

    Attributes:
        question: What the module is asked: the query itself if it needs one fact only.
        module: The module that answers.
        record_id: The fact.
        score: How sure the router is of it, in [0, 1].
    """

    question: str
    module: str
    record_id: str
    score: float


@dataclass(frozen=True)
class Route:
    """Which adapter modules answer a query, and why.

    Attributes:
        weights: Module name to weight; sums to 1, or is empty for "none".
        support: The facts that were looked at, best first.
        threshold: The evidence below which the router says "none".
        reason: One sentence.
        parts: What is asked of which module, most important first. One for a query that needs
            one fact; one per fact for a query that needs several. Empty for "none", and where
            the caller chose the modules. Parts with the same question are alternatives: the
            vote was split.
        evidence: What speaks for the best fact, in the units of ``threshold``.
    """

    weights: Mapping[str, float]
    support: tuple[Support, ...] = ()
    threshold: float = 0.0
    reason: str = ""
    parts: tuple[Part, ...] = ()
    evidence: float = 0.0

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules in use, heaviest first."""
        return tuple(sorted(self.weights, key=lambda name: (-self.weights[name], name)))

    def __bool__(self) -> bool:
        return bool(self.weights)

    def explain(self) -> str:
        """Say in a few lines which facts led to which modules."""
        mixture = ", ".join(f"{name} x {self.weights[name]:.2f}" for name in self.modules)
        lines = [f"route: {mixture or 'none (the base model answers untouched)'}"]
        lines.append(f"  because {self.reason}")
        lines += [
            f"  {fact.similarity:+.3f}  {fact.record_id}  in {fact.module or 'no module'}"
            for fact in self.support
        ]
        return "\n".join(lines)


NO_ROUTE = Route(weights={}, reason="routing was not asked for")


@dataclass(frozen=True)
class Evidence:
    """What one backend contributes to a query: passages, turns or adapter weights."""

    hits: tuple[Hit, ...] = ()
    turns: tuple[Turn, ...] = ()
    route: Route | None = None


@dataclass(frozen=True)
class Recall:
    """Evidence for any language model, within a token budget.

    Attributes:
        query: The query, verbatim.
        text: The evidence as text, ready to be put into a prompt; may be empty.
        hits: The passages in ``text``, best first.
        turns: The conversation turns in ``text``, oldest first.
        route: The adapters that hold the answer, for models whose weights can be adapted.
        tokens: How many tokens ``text`` takes.
        budget: How many it might have taken.
        omitted: How many passages and turns were found but did not fit.
        counter: What counted the tokens.
        in_weights: Ids of the records that were found and left out of ``text`` because the
            route's modules are sure of the answer; `Memory.ask` alone leaves any out.
    """

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

    @property
    def citations(self) -> tuple[str, ...]:
        """Ids of the records that the evidence comes from: the weights' facts, hits, turns."""
        nearest = [s.record_id for s in self.route.support if s.module in self.route.weights][:1]
        held = [part.record_id for part in self.route.parts] or nearest
        return tuple(dict.fromkeys([*held, *self.quoted]))

    @property
    def quoted(self) -> tuple[str, ...]:
        """Ids of the records that ``text`` quotes: hits, then turns."""
        spoken = [turn.record_id for turn in self.turns if turn.record_id is not None]
        return tuple(dict.fromkeys([hit.id for hit in self.hits] + spoken))

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Answer:
    """What the base model said, and where it took it from.

    Attributes:
        text: The answer; empty if it was withheld.
        recall: The evidence that went in.
        prompt_tokens: Length of the whole prompt, in tokens; of a question in parts, of all of
            their prompts.
        completion_tokens: Length of what was generated, in tokens.
        seconds: Wall-clock time; of a batch, this answer's share.
        claims: What was said to each part of the question, compared with what is stored.
        withheld: Why a strict answer was withheld; None if it was not.
    """

    text: str
    recall: Recall
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    claims: tuple[Claim, ...] = ()
    withheld: str | None = None

    @property
    def route(self) -> Route:
        """The adapters that were in place."""
        return self.recall.route

    @property
    def citations(self) -> tuple[str, ...]:
        """Ids of the records that the answer rests on: those that say the same, then the quoted."""
        agreeing = [claim.record_id for claim in self.claims if claim.record_id is not None]
        return tuple(dict.fromkeys([*agreeing, *self.recall.quoted]))

    @property
    def conflict(self) -> Conflict | None:
        """The first of the claims' conflicts; None if nothing speaks against the answer."""
        return next((claim.conflict for claim in self.claims if claim.conflict), None)

    def __str__(self) -> str:
        return self.text


Source = Literal["buffer", "newer record", "record"]


@dataclass(frozen=True)
class Conflict:
    """Weights say one thing, and something that counts for more says another.

    Attributes:
        said: What the weights said.
        recorded: What counts instead: a record's answer or, if it has none, its text; or a turn.
        source: Where that stands. What counts for more comes first: a turn of the conversation
            ("buffer"), a record written after the one that the module holds ("newer record"),
            the held record itself ("record"). Modules count least.
        record_id: Of the record; None for a turn that is none.
        version: Of the record; None likewise.
    """

    said: str
    recorded: str
    source: Source
    record_id: str | None
    version: int | None

    def __str__(self) -> str:
        version = f", version {self.version}" if self.version is not None else ""
        where = f"{self.source} {self.record_id or ''}".rstrip() + version
        return f"the weights say {self.said!r}, the {where} says {self.recorded!r}"


@dataclass(frozen=True)
class Claim:
    """What an answer says to one question, and how that compares with what is stored.

    Attributes:
        question: What was asked: the user's question, or the part of it about one fact.
        text: What the model said.
        module: The module that said it; None if no adapter was in place.
        record_id: The record that says the same; None if none does.
        conflict: What says otherwise, if the text came from weights and something does.
        supported: Whether a record or a turn says the same.
    """

    question: str
    text: str
    module: str | None = None
    record_id: str | None = None
    conflict: Conflict | None = None
    supported: bool = False
