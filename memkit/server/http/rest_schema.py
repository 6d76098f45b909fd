"""What the REST interface takes and gives: the verbs of a memory as JSON."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field, model_validator

from memkit.server.http.answer_options import How
from memkit.server.http.api_keys import ApiKey
from memkit.server.http.chat_messages import ChatMessage, Flag, Int, Number, Strict
from memkit.server.http.job_ids import signed_id
from memkit.server.http.openai_schema import AboutAnswer, MemoryOptions, Usage
from memkit.types import BUDGET, HITS, Draft, JobState, JobStatus, Sampling

Json = dict[str, Any]
Text = Annotated[str, Field(min_length=1)]
MOST_HITS = 100


def _written(value: object) -> object:
    """A time as it is written: pydantic would take numbers for seconds as well."""
    if not isinstance(value, str):
        raise ValueError("a time must be a text such as 2026-07-28T14:30:00+02:00")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written)]


class RecordIn(Strict):
    """A record to be stored; see `memkit.Memory.add`."""

    text: Text
    question: Text | None = Field(None, description="A question that it answers.")
    answer: Text | None = Field(None, description="The answer, as it should be recalled.")
    key: Text | None = Field(None, description="What it is about; takes the place of the last one.")
    metadata: Json = Field(default_factory=dict)
    ttl: Number | None = Field(
        None, ge=1, allow_inf_nan=False, description="How long it lives, in seconds."
    )
    pinned: Flag = Field(False, description="Always part of the evidence.")
    at: Moment | None = Field(None, description="When it was said or happened.")

    def draft(self, scope: dict[str, str]) -> Draft:
        """The record for `Memory.add`."""
        return Draft(scope=scope, **self.model_dump())


class RecordsIn(Strict):
    """Several records, stored all or none."""

    records: list[RecordIn] = Field(min_length=1)


class Changes(Strict):
    """What becomes different; what is left out stays, and null takes it away."""

    text: Text = ""
    question: Text | None = None
    answer: Text | None = None
    metadata: Json | None = None

    @model_validator(mode="after")
    def _some(self) -> Changes:
        if not self.model_fields_set:
            raise ValueError(
                "at least one of `text`, `question`, `answer` and `metadata` is needed"
            )
        return self


class RecordOut(BaseModel):
    """A record as it is now."""

    id: str
    text: str
    question: str | None
    answer: str | None
    key: str | None
    metadata: Json
    scope: dict[str, str]
    version: int
    created_at: datetime
    updated_at: datetime
    said_at: datetime | None
    expires_at: datetime | None
    pinned: bool


class RecordPage(BaseModel):
    """Some of the records; ``next`` is ``after`` of the next page, or null."""

    records: list[RecordOut]
    next: str | None


class VersionOut(BaseModel):
    """A record as it was."""

    version: int
    text: str
    question: str | None
    answer: str | None
    metadata: Json
    created_at: datetime


class TurnOut(BaseModel):
    """What somebody said in the conversation."""

    id: str
    role: str
    content: str
    name: str | None
    created_at: datetime
    record_id: str | None


class TurnList(BaseModel):
    """The newest turns, the oldest of them first."""

    turns: list[TurnOut]


class Selecting(Strict):
    """What takes part in a query."""

    where: Json | None = Field(None, description="A metadata filter.")
    since: Moment | None = Field(None, description="Only what was said then or later.")
    until: Moment | None = Field(None, description="Only what was said before.")
    as_of: Moment | None = Field(None, description="Records as they were then.")


class Asking(Selecting):
    """A question, or a conversation that ends with one."""

    question: Text | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Asking:
        if (self.question is None) == (self.messages is None):
            raise ValueError("expected either `question` or `messages`")
        return self

    @property
    def asked(self) -> str | list[dict[str, str]]:
        """What is asked, as the verbs of `Memory` take it."""
        if self.messages is None:
            return self.question or ""
        return [{"role": message.role, "content": message.text} for message in self.messages]


class SearchIn(Selecting):
    """What is searched for."""

    query: Text
    k: Int = Field(HITS, ge=1, le=MOST_HITS)


class RecallIn(Asking):
    """What evidence is wanted for."""

    budget: Int = Field(BUDGET, ge=0, description="Most tokens of evidence.")
    k: Int = Field(HITS, ge=1, le=MOST_HITS)


class ExplainIn(Asking, MemoryOptions):
    """What is to be explained."""

    strict: Literal[False] = False
    quote: None = None


class AskIn(Asking, MemoryOptions):
    """What is asked, and how the answer is wanted."""

    max_tokens: Int = Field(Sampling().max_new_tokens, ge=1)
    temperature: Number = Field(0.0, ge=0, le=2, description="0 is greedy.")
    top_p: Number = Field(1.0, gt=0, le=1)
    seed: Int = Field(0, ge=0, lt=2**63)
    stop: Annotated[list[Text], Field(max_length=4)] = Field(default_factory=list)

    def how(self) -> How:
        """How the answer is wanted."""
        sampling = Sampling(
            self.max_tokens, self.temperature, self.top_p, tuple(self.stop), self.seed
        )
        return How(
            budget=self.budget,
            k=self.k,
            strict=self.strict,
            quote=self.quote,
            min_score=self.min_score,
            sampling=sampling,
            where=None if self.where is None else json.dumps(self.where, sort_keys=True),
            since=self.since,
            until=self.until,
            as_of=self.as_of,
        )


class HitOut(BaseModel):
    """A record that was found, and the passage of it that matched."""

    record: RecordOut
    text: str
    score: float
    similarity: float | None
    relevance: float | None


class HitList(BaseModel):
    """The hits, the best first."""

    hits: list[HitOut]


class RouteOut(BaseModel):
    """The adapters that answer, and why."""

    weights: dict[str, float]
    reason: str
    evidence: float
    threshold: float


class RecallOut(BaseModel):
    """Evidence for any language model."""

    text: str = Field(description="Ready to be put into a prompt.")
    tokens: int
    budget: int
    omitted: int = Field(description="How many passages and turns had no room.")
    hits: list[HitOut]
    citations: list[str]
    route: RouteOut


class ExplainOut(RecallOut):
    """How a question would be answered."""

    left_out: list[HitOut]
    passed_over: dict[str, str] = Field(description="Modules that are not asked, and why.")
    summary: str = Field(description="All of it in lines for people.")


class AnswerOut(AboutAnswer):
    """An answer, and where it is from."""

    text: str
    route: RouteOut
    usage: Usage


class Counts(BaseModel):
    """How much the scope of the key holds."""

    records: int
    versions: int
    turns: int
    passages: int
    modules: int
    held: int = Field(description="Records that modules hold.")
    expired: int


class ReceiptOut(BaseModel):
    """What was erased, and what was checked afterwards."""

    records: list[str]
    versions: int
    turns: int
    retrained: list[str]
    dropped: list[str] = Field(description="Modules that were removed.")
    demoted: list[str] = Field(description="Other records, which no module holds any more.")
    checks: dict[str, bool]
    remains: list[str] = Field(
        description="Where bytes of it may stay, and until when: a database server's own files."
    )


class ConsolidateIn(Strict):
    """What is to be learned."""

    include_turns: Flag = Field(False, description="Also what was said in conversations.")
    retry_missed: Flag = Field(False, description="Also what the same training has missed before.")


class ProgressOut(BaseModel):
    """How far the training of a module is."""

    module: int = Field(description="Its number, from 1.")
    modules: int = Field(description="How many the run trains.")
    epochs: int
    total: int
    mastered: float


class JobOut(BaseModel):
    """A consolidation."""

    id: str
    state: JobState
    records: int = Field(description="How many it was made for.")
    held: int = Field(description="Those of them that modules hold, of what has ended.")
    missed: int
    modules: int
    progress: ProgressOut | None
    attempts: int
    error: str | None = Field(description="What went wrong last; it may be tried again.")
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def of(cls, key: ApiKey, status: JobStatus) -> JobOut:
        """How far a job is, for the key that asks."""
        return cls.model_validate(status.to_dict() | {"id": signed_id(key, status.id)})
