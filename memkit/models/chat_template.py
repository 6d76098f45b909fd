"""Conversations to token ids, so that no message can pose as part of the chat template.

The template is rendered with placeholders in place of the messages; the messages are put in
afterwards. So it is known which characters are the template's and which the users', and only
the template's may become special tokens; and that every message is in the prompt, whatever the
template does with it. Where a template has no place for one, `memkit.models.arrangement` finds it.
"""

from __future__ import annotations

import copy
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise
from typing import Any, get_args

from jinja2.exceptions import TemplateError
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerBase

from memkit.errors import IncompatibleModelError, InvalidInputError
from memkit.models.answer_opening import answer_opening
from memkit.models.arrangement import JOINT, Arrangement, TemplateTurn
from memkit.models.template_layout import OWN, PLACED, PLACEHOLDER, Layout, layout_of, slots_of
from memkit.text.quoting import indented, is_mark
from memkit.types import Prompt, Role
from memkit.types.validate import shown

Message = tuple[str, str]  # role, content

_ANOTHER = "use a model with another chat template, or set `chat_template` of its tokenizer"

# What templates raise: errors of their own, and Python's about a message that they do not expect.
_REFUSALS = (
    *(TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError),
    *(RecursionError, NotImplementedError),
)
# What a template may write itself: tools with it, and far more than any model reads.
MOST_CHARACTERS = 4_000_000

# Conversations that show what a template writes around each role.
_PROBES = ("system", "user"), ("user", "assistant", "user"), ("user", "assistant", "tool", "user")


class ChatFormat:
    """Renders conversations for one tokenizer, with its chat template if it has one.

    Args:
        tokenizer: A fast tokenizer of transformers.

    Attributes:
        end_id: The token that ends an answer.
        special_tokens: Texts of the tokens that were added to the tokenizer's vocabulary.
        control_ids: Tokens that only the template writes, and no message.

    Raises:
        IncompatibleModelError: If nothing marks the end of an answer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not tokenizer.is_fast:
            raise IncompatibleModelError(
                f"expected a fast tokenizer, got {type(tokenizer).__name__}",
                hint="convert it: the model's folder needs a tokenizer.json",
            )
        self._tokenizer: Any = tokenizer  # its methods carry no usable annotations
        added = tokenizer.added_tokens_decoder
        self.special_tokens = tuple(str(token) for token in added.values())
        control = self._control_tokens(added)
        self._encoder = _with_special(tokenizer, [t for t in control.values() if not t.special])
        self.control_ids = frozenset(control)
        longest_first = sorted(map(str, control.values()), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._layout = lru_cache(maxsize=64)(self._render)
        self.end_id = self._end_id()

    def count(self, text: str) -> int:
        """Number of tokens in ``text``, special tokens taken as plain text."""
        return len(self._plain(text))

    def answer_ids(self, answer: str) -> tuple[int, ...]:
        """Token ids that follow the prompt; the token that ends the answer is the last of them."""
        # "Answer:" is followed by a blank, as in running text; a template ends in a line break.
        text = answer if self._tokenizer.chat_template else f" {answer}"
        return (*self._plain(text), self.end_id)

    def prompt(
        self, question: str, *, system: str | None = None, history: Sequence[Message] = ()
    ) -> Prompt:
        """Render and tokenize; see `memkit.protocols.LanguageModel.prompt`."""
        messages = [("system", system)] if system is not None else []
        messages += [*history, ("user", question)]
        for role, content in messages:
            _check_message(role, content)
        if not self._tokenizer.chat_template:
            return self._prompt_without_template(messages)
        if system is not None and not system.strip() and not self._arrangement.system:
            del messages[0]
        # A template may write the day's date, so that a layout is good for a day.
        layout = self._layout(tuple(role for role, _ in messages), date.today())
        shown = [
            (role, indented(content) if place in layout.spelled else content)
            for place, (role, content) in enumerate(messages)
        ]
        return self._encode(layout, shown)

    def laid_out(self, pieces: Sequence[str], contents: Sequence[Message], asked: int) -> Prompt:
        """Tokenize what `split` gave, with the messages in their places.

        Args:
            pieces: Every message that says something has a place in it.
            contents: All messages, by place.
            asked: The place of the one that the question begins with.
        """
        slots = slots_of(pieces)
        layout = layout_of(pieces, slots.index(asked), frozenset(), self._opening)
        return self._encode(layout, contents)

    def _encode(self, layout: Layout, messages: Sequence[Message]) -> Prompt:
        pieces = layout.fill([content for _, content in messages])
        starts = [0, *accumulate(map(len, pieces))]
        text = "".join(pieces)
        _check_rendered(text, messages)
        allowed = [
            (start + match.start(), start + match.end())
            for start, piece in zip(starts[::2], pieces[::2], strict=False)
            for match in self._special.finditer(piece)
        ]
        ids, ends = self._with_ends(text, 0, plain=False)
        expected = self._tokenizer.convert_tokens_to_ids([text[a:b] for a, b in allowed])
        if [id for id in ids if id in self.control_ids] != expected:  # a message holds some
            ids, ends = self._between(text, allowed)
        split = starts[2 * layout.last + 1] - layout.lead
        # A token that reaches beyond the split belongs to the question.
        cut = bisect_right(ends, split)
        return Prompt(prefix=tuple(ids[:cut]), question=tuple(ids[cut:]))

    def _between(
        self, text: str, special: Sequence[tuple[int, int]]
    ) -> tuple[list[int], list[int]]:
        """Tokenize with special tokens at the given spans and nowhere else."""
        ids, ends = self._with_ends(text[: special[0][0]] if special else text, 0, plain=True)
        for (start, end), (following, _) in pairwise([*special, (len(text), 0)]):
            run_ids, run_ends = self._with_ends(text[end:following], end, plain=True)
            ids += [self._id(text[start:end]), *run_ids]
            ends += [end, *run_ends]
        return ids, ends

    def _with_ends(self, text: str, at: int, *, plain: bool) -> tuple[list[int], list[int]]:
        encoded = self._encoder(
            text,
            add_special_tokens=False,
            split_special_tokens=plain,
            return_offsets_mapping=True,
            verbose=False,
        )
        return encoded["input_ids"], [at + end for _, end in encoded["offset_mapping"]]

    def _id(self, token: str) -> int:
        return int(self._tokenizer.convert_tokens_to_ids(token))

    def _plain(self, text: str) -> list[int]:
        return self._with_ends(text, 0, plain=True)[0]

    def _prompt_without_template(self, messages: Sequence[Message]) -> Prompt:
        names = {"user": "Question: ", "assistant": "Answer: "}
        lines = [
            content + "\n\n"
            if role == "system"
            else names.get(role, f"{role.capitalize()}: ")
            + indented(content)
            + "\n" * (1 + (role != "user"))
            for role, content in messages[:-1]
        ]
        bos = self._tokenizer.bos_token_id
        start = self.end_id if bos is None else bos
        question = f"Question: {indented(messages[-1][1])}\nAnswer:"
        return Prompt((start, *self._plain("".join(lines))), tuple(self._plain(question)))

    @cached_property
    def _arrangement(self) -> Arrangement:
        return Arrangement.of(self._shows)

    @cached_property
    def _opening(self) -> str:
        """What the template writes before the content of a user's later message."""
        pieces = self._tried(("user", "assistant", "user"))
        if slots_of(pieces) != [0, 1, 2]:
            return ""
        closing, between = self._assistant_closing(), pieces[8]
        if not between.startswith(closing):  # the last answer ends otherwise than earlier ones
            mark = self._special.match(between)
            closing = mark.group() if mark else ""
        return between.removeprefix(closing)

    @cached_property
    def _answer_opening(self) -> str:
        """What a prompt has behind the template's end, so that the answer's words come next."""
        asked, answered = self._tried(("user",)), self._tried(("user", "assistant"))
        if slots_of(asked) != [0] or slots_of(answered) != [0, 1]:
            return ""
        return answer_opening(asked[-1], answered[4], self._special)

    def _shows(self, roles: tuple[str, ...]) -> bool:
        """Whether the template shows all of the messages of these roles, the last one last."""
        return _shown_last(self._tried(roles), len(roles))

    def _tried(self, roles: tuple[str, ...], *, answer_follows: bool = True) -> list[str]:
        """Render messages as they are; nothing if the template refuses them."""
        turns = [TemplateTurn(role, (("", place),)) for place, role in enumerate(roles)]
        try:
            return self._pieces(turns, answer_follows=answer_follows)
        except IncompatibleModelError:
            return []

    def _render(self, roles: tuple[str, ...], day: date) -> Layout:  # noqa: ARG002 - a cache key
        """Lay out a conversation whose messages have these roles."""
        pieces = self._pieces(self._arrangement.turns(roles))
        slots = slots_of(pieces)
        dropped = sorted(set(range(len(roles))) - set(slots))
        if dropped or slots[-1] != len(roles) - 1:
            number = dropped[-1] if dropped else len(roles) - 1
            raise IncompatibleModelError(
                "expected a chat template that shows all messages, and the last one last; got one "
                f"that drops or moves number {number + 1} of the messages {roles!r}",
                hint=_ANOTHER,
            )
        pieces[-1] += self._answer_opening
        spelled = self._arrangement.spelled(roles)
        return layout_of(pieces, slots.index(slots[-1]), spelled, self._opening)

    def _assistant_closing(self) -> str:
        pieces = self._tried(("user", "assistant"), answer_follows=False)
        return pieces[-1] if _shown_last(pieces, 2) else ""

    def _pieces(self, turns: Sequence[TemplateTurn], *, answer_follows: bool = True) -> list[str]:
        """Render; returns literal, blank, slot, blank, literal, blank, ..., literal."""
        messages = [
            {
                "role": turn.role,
                "content": JOINT.join(
                    before + PLACEHOLDER.format(slot) for before, slot in turn.texts
                ),
            }
            for turn in turns
        ]
        return self.split(
            self.rendered(messages, answer_follows=answer_follows),
            {slot for turn in turns for _, slot in turn.texts},
        )

    def rendered(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        answer_follows: bool = True,
        at_once: bool = True,
    ) -> str:
        """What the template makes of messages; `IncompatibleModelError` if it refuses them.

        Models that reason first are to answer at once; without ``at_once`` it is left to them.
        """
        options = {"enable_thinking": False} if at_once else {}
        try:
            text = str(
                self._tokenizer.apply_chat_template(
                    messages,
                    tools=tools,
                    tokenize=False,
                    add_generation_prompt=answer_follows,
                    **options,
                )
            )
            if len(text) <= MOST_CHARACTERS:
                text.encode()
        except _REFUSALS as error:
            roles = tuple(message["role"] for message in messages)
            raise IncompatibleModelError(
                f"the model's chat template refuses messages of the roles {roles!r}: "
                f"{shown(str(error))}",
                hint=_ANOTHER,
            ) from error
        if len(text) > MOST_CHARACTERS:
            raise IncompatibleModelError(
                f"expected a prompt of at most {MOST_CHARACTERS:,} characters beside the "
                f"contents of messages, the model's chat template made one of {len(text):,}",
                hint=_ANOTHER,
            )
        return text

    def split(self, text: str, expected: set[int]) -> list[str]:
        """Split what was rendered at the placeholders of messages; see `_pieces`."""
        pieces = PLACED.split(text)
        if OWN.search(str(self._tokenizer.chat_template)) or not expected.issuperset(
            slots_of(pieces)
        ):
            raise IncompatibleModelError(
                "expected a chat template without the private-use characters U+E000 and U+E001, "
                "got one that writes them",
                hint=_ANOTHER,
            )
        return pieces

    def _control_tokens(self, added: Mapping[int, AddedToken]) -> dict[int, AddedToken]:
        """The tokens that only the template may write: special ones, and others that it writes."""
        source = self._tokenizer.chat_template
        texts = [source] if isinstance(source, str) else []
        for roles in _PROBES if source else ():
            texts += self._tried(roles)[0::4]
        written = "\n".join(texts)
        return {
            id: token
            for id, token in added.items()
            if token.special or (str(token) in written and is_mark(str(token)))
        }

    def _end_id(self) -> int:
        """The token that ends an answer: the template's, or else the tokenizer's."""
        if self._tokenizer.chat_template:
            match = self._special.search(self._assistant_closing())
            if match:
                return self._id(match.group())
        if self._tokenizer.eos_token_id is None:
            raise IncompatibleModelError(
                "expected a tokenizer with an end-of-text token, got one without",
                hint="set eos_token in the model's tokenizer_config.json",
            )
        return int(self._tokenizer.eos_token_id)


def _with_special(
    tokenizer: PreTrainedTokenizerBase, tokens: Sequence[AddedToken]
) -> PreTrainedTokenizerBase:
    """A tokenizer to which some of its added tokens are special, so that it can leave them out."""
    if not tokens:
        return tokenizer
    changed = copy.deepcopy(tokenizer)
    backend: Tokenizer = changed.backend_tokenizer
    backend.add_special_tokens(
        [
            AddedToken(
                token.content,
                single_word=token.single_word,
                lstrip=token.lstrip,
                rstrip=token.rstrip,
                normalized=token.normalized,
                special=True,
            )
            for token in tokens
        ]
    )
    return changed


def _shown_last(pieces: Sequence[str], messages: int) -> bool:
    slots = slots_of(pieces)
    return set(slots) == set(range(messages)) and slots[-1] == messages - 1


def _check_rendered(text: str, messages: Sequence[Message]) -> None:
    """Prove that a prompt holds what it was made of, evidence above all."""
    for place, (role, content) in enumerate(messages):
        if content.strip() not in text:
            raise IncompatibleModelError(
                f"expected a prompt that holds every message, got one without number {place + 1}, "
                f"of the role {role!r}",
                hint=_ANOTHER,
            )


def _check_message(role: str, content: str) -> None:
    if role not in get_args(Role):
        raise InvalidInputError(f"`role` must be one of {get_args(Role)}, got {shown(role)}")
    if not isinstance(content, str):
        raise InvalidInputError(f"`content` must be a str, got {shown(content)}")
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"`content` must be valid Unicode, got a lone surrogate at {error.start}"
        ) from error
