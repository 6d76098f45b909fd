"""For the API reference: comments of fields become descriptions, and examples become code."""

from __future__ import annotations

import io
import re
import textwrap
import tokenize
from typing import Any

import griffe

EXAMPLE = re.compile(r"^Example:\n((?:[ ]+.*\n?|\n)+)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Reads what docstrings of memkit say in its own way."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """A comment behind a field of a dataclass is what the field means."""
        if "dataclass" not in cls.labels or isinstance(cls.filepath, list):
            return
        for attribute in cls.attributes.values():
            if attribute.docstring or attribute.lineno is None or attribute.inherited:
                continue
            first, last = attribute.lineno - 1, attribute.endlineno or attribute.lineno
            text = "\n".join(cls.lines_collection[cls.filepath][first:last])
            if comment := comment_of(text):
                attribute.docstring = griffe.Docstring(comment, parent=attribute)

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """An example is code, in a docstring that has one."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(fenced, obj.docstring.value)


def fenced(match: re.Match[str]) -> str:
    """Make a block of code of an example; griffe knows ``Examples:`` alone."""
    code = textwrap.dedent(match[1]).strip()
    block = f"```python\n{code}\n```"
    return "Examples:\n" + textwrap.indent(block, "    ") + "\n"


def comment_of(line: str) -> str | None:
    """The comment at the end of a statement."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(line.strip()).readline))
    except tokenize.TokenError:
        return None
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    if not comments or comments[-1].startswith(("# noqa", "# type:", "# fmt")):
        return None
    comment = comments[-1].lstrip("# ")
    return comment[:1].upper() + comment[1:] + ("" if comment.endswith(".") else ".")
