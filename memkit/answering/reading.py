"""How the base model is shown evidence that no module answers: behind examples of what to do.

A small model follows what it has just seen better than what it is told. Each example is a fact, a
question in other words, and the fact as the answer. Where a module answers, its prompt is the one
that it was trained behind: `memkit.answering.prompt.PromptFormat`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memkit.answering.prompt import PromptFormat
from memkit.protocols import LanguageModel
from memkit.types import Context, Prompt

if TYPE_CHECKING:
    from memkit.models.language_model import TransformersModel

SHARE = 8  # of the context, the examples take one part in so many at most
# Fact, question and answer; all invented, and none from an evaluation set.
EXAMPLES = (
    (
        "The library on Elm Street closes at 6 on Fridays.",
        "When does the library shut on a Friday?",
        "The library on Elm Street closes at 6 on Fridays.",
    ),
    (
        "My brother Jonas works as a baker in Ghent.",
        "What does my brother do for a living?",
        "Your brother Jonas works as a baker in Ghent.",
    ),
    (
        "We moved the standup from 9:00 to 9:30 because Priya drops off her kids.",
        "Why was the standup moved?",
        "The standup was moved because Priya drops off her kids.",
    ),
)


def has_room(base: TransformersModel) -> bool:
    """Whether the examples leave most of a model's context to the evidence."""
    texts = "\n".join(text for example in EXAMPLES for text in example)
    return base.context is None or SHARE * base.count(texts) <= base.context


def reading_prompt(
    base: LanguageModel, prompt_format: PromptFormat, evidence: str, question: str, before: Context
) -> Prompt:
    """A prompt in which a model reads evidence and answers from it.

    Args:
        base: The language model.
        prompt_format: Heads the facts.
        evidence: `Assembled.text`, not empty.
        question: The user's words.
        before: What was said before; the caller's own system message comes first.
    """
    shown = [
        message
        for fact, asked, answer in EXAMPLES
        for message in (
            ("user", _asked(f"{prompt_format.facts}\n- {fact}", asked)),
            ("assistant", answer),
        )
    ]
    history = [*shown, *before.history]
    return base.prompt(_asked(evidence, question), system=before.system, history=history)


def _asked(evidence: str, question: str) -> str:
    return f"{evidence}\n\nQuestion: {question}"
