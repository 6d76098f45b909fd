"""The verbs that answer with the local base model; a `memkit.Memory` has them all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from memkit.memory import ask as reading
from memkit.memory.ask import BUDGET, PASSAGES
from memkit.memory.engine import Engine
from memkit.protocols import GREEDY, Combine, Query, Sampling
from memkit.types import Answer, Metadata, Period, Scope

if TYPE_CHECKING:
    from memkit.answering.generate import AnswerStream

NOWHERE: Scope = {}


class AskVerbs:
    """The part of `memkit.Memory` that answers."""

    _engine: Engine

    def ask(
        self,
        question: str,
        budget: int = BUDGET,
        *,
        k: int = PASSAGES,
        scope: Scope = NOWHERE,
        where: Metadata | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
        modules: Sequence[str] | None = None,
        combine: Combine = "rows",
        strict: bool = False,
        sampling: Sampling = GREEDY,
    ) -> Answer:
        """Answer with the local base model, the routed adapters and what is recalled.

        What the model says is compared with what is stored: `Answer.claims` and `citations` say
        what agrees, `Answer.conflict` what does not.

        Args:
            question: The user's words. A question that needs facts of several modules is asked
                of each in its part, and the answers are put together.
            budget: Most tokens of evidence in the prompt; 0 answers from the weights alone.
                Passages are left out where the routed modules are sure of the answer.
            k: At most this many records as evidence.
            scope: Only what this scope may see.
            where: Only records that pass this metadata filter.
            since: As for `Memory.search`.
            until: As for `Memory.search`.
            as_of: As for `Memory.search`; answered without adapters, as weights have no past.
            modules: Use these adapters in equal parts instead of the routed ones; an empty
                list for the untouched base model.
            combine: How several modules answer: "rows" is described above; "mix" adds their
                effects by the route's weights; "confident" asks the whole question of each of
                the likeliest and takes the surest answer.
            strict: Withhold an answer that no record and no turn supports: its text is empty,
                and `Answer.withheld` says why.
            sampling: How tokens are chosen; greedy by default.

        Raises:
            ModelUnavailableError: If there is no base model.
            IncompatibleModelError: If the adapters were trained for another one.
        """
        period = Period(since, until, as_of)
        queries = [Query(question, k, scope, where, period=period)]
        asking = reading.Asking(budget, modules, combine, strict, sampling)
        return reading.answer(self._engine, queries, asking)[0]

    def ask_batch(
        self,
        questions: Sequence[str],
        budget: int = BUDGET,
        *,
        k: int = PASSAGES,
        scope: Scope = NOWHERE,
        where: Metadata | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
        modules: Sequence[str] | None = None,
        combine: Combine = "rows",
        strict: bool = False,
        sampling: Sampling = GREEDY,
    ) -> list[Answer]:
        """Like `ask`, for several questions at once; each row has its own adapters."""
        rest = Query("", k, scope, where, period=Period(since, until, as_of))
        queries = reading.queries_of(questions, rest)
        asking = reading.Asking(budget, modules, combine, strict, sampling)
        return reading.answer(self._engine, queries, asking)

    def stream(
        self,
        question: str,
        budget: int = BUDGET,
        *,
        k: int = PASSAGES,
        scope: Scope = NOWHERE,
        where: Metadata | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
        modules: Sequence[str] | None = None,
        combine: Combine = "rows",
        strict: bool = False,
        sampling: Sampling = GREEDY,
    ) -> AnswerStream:
        """Like `ask`, piece by piece; the result's ``answer`` is there at the end.

        A strict answer comes in one piece: until its end it may turn out to be withheld.
        """
        from memkit.answering.generate import AnswerStream

        asking = reading.Asking(budget, modules, combine, strict, sampling)
        query = Query(question, k, scope, where, period=Period(since, until, as_of))
        return AnswerStream(reading.stream(self._engine, query, asking))
