"""The verbs that answer whole conversations; a `memkit.Memory` has them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from memkit.errors import InvalidInputError
from memkit.memory import ask as reading
from memkit.memory.ask import BUDGET, PASSAGES
from memkit.memory.engine import Engine
from memkit.protocols import GREEDY, Combine, Context, Query, Sampling
from memkit.types import Answer, Metadata, Period, Recall, Scope

if TYPE_CHECKING:
    from memkit.answering.generate import AnswerStream

Message = Mapping[str, str]  # {"role": "user", "content": "..."}
NOWHERE: Scope = {}


class ChatVerbs:
    """The part of `memkit.Memory` that answers the last message of a conversation.

    Evidence and adapters are chosen by that message alone. What the conversation says itself is
    not put into the prompt a second time, so turns that the memory noted take no part.
    """

    _engine: Engine

    @property
    def model_name(self) -> str:
        """Name of the base model that answers; it is not loaded for that.

        Raises:
            ModelUnavailableError: If there is no base model.
        """
        return self._engine.base_name

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text as for a budget: with the base model's tokenizer."""
        return self._engine.counter[1](text)

    def chat(
        self,
        messages: Sequence[Message],
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
        """Answer the last message, which is the user's, as `Memory.ask` answers a question.

        Args:
            messages: As ``{"role": ..., "content": ...}``, oldest first. System messages that
                open the conversation take the place of the usual one.
            budget: As for `Memory.ask`, as are the other arguments.
            k: At most this many records as evidence.
            scope: Only what this scope may see.
            where: Only records that pass this metadata filter.
            since: As for `Memory.search`; of turns as well.
            until: As for `Memory.search`; of turns as well.
            as_of: As for `Memory.search`; answered without adapters, as weights have no past.
            modules: Use these adapters instead of the routed ones.
            combine: How several modules answer.
            strict: Withhold an answer that no record and no turn supports; what the
                conversation itself says counts, unless the assistant said it.
            sampling: How tokens are chosen.

        Raises:
            InvalidInputError: If the messages are malformed, do not end with the user's, or are
                too long for the base model.
            ModelUnavailableError: If there is no base model.
        """
        query = query_of(messages, Query("", k, scope, where, period=Period(since, until, as_of)))
        asking = reading.Asking(budget, modules, combine, strict, sampling)
        return reading.answer(self._engine, [query], asking)[0]

    def chat_batch(
        self,
        conversations: Sequence[Sequence[Message]],
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
        """Like `chat`, for several conversations at once; each has its own adapters."""
        rest = Query("", k, scope, where, period=Period(since, until, as_of))
        queries = [query_of(messages, rest) for messages in conversations]
        asking = reading.Asking(budget, modules, combine, strict, sampling)
        return reading.answer(self._engine, queries, asking)

    def chat_stream(
        self,
        messages: Sequence[Message],
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
        """Like `chat`, piece by piece; the result's ``answer`` is there at the end."""
        from memkit.answering.generate import AnswerStream

        query = query_of(messages, Query("", k, scope, where, period=Period(since, until, as_of)))
        asking = reading.Asking(budget, modules, combine, strict, sampling)
        return AnswerStream(reading.stream(self._engine, query, asking))

    def chat_recall(
        self,
        messages: Sequence[Message],
        budget: int = BUDGET,
        *,
        k: int = PASSAGES,
        scope: Scope = NOWHERE,
        where: Metadata | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
    ) -> Recall:
        """Gather evidence for any model that is about to answer a conversation.

        Like `Memory.recall` for the last message, without what the conversation itself says.
        """
        query = query_of(messages, Query("", k, scope, where, period=Period(since, until, as_of)))
        return reading.recall(self._engine, query, budget)


def query_of(messages: Sequence[Message], rest: Query) -> Query:
    """Make a query of a conversation: its last message, and what was said before.

    Raises:
        InvalidInputError: If there is no message, the last is not the user's, or one is not a
            mapping of "role" and "content" to strings.
    """
    pairs = [_pair(message) for message in messages]
    if not pairs or pairs[-1][0] != "user":
        raise InvalidInputError(
            f"`messages` must end with the user's, got {pairs[-1] if pairs else 'none'!r}",
            hint='the last one is what is answered: {"role": "user", "content": "..."}',
        )
    opening = next(place for place, (role, _) in enumerate(pairs) if role != "system")
    system = "\n\n".join(content for _, content in pairs[:opening]) or None
    context = Context(system, tuple(pairs[opening:-1]))
    return replace(rest, text=pairs[-1][1], context=context)


def _pair(message: Message) -> tuple[str, str]:
    """Role and content; the base model refuses roles that it does not know."""
    valid = isinstance(message, Mapping) and {"role", "content"} <= message.keys()
    if not valid or not all(isinstance(message[key], str) for key in ("role", "content")):
        raise InvalidInputError(
            f'expected a message {{"role": "user", "content": "..."}}, got {message!r}'
        )
    return message["role"], message["content"]
