"""Makes OpenAI's replies of a memory's answers: cut where the client said, counted, explained."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from memkit.server.http.chat_messages import calls_of
from memkit.server.http.openai_schema import (
    AboutAnswer,
    CallingReply,
    ChatCompletion,
    Choice,
    Contradiction,
    FinishReason,
    ReplyMessage,
    Usage,
)
from memkit.types import Answer, Sampling

Count = Callable[[str], int]


@dataclass
class Cut:
    """Ends a text where a stop text begins or no more tokens may come.

    The base model's own words end there anyway. Quotations and the joined parts of an answer do
    not, as memkit gives them whole.

    Args:
        sampling: Says where the text ends.
        count: Counts tokens.

    Attributes:
        text: What has been taken.
        ended: Whether all further pieces are left out.
        shortened: Whether tokens were left out because they were too many.
    """

    sampling: Sampling
    count: Count
    text: str = ""
    ended: bool = False
    shortened: bool = False
    _pieces: int = field(default=0, repr=False)

    def take(self, piece: str) -> str:
        """Take the next piece as the model words it; give what of it stays.

        Each piece counts as a token, which it is at least: the model has counted them exactly,
        where it answers in one part.
        """
        self._pieces += 1
        if self._pieces > self.sampling.max_new_tokens:
            self.ended = self.shortened = True
        return self._until_stop(piece)

    def take_whole(self, answer: Answer) -> str:
        """Take an answer as a whole, and give what of its text stays."""
        text = self._until_stop(answer.text)
        given_whole = is_quoted(answer) or len(answer.claims) > 1
        if given_whole and self.is_too_long(text):
            self.text, self.ended, self.shortened = self._beginning(text), True, True
        return self.text

    def is_too_long(self, text: str) -> bool:
        """Whether a text has more tokens than may come."""
        return self.count(text) > self.sampling.max_new_tokens

    def reason(self, answer: Answer) -> FinishReason:
        """Why an answer ends where it does."""
        if answer.calls:
            return "tool_calls"
        if self.ended:
            return "length" if self.shortened else "stop"
        return answer.finish_reason

    def _until_stop(self, piece: str) -> str:
        if self.ended or not piece:
            return ""
        start, text = len(self.text), self.text + piece
        stops = [at for stop in self.sampling.stop if (at := text.find(stop)) >= 0]
        if stops:
            text, self.ended = text[: max(start, min(stops))], True
        self.text = text
        return text[start:]

    def _beginning(self, text: str) -> str:
        """The longest beginning of a text that has few enough tokens."""
        shortest, longest = 0, len(text)
        while shortest < longest:
            middle = (shortest + longest + 1) // 2
            if self.is_too_long(text[:middle]):
                longest = middle - 1
            else:
                shortest = middle
        return text[:shortest]


def new_id() -> str:
    """A name for a reply."""
    return f"chatcmpl-{uuid.uuid4().hex}"


def about(answer: Answer, *, remembered: bool) -> AboutAnswer:
    """Where an answer is from."""
    conflict = answer.conflict
    return AboutAnswer(
        citations=list(answer.citations),
        modules=dict(answer.route.weights),
        quoted=is_quoted(answer),
        withheld=answer.withheld,
        conflict=None if conflict is None else Contradiction(**conflict.to_dict()),
        remembered=remembered,
    )


def is_quoted(answer: Answer) -> bool:
    """Whether an answer is in stored words."""
    return bool(answer.claims) and all(claim.quoted for claim in answer.claims)


def usage(answer: Answer, text: str, count: Count) -> Usage:
    """The tokens of an answer."""
    written = count(text) if is_quoted(answer) else answer.completion_tokens
    return Usage(
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=written,
        total_tokens=answer.prompt_tokens + written,
    )


def completion(
    answer: Answer, cut: Cut, model: str, *, remembered: bool, created: int | None = None
) -> ChatCompletion:
    """A whole reply; ``cut`` has taken the answer's text."""
    refused = answer.withheld is not None
    message = ReplyMessage(content=None if refused else cut.text, refusal=answer.withheld)
    if answer.calls:
        message = CallingReply(content=cut.text or None, tool_calls=calls_of(answer))
    return ChatCompletion(
        id=new_id(),
        created=int(time.time()) if created is None else created,
        model=model,
        choices=[Choice(message=message, finish_reason=cut.reason(answer))],
        usage=usage(answer, cut.text, cut.count),
        memkit=about(answer, remembered=remembered),
    )


class Chunks:
    """Makes the chunks of a streamed reply.

    Args:
        model: As the reply calls it.
        with_usage: Whether every chunk has the field ``usage``; the last one fills it.
    """

    def __init__(self, model: str, *, with_usage: bool) -> None:
        self._common: dict[str, Any] = {
            "id": new_id(),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        } | ({"usage": None} if with_usage else {})

    def delta(
        self, delta: Mapping[str, Any], reason: FinishReason | None = None, **more: Any
    ) -> dict[str, Any]:
        """A chunk with a piece of the message."""
        choice = {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": reason}
        return {**self._common, "choices": [choice], **more}

    def usage(self, counted: Usage) -> dict[str, Any]:
        """The chunk behind all others that says how many tokens there were."""
        return {**self._common, "choices": [], "usage": counted.model_dump()}
