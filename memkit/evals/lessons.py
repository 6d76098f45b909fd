"""What an adapter is trained on, as texts and as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memkit.lora.training.encoding import Encoded, Fact, encoded
from memkit.models.language_model import TransformersModel


@dataclass(frozen=True)
class Lesson:
    """One thing to learn.

    Attributes:
        document: Id of the document that it is from.
        target: What the model is to say.
        wordings: In how many ways it is asked. Empty for a text that is learned as it stands,
            every token of it.
        prompt: Of a text, what comes before the target and is not learned.
    """

    document: str
    target: str
    wordings: tuple[str, ...] = ()
    prompt: str = ""


def facts_of_lessons(base: TransformersModel, lessons: Sequence[Lesson]) -> list[Fact]:
    """Lessons as the trainer takes them: a question in the chat format, a text without it."""
    return [
        [
            encoded(base.prompt(wording), base.answer_ids(lesson.target))
            for wording in lesson.wordings
        ]
        if lesson.wordings
        else [plain_text(base, lesson.prompt, lesson.target)]
        for lesson in lessons
    ]


def plain_text(base: TransformersModel, prompt: str, target: str) -> Encoded:
    """Running text outside any chat format; the end token is not learned.

    The target follows the prompt after a blank, which is part of its first token.
    """
    before = ids_of(base, prompt)
    after = ids_of(base, f" {target}" if prompt else target)
    return Encoded((), before + after, max(1, len(before)))


def ids_of(base: TransformersModel, text: str) -> tuple[int, ...]:
    """Token ids of a text by itself, without special tokens."""
    return tuple(base.tokenizer(text, add_special_tokens=False)["input_ids"])


def trained_tokens(facts: Sequence[Fact]) -> int:
    """How many tokens have a loss in one visit to each fact, the longest wording counted."""
    return sum(max(len(e.ids) - e.split for e in fact) for fact in facts)
