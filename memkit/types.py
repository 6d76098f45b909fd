"""The nouns of memkit: frozen values that travel between the floors.

Nothing here computes more than a property of its own fields, or imports a heavy library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from memkit.outcomes import Claim, Conflict

Metadata = Mapping[str, Any]  # JSON values only
Scope = Mapping[str, str]  # e.g. {"user": "u1", "session": "s7"}
Role = Literal["system", "user", "assistant", "tool"]
BackendName = Literal["buffer", "rag", "lora"]
Ttl = float | timedelta  # seconds, or a timedelta


@dataclass(frozen=True)
class Draft:
    """A record that is about to be stored.

    Attributes:
        text: The knowledge, verbatim.
        question: A question that the text answers, if the caller has one.
        answer: The answer to that question, exactly as it should be recalled.
        scope: Who the record is for; see `Record.scope`.
        metadata: JSON values to filter by.
        id: A caller-chosen id; None lets the ledger make one.
        key: What it is about, such as "home:ann": the next draft of this key and scope is the
            next version of the same record. None takes the question, if there is one.
        ttl: How long it lives; None takes the default of its scope, if any.
        pinned: Always part of the evidence; does not expire.
        at: When it was said or happened; None for now. Must have a time zone.
    """

    text: str
    question: str | None = None
    answer: str | None = None
    scope: Scope = field(default_factory=dict)
    metadata: Metadata = field(default_factory=dict)
    id: str | None = None
    key: str | None = None
    ttl: Ttl | None = None
    pinned: bool = False
    at: datetime | None = None


@dataclass(frozen=True)
class Record:
    """One piece of knowledge, verbatim, as the ledger holds it now.

    Attributes:
        id: Unique within the memory.
        text: The knowledge, verbatim.
        question: A question that the text answers, or None.
        answer: The answer to that question, or None.
        scope: Who may see it: queries whose scope has every key of it with the same value.
        metadata: JSON values to filter by.
        created_at: When version 1 was added (UTC).
        updated_at: When this version was written (UTC).
        version: 1 for a new record; each update adds one.
        content_hash: SHA-256 over text, question and answer.
        key: What it is about, as given or made of its question; unique within its scope.
        expires_at: From when on it is gone (UTC); None for never.
        pinned: Whether it is always part of the evidence.
        said_at: When it was said or happened, if the caller told (UTC); see `at`.
    """

    id: str
    text: str
    question: str | None
    answer: str | None
    scope: Scope
    metadata: Metadata
    created_at: datetime
    updated_at: datetime
    version: int
    content_hash: str
    key: str | None = None
    expires_at: datetime | None = None
    pinned: bool = False
    said_at: datetime | None = None

    @property
    def at(self) -> datetime:
        """What `since` and `until` look at: when it was said, else when it was written."""
        return self.said_at or self.updated_at


@dataclass(frozen=True)
class Version:
    """A record as it was at one version, written at ``created_at``; see `Record.said_at`."""

    record_id: str
    version: int
    text: str
    question: str | None
    answer: str | None
    metadata: Metadata
    created_at: datetime
    said_at: datetime | None = None


@dataclass(frozen=True)
class Period:
    """A stretch of time in which `Record.at` has to lie, seen from some moment.

    Attributes:
        since: The first moment in it; None for the beginning of time.
        until: The first moment behind it; None for its end.
        as_of: Only versions that were written by this very moment; None for all.
    """

    since: datetime | None = None
    until: datetime | None = None
    as_of: datetime | None = None

    def __bool__(self) -> bool:
        return (self.since, self.until, self.as_of) != (None, None, None)


ALWAYS = Period()


@dataclass(frozen=True)
class Turn:
    """One message of a conversation; ``name`` and ``said_at`` are there if they were told."""

    id: str
    role: Role
    content: str
    scope: Scope
    created_at: datetime
    record_id: str | None
    name: str | None = None
    said_at: datetime | None = None


@dataclass(frozen=True)
class Page:
    """One page of a listing; pass ``next`` as ``after`` to get the following one."""

    records: tuple[Record, ...]
    next: str | None


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


@dataclass(frozen=True)
class Module:
    """One version of one adapter module.

    Attributes:
        name: Stable over retraining.
        version: 1 for the first training; each retraining adds one.
        scope: The scope whose records it holds.
        records: Ids of the records whose recall from it was verified.
        manifest: How it was made: base fingerprint, data hash, seed, spec, recall.
        created_at: When it was committed (UTC).
        versions: The versions of the module that are kept, oldest first; `Memory.rollback`
            makes another of them the active one.
        active: Whether this version is the one that answers.
    """

    name: str
    version: int
    scope: Scope
    records: tuple[str, ...]
    manifest: Metadata
    created_at: datetime
    versions: tuple[int, ...] = ()
    active: bool = True

    def __str__(self) -> str:
        scope = ", ".join(f"{key}={value}" for key, value in self.scope.items())
        kept = ", ".join(f"v{version}" for version in self.versions if version != self.version)
        figures = [
            f"{said} {self.manifest[key]:.2f}"
            for key, said in (("recall", "recall"), ("paraphrase_recall", "reworded"))
            if key in self.manifest
        ]
        return "; ".join(
            [
                f"{self.name} v{self.version}" + (f" (also kept: {kept})" if kept else ""),
                f"{len(self.records)} records" + (f" of {scope}" if scope else ""),
                *figures,
                f"trained {self.created_at:%Y-%m-%d %H:%M} UTC",
            ]
        )
