"""What stands between the end of a template and the first word of an answer.

Some templates end before the marks that an assistant's message begins with (gpt-oss: the channel;
Command R7B: the start of a response), as a model may write other things first. Some end inside a
block of thoughts (DeepSeek R1, QwQ). An answer from memory is to come at once, so a prompt goes on
to where the words begin: the marks are those that the template itself writes before an
assistant's message, and an open block of thoughts is closed.
"""

from __future__ import annotations

import re

_OPEN_THOUGHTS = re.compile(r"<(think|thinking)>\s*\Z")


def answer_opening(asked: str, answered: str, marks: re.Pattern[str]) -> str:
    """What is to be put behind a template's own end.

    Args:
        asked: What the template writes behind a question that waits for an answer.
        answered: What it writes between a question and an answer that is there.
        marks: Finds control tokens.
    """
    if answered.startswith(asked) and marks.search(answered, len(asked)):
        rest = answered[len(asked) :]
        return rest if not _OPEN_THOUGHTS.search(answered) else rest + _closing(answered)
    return _closing(asked)


def _closing(text: str) -> str:
    thoughts = _OPEN_THOUGHTS.search(text)
    if thoughts is None:
        return ""
    return "\n" * (2 - text[-2:].count("\n")) + f"</{thoughts.group(1)}>\n\n"
