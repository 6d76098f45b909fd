"""For the API reference: comments of fields become descriptions, and examples become code."""

from __future__ import annotations

import io
import re
import textwrap
import tokenize
from pathlib import Path
from typing import Any

import griffe

REFERENCE = Path(__file__).parents[1] / "reference"
SHOWN = {
    name.rpartition(".")[2]: name
    for page in REFERENCE.glob("*.md")
    for name in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
}
NAME = re.compile(r"(?<!`)`((?:memkit\.[\w.]+\.)?)([A-Z]\w+)((?:\.\w+)?)`(?!`)")
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
        """Examples are code, and names of other classes lead to them."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(fenced, NAME.sub(linked, obj.docstring.value))


def linked(match: re.Match[str]) -> str:
    """Make a link of the name of a class that the reference shows, or of a member of one."""
    path, name, member = match.groups()
    if name not in SHOWN:
        return match[0]
    target = f"{SHOWN[name]}{member}"
    return f'<autoref optional identifier="{target}"><code>{path}{name}{member}</code></autoref>'


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
