"""What the tools return: models whose JSON schemas are published as the tools' output schemas."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, Field

from memkit.types import (
    Answer,
    ConsolidationReport,
    Hit,
    ModuleReport,
    Recall,
    Receipt,
    Record,
    Route,
    Stats,
)
from memkit.types.explanation import Explanation


class Fact(BaseModel):
    """One record."""

    id: str = Field(description="For `update` and `forget`.")
    text: str = Field(description="What is remembered, word for word.")
    question: str | None = Field(description="The question that it answers, if one was given.")
    answer: str | None = Field(description="The answer to that question.")
    metadata: dict[str, Any] = Field(description="JSON values that searches can filter by.")
    shared: bool = Field(description="Whether everybody sees it.")
    version: int = Field(description="1 at first; each update adds one.")
    created_at: datetime = Field(description="When it was first remembered (UTC).")
    updated_at: datetime = Field(description="When this version was written (UTC).")

    @classmethod
    def of(cls, record: Record) -> Self:
        """Show a record."""
        return cls(
            id=record.id,
            text=record.text,
            question=record.question,
            answer=record.answer,
            metadata=dict(record.metadata),
            shared=not record.scope,
            version=record.version,
            created_at=record.created_at,
            updated_at=record.updated_at,
        )


class Found(Fact):
    """A record that a search has found."""

    passage: str = Field(description="The part of the text that matches best.")
    score: float = Field(description="Higher is better; comparable within one search only.")
    similarity: float | None = Field(description="Cosine similarity with the query, -1 to 1.")

    @classmethod
    def of_hit(cls, hit: Hit) -> Self:
        """Show a hit."""
        record = Fact.of(hit.record).model_dump()
        return cls(**record, passage=hit.text, score=hit.score, similarity=hit.similarity)


class SearchResult(BaseModel):
    """What a search has found."""

    hits: list[Found] = Field(description="Best first; empty if nothing was found.")


class RecallResult(BaseModel):
    """Evidence for a language model."""

    text: str = Field(description="The evidence, ready for a prompt; empty if there is none.")
    citations: list[str] = Field(description="Ids of the records that the evidence is from.")
    tokens: int = Field(description="Length of the text.")
    budget: int = Field(description="Most tokens that it was allowed to take.")
    omitted: int = Field(description="How many passages were found but did not fit.")

    @classmethod
    def of(cls, recall: Recall) -> Self:
        """Show evidence."""
        return cls(
            text=recall.text,
            citations=list(recall.citations),
            tokens=recall.tokens,
            budget=recall.budget,
            omitted=recall.omitted,
        )


class AskResult(BaseModel):
    """An answer of the memory's own language model."""

    text: str = Field(description="The answer; empty if it was withheld.")
    citations: list[str] = Field(description="Ids of the records that say the same.")
    withheld: str | None = Field(description="Why a strict answer was withheld; null if not.")
    conflict: str | None = Field(description="What stored knowledge contradicts the answer.")
    modules: list[str] = Field(description="Adapter modules that took part.")
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    timings: dict[str, float] = Field(description="Seconds by what they were spent on.")

    @classmethod
    def of(cls, answer: Answer) -> Self:
        """Show an answer."""
        return cls(
            text=answer.text,
            citations=list(answer.citations),
            withheld=answer.withheld,
            conflict=None if answer.conflict is None else str(answer.conflict),
            modules=list(answer.route.modules),
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            seconds=answer.seconds,
            timings=answer.timings.to_dict(),
        )


class ForgetResult(BaseModel):
    """What was erased, and what was checked afterwards."""

    forgotten: list[str] = Field(description="Ids of the erased records.")
    turns: int = Field(description="How many turns of conversations went with them.")
    retrained: list[str] = Field(description="Adapter modules that were trained again without.")
    dropped: list[str] = Field(description="Adapter modules that were removed.")
    checks: dict[str, bool] = Field(description="What was checked, each with its outcome.")

    @classmethod
    def of(cls, receipt: Receipt) -> Self:
        """Show a receipt."""
        return cls(
            forgotten=list(receipt.records),
            turns=receipt.turns,
            retrained=list(receipt.retrained),
            dropped=list(receipt.dropped),
            checks=dict(receipt.checks),
        )


class TrainedModule(BaseModel):
    """One module that was trained."""

    name: str = Field(description="Empty if nothing was learned, so that nothing was kept.")
    version: int
    held: int = Field(description="How many records it was seen to recall.")
    missed: int = Field(description="How many it failed to recall; the index answers for them.")
    recall: float = Field(description="Share of the questions that it answered exactly.")

    @classmethod
    def of(cls, report: ModuleReport) -> Self:
        """Show what training one module achieved."""
        return cls(
            name=report.name if report.held else "",
            version=report.version,
            held=len(report.held),
            missed=len(report.missed),
            recall=report.recall,
        )


class ConsolidateResult(BaseModel):
    """What was learned by heart."""

    modules: list[TrainedModule] = Field(description="Empty if there was nothing to train.")
    held: int = Field(description="Records that are answered from the weights now.")
    missed: int = Field(description="Records that could not be learned; the index has them.")
    left_out: int = Field(description="Records that the same training has missed before.")
    seconds: float

    @classmethod
    def of(cls, report: ConsolidationReport) -> Self:
        """Show a report."""
        return cls(
            modules=[TrainedModule.of(module) for module in report.modules],
            held=len(report.held),
            missed=len(report.missed),
            left_out=len(report.left_out),
            seconds=report.seconds,
        )


class StatsResult(BaseModel):
    """How much is remembered."""

    records: int
    versions: int = Field(description="Of these records, the current ones included.")
    turns: int = Field(description="Turns of conversations.")
    modules: int = Field(description="Adapter modules in service.")
    held: int = Field(description="Records that the modules hold.")
    expired: int = Field(description="Records that have expired and wait to be erased.")
    embedder: str | None = Field(description="Name of the model that makes the vectors.")
    base_model: str | None = Field(description="Name of the model that the modules are for.")

    @classmethod
    def of(cls, stats: Stats) -> Self:
        """Show counts."""
        return cls(
            records=stats.records,
            versions=stats.versions,
            turns=stats.turns,
            modules=stats.modules,
            held=stats.held,
            expired=stats.expired,
            embedder=stats.embedder,
            base_model=stats.base_model,
        )


class Vote(BaseModel):
    """A fact that took part in the routing."""

    id: str
    similarity: float = Field(description="Cosine similarity with the question.")
    module: str | None = Field(description="The module that holds it; null if none does.")


class RouteShown(BaseModel):
    """Which modules would answer, and why."""

    weights: dict[str, float] = Field(description="Of modules; empty if none takes part.")
    reason: str
    evidence: float = Field(description="How well the best fact matches.")
    threshold: float = Field(description="With less evidence no module takes part.")
    facts: list[Vote] = Field(description="The facts that were considered, best first.")

    @classmethod
    def of(cls, route: Route) -> Self:
        """Show a route."""
        return cls(
            weights=dict(route.weights),
            reason=route.reason,
            evidence=route.evidence,
            threshold=route.threshold,
            facts=[
                Vote(id=fact.record_id, similarity=fact.similarity, module=fact.module)
                for fact in route.support
            ],
        )


class ExplainResult(BaseModel):
    """How a question would be answered."""

    text: str = Field(description="The whole explanation, for people.")
    route: RouteShown
    in_prompt: list[str] = Field(description="Ids of the records in the prompt.")
    left_out: list[str] = Field(description="Ids of records that were found but left out.")

    @classmethod
    def of(cls, explanation: Explanation) -> Self:
        """Show an explanation."""
        return cls(
            text=str(explanation),
            route=RouteShown.of(explanation.recall.route),
            in_prompt=list(explanation.recall.quoted),
            left_out=[hit.id for hit in explanation.left_out],
        )
