"""Answers that cannot be anything but what a constraint allows: masks for the next token.

The library behind it is llguidance (docs/decisions/0015-constraints.md). It compiles a grammar for
the tokens of one model, and says after each token which ones may follow.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memkit.errors import (
    BackendError,
    IncompatibleModelError,
    IncompleteAnswerError,
    InvalidInputError,
    MissingDependencyError,
)
from memkit.models.call_grammar import WRITTEN, grammar
from memkit.models.tool_template import ToolTemplate
from memkit.types import Constraint, Sampling
from memkit.types.validate import shown

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

KEPT = 32  # compiled grammars of a model; one takes a few milliseconds and up to some megabytes

_CHARACTER = 4  # bytes, and so tokens, that a character has at most
_SPECIAL = 0xFF  # begins what stands for a special token among bytes; no text has it


class Constraints:
    """Compiles constraints for the tokens of one language model.

    Args:
        tokenizer: The model's fast tokenizer.
        name: Of the model, for errors.
        stop_ids: Tokens that end an answer.
        tools: How the model calls tools; None if it is not to.
    """

    def __init__(
        self,
        tokenizer: object,
        *,
        name: str,
        stop_ids: Collection[int],
        tools: ToolTemplate | None = None,
    ) -> None:
        self._tokenizer: Any = tokenizer
        self._tools = tools
        self._name = name
        self._stop_ids = sorted(stop_ids)
        self._tokens: LLTokenizer | None = None
        self._compiled = lru_cache(maxsize=KEPT)(self._compile)  # threads share it

    def check(self, constraint: Constraint, sampling: Sampling) -> None:
        """Refuse what decoding cannot be held to, before anything is computed.

        Raises:
            InvalidInputError: If the schema is none, or asks for what no mask can see to; or a
                text is to stop the answer, which could then be no whole one.
            IncompatibleModelError: If the model's tokenizer is of a kind without known texts.
            MissingDependencyError: If llguidance is not installed.
        """
        if sampling.stop and not constraint.may_be_text:
            raise InvalidInputError(
                f"`stop` must be empty where the answer has to fit a schema, "
                f"got {shown(sampling.stop)}",
                hint="the schema says where the answer ends",
            )
        self.keeper(constraint)

    def keeper(self, constraint: Constraint) -> Keeper:
        """What keeps one answer to a constraint; refuses what `check` refuses."""
        matcher = self._compiled(constraint).deep_copy()
        return Keeper(matcher, self._spelled, text=constraint.may_be_text)

    def _spelled(self, text: bytes) -> int | None:
        """The first token of a text, if special tokens in it are taken as the text they are."""
        ids = self._tokenizer(
            text.decode(errors="ignore"), add_special_tokens=False, split_special_tokens=True
        )["input_ids"]
        return ids[0] if ids else None

    def _compile(self, constraint: Constraint) -> LLMatcher:
        try:
            from llguidance import LLMatcher
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                "answers that fit a schema need llguidance, which is not installed",
                hint="pip install 'memkit-sdk[structured]'",
            ) from error
        matcher = LLMatcher(self._known_tokens(), self._grammar(constraint), log_level=0)
        if matcher.is_error():
            raise InvalidInputError(
                "expected a JSON schema that decoding can be held to, got one with an error: "
                f"{matcher.get_error().splitlines()[0]}",
                hint="leave out or rewrite what it names; such as `anyOf` instead of `oneOf`",
            )
        return matcher

    def _grammar(self, constraint: Constraint) -> str:
        from llguidance import LLMatcher

        if constraint.tools and self._tools is not None:
            added = self._tokenizer.added_tokens_decoder.items()
            special = {str(token): id for id, token in added if token.special}
            return LLMatcher.grammar_from_lark(grammar(constraint, self._tools.calls, special))
        options: Any = WRITTEN
        try:
            return LLMatcher.grammar_from_json_schema(constraint.schema or "{}", overrides=options)
        except ValueError as error:  # it reads JSON of some hundred levels, no more
            raise InvalidInputError(
                f"expected a JSON schema that decoding can be held to, got one with: {error}",
                hint="nest it less deeply, or write what recurs once, in `$defs`",
            ) from error

    def _known_tokens(self) -> LLTokenizer:
        """The model's tokens as llguidance has them; made once, in half a second or so."""
        if self._tokens is None:
            from llguidance.hf import from_tokenizer

            try:
                self._tokens = from_tokenizer(self._tokenizer, eos_token=self._stop_ids)
            except ValueError as error:
                raise IncompatibleModelError(
                    f"expected a tokenizer whose tokens have known texts, that of {self._name} "
                    f"is none to llguidance: {error}",
                    hint="use a model with a byte-level or sentencepiece tokenizer",
                ) from error
        return self._tokens


class Keeper:
    """Keeps one answer to its constraint, token by token.

    Args:
        matcher: At its beginning, and used by nobody else.
        spelled: Gives the first token of a text, which is no special one.
        text: Whether the answer may be text, which can be cut off anywhere.

    Attributes:
        ended: Whether the answer is whole: nothing may follow, or its end was chosen.
    """

    def __init__(
        self, matcher: LLMatcher, spelled: Callable[[bytes], int | None], *, text: bool
    ) -> None:
        self._matcher = matcher
        self._text = text
        self._since = 0  # tokens since it could have ended
        self._spelled = spelled
        self.ended = matcher.is_stopped()

    def allowed(self, tokens: int) -> Tensor:
        """Which of so many tokens may come next, shape ``(tokens,)``, of truth values.

        A model may score more tokens than its tokenizer has: those never come.
        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        flags = np.zeros(tokens, dtype=np.bool_)
        known = np.unpackbits(bits, bitorder="little", count=min(tokens, 8 * len(bits)))
        flags[: len(known)] = known
        if flags.sum() == 1:
            self._spell(flags)
        return torch.from_numpy(flags)

    def _spell(self, flags: NDArray[np.bool_]) -> None:
        """Allow the beginning of a text instead of a special token that has this text.

        Where only one text may come, llguidance allows the token that its tokenizer takes it for.
        """
        forced = self._matcher.compute_ff_bytes()
        if forced and forced[0] != _SPECIAL and not self._matcher.validate_tokens(_ids(flags)):
            first = self._spelled(forced)
            if first is not None:
                flags[:] = False
                flags[first] = True

    def take(self, token: int) -> None:
        """Note which token was chosen."""
        self._matcher.consume_token(token)
        self._check()
        self.ended = self._matcher.is_stopped()
        self._since = 0 if self._matcher.is_accepting() else self._since + 1

    def check_whole(self, text: str, limit: int) -> None:
        """Refuse an answer that its tokens did not suffice for.

        Args:
            text: What there is of it; of half a character at its end, U+FFFD.
            limit: How many tokens it was allowed.

        Raises:
            IncompleteAnswerError: If the constraint allows or wants more.
        """
        in_text = self._since == 0 or (self._since < _CHARACTER and text.endswith("\ufffd"))
        if not self.ended and not (self._text and in_text):
            raise IncompleteAnswerError(
                f"expected a whole answer in at most {limit} tokens (`max_new_tokens`), got the "
                f"beginning of one: {shown(text)}",
                hint="allow more tokens, or bound the schema with `maxLength`, `maxItems`, "
                "`maximum` or `enum`",
            )

    def _check(self) -> None:
        if self._matcher.is_error():
            raise BackendError(f"llguidance gave up on a constraint: {self._matcher.get_error()}")


def mask(logits: Tensor, keepers: Sequence[Keeper | None]) -> Tensor:
    """Scores of the next token without those of tokens that may not come, ``(rows, vocab)``.

    Args:
        logits: Shape ``(rows, vocab)``.
        keepers: Of each row; None for a row that is free.
    """
    bound = {row: each for row, each in enumerate(keepers) if each is not None and not each.ended}
    if not bound:
        return logits
    allowed = torch.ones(logits.shape, dtype=torch.bool)
    for row, keeper in bound.items():
        allowed[row] = keeper.allowed(logits.shape[-1])
    return logits.masked_fill(~allowed.to(logits.device), -torch.inf)


def _ids(flags: NDArray[np.bool_]) -> list[int]:
    return [int(id) for id in flags.nonzero()[0]]
