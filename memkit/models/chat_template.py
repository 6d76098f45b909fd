"""Conversations to token ids, so that no message can pose as part of the chat template.

The template is rendered with placeholders in place of the messages; the messages are put in
afterwards. So it is known which characters are the template's and which the users', and only
the template's may become special tokens.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any, get_args

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from memkit.errors import IncompatibleModelError, InvalidInputError
from memkit.types import Prompt, Role

Message = tuple[str, str]  # role, content

# Private-use characters, which no template holds; the tabs show whether it strips messages.
_PLACEHOLDER = "\t\ue000{}\ue001\t"
_PLACED = re.compile("(\t?)\ue000([0-9]+)\ue001\t?")


class ChatFormat:
    """Renders conversations for one tokenizer, with its chat template if it has one.

    Args:
        tokenizer: A fast tokenizer of transformers.

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
        special = {id: str(t) for id, t in tokenizer.added_tokens_decoder.items() if t.special}
        self._special_ids = frozenset(special)
        longest_first = sorted(special.values(), key=len, reverse=True)
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
        layout = self._layout(tuple(role for role, _ in messages))
        return self._encode(layout, [content for _, content in messages])

    def _encode(self, layout: _Layout, contents: Sequence[str]) -> Prompt:
        pieces = layout.fill(contents)
        starts = [0, *accumulate(map(len, pieces))]
        text = "".join(pieces)
        allowed = [
            (start + match.start(), start + match.end())
            for start, piece in zip(starts[::2], pieces[::2], strict=False)
            for match in self._special.finditer(piece)
        ]
        ids, ends = self._with_ends(text, 0, plain=False)
        expected = self._tokenizer.convert_tokens_to_ids([text[a:b] for a, b in allowed])
        if [id for id in ids if id in self._special_ids] != expected:  # a message holds some
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
        encoded = self._tokenizer(
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
        names = {"user": "Question: ", "assistant": "Answer: ", "system": ""}
        lines = [
            names.get(role, f"{role.capitalize()}: ") + content + "\n" * (1 + (role != "user"))
            for role, content in messages[:-1]
        ]
        bos = self._tokenizer.bos_token_id
        start = self.end_id if bos is None else bos
        question = f"Question: {messages[-1][1]}\nAnswer:"
        return Prompt((start, *self._plain("".join(lines))), tuple(self._plain(question)))

    def _render(self, roles: tuple[str, ...]) -> _Layout:
        """Lay out a conversation whose messages have these roles."""
        pieces = self._pieces(roles)
        slots = [int(slot) for slot in pieces[2::3]]
        if not slots or slots[-1] != len(roles) - 1:
            raise InvalidInputError(
                f"the model's chat template drops the last of the messages {roles!r}",
                hint="start the history with a user's message and let roles alternate",
            )
        last = slots.index(slots[-1])
        # What the template writes before the content of a user's later message.
        between = self._pieces(("user", "assistant", "user"))[6]
        opening = between.removeprefix(self._assistant_closing())
        return _Layout(
            literals=tuple(pieces[0::3]),
            slots=tuple(slots),
            keeps_space=tuple(space == "\t" for space in pieces[1::3]),
            last=last,
            lead=len(opening) if pieces[3 * last].endswith(opening) else 0,
        )

    def _assistant_closing(self) -> str:
        return self._pieces(("user", "assistant"), answer_follows=False)[-1]

    def _pieces(self, roles: tuple[str, ...], *, answer_follows: bool = True) -> list[str]:
        """Render; returns literal, blank, slot, literal, blank, slot, ..., literal."""
        messages = [
            {"role": role, "content": _PLACEHOLDER.format(slot)} for slot, role in enumerate(roles)
        ]
        try:
            text = self._tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=answer_follows,
                enable_thinking=False,  # models that reason first are to answer at once
            )
        except TemplateError as error:
            raise InvalidInputError(
                f"the model's chat template refuses messages of the roles {roles!r}: {error}",
                hint="leave out the system message, or let user and assistant alternate",
            ) from error
        return _PLACED.split(text)

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


@dataclass(frozen=True)
class _Layout:
    """A rendered template with slots for the messages.

    Attributes:
        literals: The template's own text: before, between and after the slots.
        slots: Which message goes between two literals.
        keeps_space: For each slot, whether the template keeps blanks around the message.
        last: Position in ``slots`` of the last message.
        lead: How many characters before that slot the last message begins.
    """

    literals: tuple[str, ...]
    slots: tuple[int, ...]
    keeps_space: tuple[bool, ...]
    last: int
    lead: int

    def fill(self, contents: Sequence[str]) -> list[str]:
        """Alternate literals and contents, a literal first and last."""
        pieces = [self.literals[0]]
        slots = zip(self.slots, self.keeps_space, self.literals[1:], strict=True)
        for slot, keep, literal in slots:
            pieces += [contents[slot] if keep else contents[slot].strip(), literal]
        return pieces


def _check_message(role: str, content: str) -> None:
    if role not in get_args(Role):
        raise InvalidInputError(f"`role` must be one of {get_args(Role)}, got {role!r}")
    if not isinstance(content, str):
        raise InvalidInputError(f"`content` must be a str, got {content!r}")
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"`content` must be valid Unicode, got a lone surrogate at {error.start}"
        ) from error
