"""Examples as token ids, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from memkit.answering.prompt import PromptFormat
from memkit.models.language_model import TransformersModel
from memkit.text.quoting import quoted
from memkit.types import Example, Prompt


@dataclass(frozen=True)
class Encoded:
    """One example as token ids.

    Attributes:
        prefix: What the untouched base model encodes.
        ids: Question and answer.
        split: Where in ``ids`` the answer starts.
        informed: The same behind the record's text, as serving puts passages there; None if there
            is no text. Its ids are others where the chat template has the system message and the
            question in one message.
    """

    prefix: tuple[int, ...]
    ids: tuple[int, ...]
    split: int
    informed: Encoded | None = None


Fact = Sequence[Encoded]  # wordings of one question


@dataclass(frozen=True)
class Batch:
    """Examples of one step, and the n positions whose next token is to be predicted.

    Attributes:
        rows: Shape ``(n,)``.
        columns: Shape ``(n,)``, counted from the start of the question.
        targets: Shape ``(n,)``, the next tokens, which are the answers'.
    """

    examples: Sequence[Encoded]
    rows: Tensor
    columns: Tensor
    targets: Tensor


def encode(base: TransformersModel, example: Example, prompt_format: PromptFormat) -> Encoded:
    """Render and tokenize an example as it is served."""
    answer, informed = base.answer_ids(example.answer), None
    if example.context is not None:
        context = quoted(example.context, special_tokens=base.special_tokens)
        system = prompt_format.system_message(context)
        informed = encoded(base.prompt(example.question, system=system), answer)
    return replace(encoded(base.prompt(example.question), answer), informed=informed)


def encoded(prompt: Prompt, answer: tuple[int, ...]) -> Encoded:
    """Put a prompt and the tokens of its answer together."""
    return Encoded(prompt.prefix, prompt.question + answer, len(prompt.question))


def facts_of(
    base: TransformersModel, examples: Sequence[Example], prompt_format: PromptFormat
) -> list[Fact]:
    """The wordings of each fact that are not held out; facts differ in record or answer."""
    facts: dict[tuple[str | None, str], list[Encoded]] = {}
    for example in examples:
        if not example.held_out:
            wordings = facts.setdefault((example.record_id, example.answer), [])
            wordings.append(encode(base, example, prompt_format))
    return list(facts.values())


def collate(examples: Sequence[Encoded], device: torch.device) -> Batch:
    """Put examples into one batch that predicts the tokens of the answers."""
    rows, columns, targets = [], [], []
    for row, example in enumerate(examples):
        for column in range(example.split - 1, len(example.ids) - 1):
            rows.append(row)
            columns.append(column)
            targets.append(example.ids[column + 1])
    return Batch(examples, *(torch.tensor(x, device=device) for x in (rows, columns, targets)))
