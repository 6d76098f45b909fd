"""The tools: a memory's verbs, in one scope, for clients that know nothing of scopes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from mcp.server.mcpserver import Context
from pydantic import AwareDatetime, Field

from memkit.errors import InvalidInputError, RecordNotFoundError
from memkit.memory.async_memory import AsyncMemory
from memkit.server.mcp.results import (
    AskResult,
    ConsolidateResult,
    ExplainResult,
    Fact,
    ForgetResult,
    Found,
    RecallResult,
    SearchResult,
    StatsResult,
)
from memkit.types import BUDGET, HITS, PASSAGES, UNCHANGED, Scope
from memkit.types.progress import Progress, watched_by
from memkit.types.scope import contains
from memkit.types.validate import check_scope

R = TypeVar("R")

NEWS_EVERY = 0.5  # seconds between two notifications of progress

Text = Annotated[str, Field(description="What to remember, as a statement that stands alone.")]
RecordId = Annotated[str, Field(description="Id of a record, as `remember` and `search` give it.")]
Query = Annotated[str, Field(description="What to look for, in everyday words.")]
Question = Annotated[str, Field(description="The question, in the user's words.")]
Answers = Annotated[
    str | None,
    Field(description="A question that the text answers; needs `answer`. It is learned best so."),
]
Short = Annotated[str | None, Field(description="The answer to `question`, in a few words.")]
Key = Annotated[
    str | None,
    Field(description="What it is about, such as `home:ann`: the next text under it replaces it."),
]
NewText = Annotated[str | None, Field(description="In place of the old one; null leaves it.")]
Metadata = Annotated[
    dict[str, Any] | None, Field(description="JSON values to filter by, such as a source.")
]
Where = Annotated[
    dict[str, Any] | None,
    Field(description='Only records with this metadata: {"source": "hr", "year": {"$gte": 2020}}.'),
]
Since = Annotated[
    AwareDatetime | None, Field(description="Only what was said from this moment on.")
]
Until = Annotated[AwareDatetime | None, Field(description="Only what was said before this moment.")]
Budget = Annotated[int, Field(ge=0, description="Most tokens of evidence.")]
Passages = Annotated[int, Field(ge=1, le=100, description="At most this many records.")]


class MemoryTools:
    """What a client may do with a memory: all of it in one scope, which it cannot choose.

    Records of other scopes are not found, whoever knows their ids. Those that are shared by all
    are seen, but only a server of the shared scope changes or forgets them.

    Args:
        memory: Open already.
        scope: Whose knowledge it is about; empty for what is shared.
    """

    def __init__(self, memory: AsyncMemory, scope: Scope) -> None:
        self._memory = memory
        self._scope = check_scope(scope)
        self._bounds = self._scope or None  # verbs that list or erase take None for what is shared

    async def remember(
        self,
        text: Text,
        question: Answers = None,
        answer: Short = None,
        key: Key = None,
        metadata: Metadata = None,
    ) -> Fact:
        """Remember a fact across conversations. It can be recalled at once, and survives a crash.

        Say one thing per call, in a sentence that is understood without its context: names
        instead of "he", dates instead of "tomorrow". The same text is stored once.
        """
        record = await self._memory.add(
            text,
            question=question,
            answer=answer,
            key=key,
            metadata=metadata or {},
            scope=self._scope,
        )
        return Fact.of(record)

    async def search(
        self,
        query: Query,
        k: Passages = HITS,
        where: Where = None,
        since: Since = None,
        until: Until = None,
    ) -> SearchResult:
        """Find records by meaning and by words, with their ids, scores and metadata."""
        hits = await self._memory.search(
            query, k, scope=self._scope, where=where, since=since, until=until
        )
        return SearchResult(hits=[Found.of_hit(hit) for hit in hits])

    async def recall(
        self,
        question: Question,
        budget: Budget = BUDGET,
        k: Passages = HITS,
        where: Where = None,
    ) -> RecallResult:
        """Gather what is remembered about a question, as text for your own prompt.

        Use it before you answer anything that may have been said in earlier conversations.
        """
        recall = await self._memory.recall(question, budget, k=k, scope=self._scope, where=where)
        return RecallResult.of(recall)

    async def ask(
        self,
        question: Question,
        budget: Budget = BUDGET,
        k: Passages = PASSAGES,
        where: Where = None,
        strict: Annotated[
            bool, Field(description="Withhold an answer that nothing stored supports.")
        ] = False,
    ) -> AskResult:
        """Have the memory's own small language model answer, from its weights and its records."""
        answer = await self._memory.ask(
            question, budget, k=k, scope=self._scope, where=where, strict=strict
        )
        return AskResult.of(answer)

    async def update(
        self,
        id: RecordId,
        text: Annotated[str | None, Field(description="The new text; null leaves it.")] = None,
        question: Annotated[
            str | None, Field(description="The new question; null leaves it.")
        ] = None,
        answer: Annotated[str | None, Field(description="The new answer; null leaves it.")] = None,
        metadata: Annotated[
            dict[str, Any] | None, Field(description="All of the new metadata; null leaves it.")
        ] = None,
    ) -> Fact:
        """Correct a record; the older version stays in its history."""
        if (text, question, answer, metadata) == (None, None, None, None):
            raise InvalidInputError(
                "expected something to change, got an `id` alone",
                "Give `text`, `question`, `answer` or `metadata`.",
            )
        record = await self._memory.get(id, scope=self._scope)
        if not contains(record.scope, self._scope):
            raise RecordNotFoundError(
                f"the record {id!r} is shared by all, and this server may change only its own",
                "Remember the correction as a record of your own.",
            )
        record = await self._memory.update(
            record.id,
            UNCHANGED if text is None else text,
            question=UNCHANGED if question is None else question,
            answer=UNCHANGED if answer is None else answer,
            metadata=UNCHANGED if metadata is None else metadata,
            scope=self._scope,
        )
        return Fact.of(record)

    async def forget(
        self,
        ids: Annotated[
            list[str],
            Field(min_length=1, max_length=1000, description="Ids of the records to erase."),
        ],
        retrain: Annotated[
            bool, Field(description="Train modules that held them again; false drops these.")
        ] = True,
    ) -> ForgetResult:
        """Erase records for good: text, versions, vectors, and what weights learned of them.

        If one of the ids is unknown, nothing is erased.
        """
        receipt = await self._memory.forget(ids, scope=self._bounds, retrain=retrain)
        return ForgetResult.of(receipt)

    async def consolidate(
        self,
        context: Context[Any, Any],
        retry_missed: Annotated[
            bool, Field(description="Also try records that the same training has missed.")
        ] = False,
    ) -> ConsolidateResult:
        """Learn by heart: train adapter modules on the records that no module holds yet.

        It takes minutes, and longer the more there is to learn; progress is reported.
        """
        report = await _with_progress(
            context,
            lambda: self._memory.consolidate(scope=self._bounds, retry_missed=retry_missed),
        )
        return ConsolidateResult.of(report)

    async def stats(self) -> StatsResult:
        """Count what is remembered."""
        return StatsResult.of(await self._memory.stats(scope=self._bounds))

    async def explain(
        self,
        question: Question,
        budget: Budget = BUDGET,
        k: Passages = PASSAGES,
        where: Where = None,
    ) -> ExplainResult:
        """Show how a question would be answered, without answering it: facts, modules, prompt."""
        explanation = await self._memory.explain(
            question, budget, k=k, scope=self._scope, where=where
        )
        return ExplainResult.of(explanation)


class _News:
    """The newest progress; the thread that trains writes it, the event loop reads it."""

    def __init__(self) -> None:
        self.newest: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        self.newest = progress


async def _with_progress(context: Context[Any, Any], call: Callable[[], Awaitable[R]]) -> R:
    """Await a call, and notify the client of how far it has come."""
    news, told = _News(), -1
    with watched_by(news):
        working = asyncio.ensure_future(call())
    try:
        while not working.done():
            await asyncio.wait({working}, timeout=NEWS_EVERY)
            newest = news.newest
            if newest is not None and newest.epochs > told:  # the protocol wants it to grow
                told = newest.epochs
                await context.report_progress(told, newest.total, str(newest))
        return await working
    finally:
        working.cancel()  # if the client has cancelled; the thread goes on to its end
