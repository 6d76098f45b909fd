"""The tokens that open a question: where adapters begin to act, as other programs can find it.

memkit lets the untouched model read what stands before the question. Other programs know the same
rule as activated LoRA: an adapter acts from the last occurrence of a sequence of tokens on.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memkit.models.language_model import TransformersModel

# Different from their first character on.
_QUESTIONS = ("Who?", "7 of what?", " and then?", "¿Qué?", "谁？", "(a)")
_HISTORIES = ((), (("user", "Who?"), ("assistant", "Me.")))


def invocation_tokens(model: TransformersModel) -> tuple[int, ...]:
    """The tokens with which every last message of a user begins, whatever its words are.

    None if the first of them is not the chat template's alone: a question could hold the same
    ones, and would move the place. Where a template puts the system message into the user's,
    memkit's own adapters begin to act later in such a prompt, at the question's words.
    """
    openings = [
        model.prompt(q, history=history).question for q in _QUESTIONS for history in _HISTORIES
    ]
    columns = takewhile(lambda column: len(set(column)) == 1, zip(*openings, strict=False))
    tokens = tuple(column[0] for column in columns)
    return tokens if tokens and tokens[0] in model.chat.control_ids else ()
