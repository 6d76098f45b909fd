"""Keyword arguments that several verbs share, written once, and the queries made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from memkit.errors import InvalidInputError
from memkit.ledger.records.filters import plain
from memkit.ledger.transfer.import_ import OnConflict
from memkit.memory.config import Config, OpenOptions
from memkit.memory.schemas import Schema, constraint_of
from memkit.memory.tool_options import ToolChoice, Tools, with_tools
from memkit.types import (
    COMBINATIONS,
    GREEDY,
    MIN_SCORE,
    Combine,
    Draft,
    Message,
    Metadata,
    Period,
    Query,
    Sampling,
    Scope,
    Ttl,
)
from memkit.types.validate import (
    check_flag,
    check_ids,
    check_limit,
    check_number,
    check_part,
    check_period,
    check_scope,
    shown,
)

Question = str | Sequence[Message]


class DraftOptions(TypedDict, total=False):
    """What `Memory.add` takes beside a text.

    Attributes:
        question: A question that the text answers. Adapters learn question and answer best.
        answer: The answer, as it should be recalled.
        scope: Who may see it; by default everybody. With a list it holds for every plain text;
            drafts bring their own.
        metadata: JSON values to filter by; with a list as ``scope``.
        id: Your own id; by default one is made.
        key: What the text is about; by default its question. Different keys keep different
            answers to one question side by side.
        ttl: How long it lives, in seconds (1 at least) or as a timedelta; by default as long as
            `Retention.set_ttl` says for the scope.
        pinned: See `Retention.pin`.
        at: When it was said or happened, for ``since`` and ``until``; by default now.
    """

    question: str | None
    answer: str | None
    scope: Scope
    metadata: Metadata
    id: str | None
    key: str | None
    ttl: Ttl | None
    pinned: bool
    at: datetime | None


class ConsolidateOptions(TypedDict, total=False):
    """Which records `Memory.consolidate` trains.

    Attributes:
        scope: Only records of this scope.
        where: Only records that pass this metadata filter.
        include_turns: Also learn what was said in conversations.
        retry_missed: Also try records that the same training has missed before.
        priority: With ``wait=False``: jobs of a higher one come first; by default 0.
    """

    scope: Scope | None
    where: Metadata | None
    include_turns: bool
    retry_missed: bool
    priority: int


class ImportOptions(TypedDict, total=False):
    """What `Memory.import_` takes of a file.

    Attributes:
        scope: Only what is of this scope; nothing else is changed (`TransferReport.renamed`).
        on_conflict: Where the memory has something else under the same id, key or content:
            "error", the default, refuses the whole file, "skip" keeps what is here, "replace"
            takes what comes and leaves its modules to be trained again by `consolidate`.
        adapters: Also take in the modules beside the file, as by `Modules.import_`.
    """

    scope: Scope | None
    on_conflict: OnConflict
    adapters: bool


class SpokenOptions(TypedDict, total=False):
    """What verbs for conversations take beside what was said.

    Attributes:
        scope: The conversation; by default the one that everybody shares.
        remember: Also make records, so that what was said is found when it has left the buffer;
            by default True. What users and assistants say becomes a record, unless it is small
            talk such as "OK" or "Thanks!".
        at: When it was said; by default now.
    """

    scope: Scope
    remember: bool
    at: datetime | None


class MessageOptions(SpokenOptions, total=False):
    """What `Memory.add_messages` takes beside a chat log.

    Attributes:
        continues: Take every message as new, whatever it says. For those who hand in each
            exchange by itself; by default a log may begin with messages that are known.
    """

    continues: bool


class TurnOptions(SpokenOptions, total=False):
    """What `Memory.add_turn` takes beside a role and a text.

    Attributes:
        name: The speaker's name. Questions that name a speaker look for it.
    """

    name: str | None


class Selection(TypedDict, total=False):
    """Which records and turns take part in a query.

    Attributes:
        scope: Only what this scope may see; by default only what is shared.
        where: Metadata filter, e.g. ``{"source": "hr", "year": {"$gte": 2020}}``.
        since: Only what was said at this moment or later; see `Record.at`.
        until: Only what was said before this moment.
        as_of: Records as they were at this moment. Those that have changed since are ranked by
            meaning alone, and what was forgotten is not there. No adapter takes part, because
            weights have no past.
    """

    scope: Scope
    where: Metadata | None
    since: datetime | None
    until: datetime | None
    as_of: datetime | None


class RecallOptions(Selection, total=False):
    """What takes part as evidence.

    Attributes:
        k: At most this many records; by default 5, or 3 where the default base model answers,
            which loses the thread in more.
    """

    k: int


class ExplainOptions(RecallOptions, total=False):
    """What takes part in the prompt of an answer.

    Attributes:
        min_score: Leave out passages of less relevance (`Hit.relevance`, mostly from 0 to 2); by
            default 0.45. None takes everything that was found, as does a reranker or a language
            model of your own.
    """

    min_score: float | None


class AskOptions(ExplainOptions, total=False):
    """What takes part in an answer, and how the answer is made.

    Attributes:
        modules: Use these adapters, in equal parts, instead of the routed ones. An empty list
            gives the untouched base model.
        combine: How several modules answer: "rows" asks each its part of the question and puts
            the answers together; "mix" adds their effects by the route's weights; "confident"
            asks the whole question of each of the likeliest and takes the surest answer.
        strict: Withhold an answer that no record and no turn supports: its text is empty, and
            `Answer.withheld` says why. What was said in the conversation counts as support, unless
            the assistant said it. A stream gives such an answer in one piece, because only its
            end shows whether it is withheld.
        sampling: How tokens are chosen, where the base model words the answer; greedy by
            default.
        quote: Answer a question with the most relevant sentences, as they are stored or as
            modules recite them, instead of having the base model word the answer; a question
            that is asked as it was trained is answered by its module. By default with local base
            models of less than a billion parameters, which too often word wrongly what they
            read (docs/decisions/0013-quotations.md). Only questions are answered so, and nothing
            with ``min_score=None``, chosen ``modules`` or another ``combine``.
        schema: A JSON schema, or a class of Pydantic: the answer's text is JSON that fits it and
            nothing else, worded by the base model with the routed modules. It is never quoted,
            and modules answer it together. Needs the extra ``structured``.
        tools: Functions that the base model may call instead of answering, in OpenAI's format;
            `Answer.calls` has its calls. The conversation may end with what they gave. Needs a
            chat template that knows tools, and the extra ``structured``.
        tool_choice: "auto", "none", "required", or the name of a tool; by default "auto".
        parallel_tool_calls: Whether there may be several calls at once (8 at most); small models
            repeat themselves, so by default there is one.
    """

    modules: Sequence[str] | None
    combine: Combine
    strict: bool
    sampling: Sampling
    quote: bool | None
    schema: Schema | None
    tools: Tools | None
    tool_choice: ToolChoice | None
    parallel_tool_calls: bool | None


class BatchOptions(AskOptions, total=False):
    """What several questions at once can be told besides.

    Attributes:
        scopes: One for each question, in place of ``scope``: those of different users share a
            batch, and each sees only what its own scope may see.
        schemas: One for each question, in place of ``schema``; None for an answer without one.
    """

    scopes: Sequence[Scope] | None
    schemas: Sequence[Schema | None] | None


def config_of(options: OpenOptions) -> Config:
    """What a memory is to be opened with."""
    refuse_unknown(options, OpenOptions)
    return Config(**options)


def draft_of(options: DraftOptions) -> Draft:
    """A draft without its text."""
    refuse_unknown(options, DraftOptions)
    return Draft("", **options)


@dataclass(frozen=True)
class Request:
    """How questions are answered; see `AskOptions`.

    Attributes:
        budget: Most tokens of evidence in the prompt.
        modules: Chosen by the caller; None for the routed ones.
        combine: How several modules answer.
        strict: Withhold answers that nothing stored supports.
        sampling: How tokens are chosen.
        min_score: Passages of less relevance are no evidence; None to judge none of them.
        quote: Answer in stored words; None to go by the base model.
        repeat_held: Put also those records into the prompt that the weights are sure to hold.
    """

    budget: int
    modules: Sequence[str] | None = None
    combine: Combine = "rows"
    strict: bool = False
    sampling: Sampling = GREEDY
    min_score: float | None = MIN_SCORE
    quote: bool | None = None
    repeat_held: bool = False

    def __post_init__(self) -> None:
        check_limit("budget", self.budget, least=0)
        if self.min_score is not None:
            check_number("min_score", self.min_score)
            if self.min_score < 0:
                raise InvalidInputError(
                    f"`min_score` must be at least 0, got {shown(self.min_score)}"
                )
        check_flag("strict", self.strict)
        if self.quote is not None:
            check_flag("quote", self.quote)
        if self.quote and self.min_score is None:
            raise InvalidInputError(
                "`quote` needs passages that are judged, got `min_score` None",
                hint="leave `min_score` out, or give 0 to quote whatever is most relevant",
            )
        if not isinstance(self.combine, str) or self.combine not in COMBINATIONS:
            raise InvalidInputError(
                f"`combine` must be one of {COMBINATIONS}, got {shown(self.combine)}"
            )
        if self.modules is not None:
            check_ids("modules", self.modules)
        check_part("sampling", self.sampling, Sampling, "a `memkit.types.Sampling`")
        self.sampling.check()


def request_of(budget: int, options: ExplainOptions) -> Request:
    """How questions are to be answered; what takes part is for `query_template`."""
    how: dict[str, Any] = {n: value for n, value in options.items() if n not in _OF_QUERIES}
    return Request(budget, **how)


def query_template(options: Mapping[str, Any], known: type, *, k: int) -> Query:
    """A query without a text.

    Args:
        options: What a verb was told.
        known: The `TypedDict` of what it can be told.
        k: How many records, if the options do not say.

    Raises:
        InvalidInputError: If an option is malformed.
        TypeError: If an option is unknown.
    """
    refuse_unknown(options, known)
    k = options.get("k", k)
    check_limit("k", k)
    scope, where = check_scope(options.get("scope", {})), options.get("where")
    if where is not None:
        where = plain(where)
    period = Period(options.get("since"), options.get("until"), options.get("as_of"))
    check_period(period)
    constraint = constraint_of(options.get("schema"))
    constraint = with_tools(
        constraint,
        options.get("tools"),
        options.get("tool_choice"),
        several=options.get("parallel_tool_calls"),
    )
    return Query("", k, scope, where, period=period, constraint=constraint)


_TOOLS = {"parallel_tool_calls", "tool_choice", "tools"}
_OF_QUERIES = frozenset(RecallOptions.__annotations__) | _TOOLS | {"schema"}
# What the verbs that take these options spell out beside them.
_SPELLED_OUT: Mapping[type, tuple[str, ...]] = {
    AskOptions: ("budget",),
    BatchOptions: ("budget",),
    ConsolidateOptions: ("wait",),
    ExplainOptions: ("budget",),
    ImportOptions: ("path",),
    OpenOptions: ("create",),
    RecallOptions: ("budget",),
    Selection: ("k",),
}


def refuse_unknown(options: Mapping[str, Any], known: type) -> None:
    """As Python does for keyword arguments that are spelled out."""
    for name in options:
        if name not in known.__annotations__:
            names = (*_SPELLED_OUT.get(known, ()), *known.__annotations__)
            raise TypeError(
                f"unexpected keyword argument {name!r}; these are known: {', '.join(names)}"
            )
