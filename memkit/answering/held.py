"""Prompts, which may hold their answers to a schema or to calls of tools; and what these are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from memkit.answering.prompt import PromptFormat
from memkit.errors import UnsupportedOperationError
from memkit.protocols import LanguageModel
from memkit.types import ChatTurn, Completion, Constraint, Context, Prompt, ToolCall

TOLD = "Answer in JSON that fits this schema:"
_HINT = "open the memory with a model of transformers (a folder or a hub id)"


class ToolReader(Protocol):
    """Shows tools to a language model and reads its calls; see `memkit.models.tool_template`."""

    def prompt(
        self, turns: Sequence[ChatTurn], *, system: str | None, tools: Sequence[str]
    ) -> Prompt:
        """Render a conversation with tools."""
        ...

    def read(self, prompt: Prompt, ids: Sequence[int]) -> tuple[str, tuple[ToolCall, ...]]:
        """What an answer says, and the calls behind it."""
        ...


@dataclass(frozen=True)
class Asked:
    """What a prompt is made of.

    Attributes:
        question: The user's words, or the part of them that is asked.
        evidence: `Assembled.text`; may be empty.
        before: What was said before; and after, if tools were called.
        constraint: What the answer is held to; None if it is free.
    """

    question: str
    evidence: str = ""
    before: Context = field(default_factory=Context)
    constraint: Constraint | None = None


def prompt_of(base: LanguageModel, prompt_format: PromptFormat, asked: Asked) -> Prompt:
    """A prompt that says what its answer is held to, if it is, and holds it to that.

    Args:
        base: The language model.
        prompt_format: How evidence is put before a question.
        asked: What it is made of.

    Raises:
        UnsupportedOperationError: If the language model cannot be held to anything.
    """
    before, constraint = asked.before, asked.constraint or Constraint()
    if asked.constraint is not None:
        _check(base, asked.constraint)
    system = prompt_format.system_message(asked.evidence, before.system)
    if constraint.schema is not None:
        system = f"{system or prompt_format.opening}\n\n{TOLD}\n{constraint.schema}"
    if constraint.tools:
        turns = before.turns or (ChatTurn("user", asked.question),)
        prompt = _reader(base).prompt(turns, system=system, tools=constraint.tools)
    else:
        prompt = base.prompt(asked.question, system=system, history=before.history)
    return replace(prompt, constraint=asked.constraint) if asked.constraint is not None else prompt


def calls_in(
    base: LanguageModel, prompt: Prompt, completion: Completion
) -> tuple[str, tuple[ToolCall, ...]]:
    """What an answer says, and the tools that it calls."""
    if prompt.constraint is None or not prompt.constraint.tools:
        return completion.text, ()
    return _reader(base).read(prompt, completion.ids)


def _check(base: LanguageModel, constraint: Constraint) -> None:
    if not hasattr(base, "constraints"):
        what = "`tools`" if constraint.tools else "`schema`"
        raise UnsupportedOperationError(
            f"{what} needs a language model that can be held to it, {base.name!r} cannot",
            hint=_HINT,
        )


def _reader(base: LanguageModel) -> ToolReader:
    reader: ToolReader | None = getattr(base, "tools", None)
    if reader is None:
        raise UnsupportedOperationError(
            f"`tools` needs a language model that can call them, {base.name!r} cannot", hint=_HINT
        )
    return reader
