"""Drafts: everything about a record that is to be stored."""

from __future__ import annotations

from dataclasses import replace

from memkit.errors import InvalidInputError
from memkit.types.records import Draft
from memkit.types.validate.amounts import check_flag
from memkit.types.validate.descriptions import shown
from memkit.types.validate.json_values import check_metadata
from memkit.types.validate.moments import check_time, ttl_seconds
from memkit.types.validate.scopes import check_scope
from memkit.types.validate.strings import check_id, check_text


def validate_draft(draft: Draft) -> Draft:
    """Check a draft, and give it as it will be stored: plain values, strings in normal form."""
    text, question, answer = check_content(draft.text, draft.question, draft.answer)
    check_flag("pinned", draft.pinned)
    if draft.at is not None:
        check_time("at", draft.at)
    if draft.ttl is not None:
        ttl_seconds(draft.ttl)
        if draft.pinned:
            raise InvalidInputError(
                f"what is pinned does not expire, got `pinned` and `ttl` {shown(draft.ttl)}",
                "Give one of the two.",
            )
    return replace(
        draft,
        text=text,
        question=question,
        answer=answer,
        scope=check_scope(draft.scope),
        metadata=check_metadata(draft.metadata),
        id=None if draft.id is None else check_id("id", draft.id),
        key=None if draft.key is None else check_id("key", draft.key),
    )


def check_content(
    text: object, question: object, answer: object
) -> tuple[str, str | None, str | None]:
    """Check the texts of a record; question and answer come together or not at all.

    Returns:
        The three in normal form.
    """
    text = check_text("text", text)
    if (question is None) != (answer is None):
        given, missing = ("answer", "question") if question is None else ("question", "answer")
        raise InvalidInputError(
            f"`{given}` was given without `{missing}`",
            "Give both or neither: one is asked, the other is what should be recalled.",
        )
    if question is None:
        return text, None, None
    return text, check_text("question", question), check_text("answer", answer)
