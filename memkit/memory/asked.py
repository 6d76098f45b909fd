"""Questions, and conversations that end with one, as queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from memkit.errors import InvalidInputError
from memkit.memory.called import check_results, turn_of
from memkit.memory.messages import role_and_content
from memkit.memory.options import Question
from memkit.types import Context, Message, Query
from memkit.types.validate import check_text, describe, shown

_ENDING = 'The last one is what is answered: {"role": "user", "content": "..."}.'


def query_of(question: Question, template: Query, *, name: str = "question") -> Query:
    """Make a query of a question, or of a conversation that ends with one.

    Args:
        question: The user's words, or messages that end with them.
        template: All but the text.
        name: Of the argument, for errors.

    Raises:
        InvalidInputError: If the question is blank, or the messages are malformed or do not end
            with the user's.
    """
    context = None
    if not isinstance(question, str):
        tools = template.constraint is not None and bool(template.constraint.tools)
        question, context = _conversation(question, name, tools=tools)
    return replace(template, text=check_text(name, question), context=context)


def _conversation(messages: Sequence[Message], name: str, *, tools: bool) -> tuple[str, Context]:
    """What the user said last in a conversation, and what was said before it.

    Args:
        messages: In OpenAI's format.
        name: Of the argument, for errors.
        tools: Whether there are tools: their calls and results may follow what the user said.
    """
    if not isinstance(messages, Sequence):
        raise InvalidInputError(
            f"`{name}` must be a string or a list of messages, got {describe(messages)}"
        )
    if not messages:
        raise InvalidInputError(f"`{name}` must not be empty, got {shown(messages)}", hint=_ENDING)
    if all(isinstance(message, str) for message in messages):
        raise InvalidInputError(
            f"`{name}` must be a string or a list of messages, got a list of strings",
            hint="ask_batch() answers several questions at once",
        )
    pairs = [role_and_content(place, message) for place, message in enumerate(messages)]
    users = [place for place, (role, _) in enumerate(pairs) if role == "user"]
    if pairs[-1][0] != "user" and not (tools and users and pairs[-1][0] == "tool"):
        raise InvalidInputError(
            f"`messages` must end with the user's, got {shown(pairs[-1])}", hint=_ENDING
        )
    opening = next(place for place, (role, _) in enumerate(pairs) if role != "system")
    system = "\n\n".join(content for _, content in pairs[:opening]) or None
    asked = users[-1]
    history = tuple(pair for pair in pairs[opening:asked] if pair[1].strip())  # no calls of tools
    if not tools:  # what was called, and what it gave, is left out
        return pairs[asked][1], Context(system, history)
    turns = [turn_of(place, messages[place], pairs[place]) for place in range(opening, len(pairs))]
    check_results(turns)
    return pairs[asked][1], Context(system, history, tuple(turns))
